//! How the repetitions of a measurement are told: the median, and the least and the most beside it. Pure.

use std::fmt;

use serde_json::{Value, json};

/// The median of some values, and between what they lie; not a number where there were none.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The one in the middle; of an even number the upper one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// The spread of these values.
    #[must_use]
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        Self { median: at(values.len() / 2), min: at(0), max: at(values.len().saturating_sub(1)) }
    }

    /// `{"median", "min", "max"}`, to hundredths.
    #[must_use]
    pub fn json(&self) -> Value {
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        json!({"median": rounded(self.median), "min": rounded(self.min), "max": rounded(self.max)})
    }
}

impl fmt::Display for Spread {
    /// `MEDIAN (MIN-MAX)`, with the precision asked for; whole numbers otherwise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = f.precision().unwrap_or(0);
        write!(f, "{:.places$} ({:.places$}-{:.places$})", self.median, self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_told_whole_or_to_so_many_places() {
        let spread = Spread::of([3.0, 1.26, 2.0].into_iter());
        assert_eq!(format!("{spread} {spread:.1}"), "2 (1-3) 2.0 (1.3-3.0)");
        assert_eq!(spread.json(), json!({"median": 2.0, "min": 1.26, "max": 3.0}));
    }
}
