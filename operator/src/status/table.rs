//! Objects of one kind as a table, as `kubectl get` prints it. Pure: time is a parameter.

use k8s_openapi::jiff::Timestamp;
use posthouse_crds::Kind;
use serde_json::Value;

use super::{column, kinds::Names};

/// What stands between two columns.
const GAP: &str = "   ";

/// How a table is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// With the column of the namespace.
    pub(super) has_namespace: bool,
    /// With the columns that only `-o wide` has.
    pub(super) is_wide: bool,
    /// Each name with its kind: there are tables of other kinds beside.
    pub(super) is_qualified: bool,
    pub(super) now: Timestamp,
}

/// The table of these objects, a line each, with a header.
pub(super) fn table(kind: Kind, objects: &[&Value], layout: Layout) -> String {
    let Layout { has_namespace, is_wide, is_qualified, now } = layout;
    let columns: Vec<_> = column::columns(kind).into_iter().filter(|one| is_wide || !one.is_wide).collect();
    let own = columns.iter().map(|column| column.name.to_uppercase());
    let first = has_namespace.then(|| "NAMESPACE".to_owned()).into_iter();
    let mut rows: Vec<Vec<String>> = vec![first.chain(["NAME".to_owned()]).chain(own).collect()];
    for object in objects {
        let metadata = |name| {
            let text = object.get("metadata").and_then(|metadata| metadata.get(name));
            text.and_then(Value::as_str).unwrap_or_default()
        };
        let name = metadata("name");
        let name = if is_qualified { Names::of(kind).qualified(name) } else { name.to_owned() };
        let cells = columns.iter().map(|column| {
            let value = column.value(object);
            value.map(|value| if column.is_date { ago(value, now) } else { cell(value) }).unwrap_or_default()
        });
        let first = has_namespace.then(|| metadata("namespace").to_owned()).into_iter();
        rows.push(first.chain([name]).chain(cells).collect());
    }
    lines(&rows)
}

fn lines(rows: &[Vec<String>]) -> String {
    let width =
        |place| rows.iter().filter_map(|row| row.get(place)).map(|cell: &String| cell.chars().count()).max();
    let widths: Vec<_> =
        (0..rows.first().map_or(0, Vec::len)).map(|place| width(place).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join(GAP).trim_end());
        text.push('\n');
    }
    text
}

/// A value in one line.
fn cell(value: &Value) -> String {
    match value.as_str() {
        Some(text) => match text.split_once('\n') {
            Some((line, _)) => format!("{line}..."),
            None => text.to_owned(),
        },
        None => value.to_string(),
    }
}

fn ago(value: &Value, now: Timestamp) -> String {
    match value.as_str().map(str::parse::<Timestamp>) {
        Some(Ok(then)) => age(now.as_second() - then.as_second()),
        _ => "<unknown>".to_owned(),
    }
}

/// A number of seconds as kubectl writes an age: two units while it is short, one when it is long.
fn age(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let days = hours / 24;
    let two = |large: i64, unit: &str, small: i64, less: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{less}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ if days < 8 * 365 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        let cases = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (135, "2m15s"),
            (600, "10m"),
            (179 * 60, "179m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (47 * 3600, "47h"),
            (48 * 3600, "2d"),
            (51 * 3600, "2d3h"),
            (100 * 86400, "100d"),
            (800 * 86400, "2y70d"),
            (9 * 365 * 86400, "9y"),
        ];
        for (seconds, written) in cases {
            assert_eq!(age(seconds), written, "{seconds}");
        }
    }
}
