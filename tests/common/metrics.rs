//! What `GET /metrics` counts, read by Prometheus's own library.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::raw_http::get;
use super::venv;

/// What a node has counted.
pub(crate) struct Metrics(pub(crate) Vec<Value>);

impl Metrics {
    pub(crate) fn of(node: SocketAddr) -> Self {
        let answer = get(node, "/metrics", &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let content_type = answer.header("content-type");
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_metrics.py");
        let mut reader = venv::command("python3");
        let mut reader = reader
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        reader
            .stdin
            .take()
            .unwrap()
            .write_all(&answer.body)
            .unwrap();
        let output = reader.wait_with_output().unwrap();
        assert!(output.status.success(), "{answer:?}");
        Self(serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The value with exactly these labels, if there is one.
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Value = labels.iter().copied().collect();
        let mut samples = self.0.iter();
        let sample = samples.find(|it| it["name"] == name && it["labels"] == labels)?;
        sample["value"].as_f64()
    }

    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.find(name, labels);
        found.unwrap_or_else(|| panic!("{name} {labels:?} is not among {:#?}", self.0))
    }

    pub(crate) fn requests(&self, route: &str, method: &str, status: &str) -> Option<f64> {
        let labels = [("route", route), ("method", method), ("status", status)];
        self.find("larder_http_requests_total", &labels)
    }
}

/// The whole number that stands behind a name without labels.
pub(crate) fn count(node: SocketAddr, name: &str) -> u64 {
    let page = String::from_utf8(get(node, "/metrics", &[]).body).unwrap();
    let mut values = page.lines().filter_map(|line| line.strip_prefix(name));
    let value = values.find_map(|rest| rest.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {name}"));
    value.parse().unwrap()
}
