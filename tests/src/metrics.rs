//! A node's `/metrics`, `/livez` and `/readyz`, over plain HTTP/1.1. Network.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};

use crate::wait::SOON;

/// One scrape.
#[derive(Clone, Debug)]
pub struct Metrics(Vec<(String, f64)>);

impl Metrics {
    /// Reads `/metrics`.
    pub fn scrape(address: SocketAddr) -> Result<Self> {
        let (status, body) = request(address, "/metrics")?;
        ensure!(status == 200, "/metrics answered {status}");
        Self::parse(&body)
    }

    /// Parses the Prometheus text format, as far as a test needs it: series and value.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').with_context(|| format!("no metric: {line:?}"))?;
            Ok((series.to_owned(), value.parse()?))
        });
        Ok(Self(series.collect::<Result<_>>()?))
    }

    /// The sum of all series of this name that carry all these labels (`event="accepted"`).
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let matches = |series: &str| {
            let (own, rest) = series.split_once('{').unwrap_or((series, ""));
            own == name
                && labels.iter().all(|label| rest.trim_end_matches('}').split(',').any(|own| own == *label))
        };
        self.0.iter().filter(|(series, _)| matches(series)).map(|(_, value)| value).sum()
    }

    /// Whether there is any series of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(series, _)| series.split('{').next() == Some(name))
    }
}

/// What a path such as `/metrics` answers.
pub fn page(address: SocketAddr, path: &str) -> Result<String> {
    Ok(request(address, path)?.1)
}

/// The status of a path such as `/readyz`.
pub fn status(address: SocketAddr, path: &str) -> Result<u16> {
    Ok(request(address, path)?.0)
}

fn request(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)
        .with_context(|| format!("connecting to the metrics address {address}"))?;
    stream.set_read_timeout(Some(SOON))?;
    // HTTP/1.0: the body comes in one piece and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    let code = head.split(' ').nth(1).context("an answer has a status")?;
    Ok((code.parse()?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let text = "# HELP x y\nx_total{event=\"accepted\",queue=\"a\"} 2\nx_total{event=\"accepted\",queue=\"b\"} 3\nx_total{event=\"failed\"} 7\ny 1.5\n# EOF\n";
        let metrics = Metrics::parse(text).unwrap();
        assert!((metrics.sum("x_total", &["event=\"accepted\""]) - 5.0).abs() < f64::EPSILON);
        assert!((metrics.sum("x_total", &[]) - 12.0).abs() < f64::EPSILON);
        assert!(metrics.has("y") && !metrics.has("x"));
    }
}
