//! What is counted, as the text that Prometheus reads (exposition format 0.0.4).

use std::fmt::{Display, Write};
use std::time::Duration;

use super::{BOUNDS_MICROS, Histogram};

/// The content type of a [`MetricsPage`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label's name and its value.
pub type Label<'a> = (&'static str, &'a str);

/// The text, family by family.
#[derive(Debug, Default)]
pub struct MetricsPage(String);

impl MetricsPage {
    /// Begins a family of counters, whose name ends in `_total`.
    pub fn counters(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// Begins a family of values that go up and down.
    pub fn gauges(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// Begins a family of durations, whose name ends in `_seconds`.
    pub fn histograms(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }

    /// `help` has neither line ends nor backslashes.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        self.0.push_str(&head);
        Family {
            text: &mut self.0,
            name,
        }
    }
}

/// The values of one name.
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    /// The value with these labels.
    pub fn value(&mut self, labels: &[Label<'_>], value: impl Display) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// The durations with these labels.
    pub fn durations(&mut self, labels: &[Label<'_>], histogram: &Histogram) {
        let counts = histogram.cumulative();
        let bounds = BOUNDS_MICROS.map(|it| Duration::from_micros(it).as_secs_f64().to_string());
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        for (bound, count) in bounds.zip(counts) {
            self.line("_bucket", labels, Some(("le", bound)), count);
        }
        self.line("_sum", labels, None, histogram.sum().as_secs_f64());
        let [.., count] = counts;
        self.line("_count", labels, None, count);
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[Label<'_>],
        last: Option<Label<'_>>,
        value: impl Display,
    ) {
        let labels = labels.iter().copied().chain(last);
        let labels: Vec<_> = labels
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let braces = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        // To write to a text never fails.
        let _ = writeln!(self.text, "{}{suffix}{braces} {value}", self.name);
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_under_their_names_with_their_labels() {
        let mut page = MetricsPage::default();
        page.counters("sent_total", "What was sent.")
            .value(&[("to", "a \"b\"\\\n")], 3)
            .value(&[("to", "c"), ("by", "d")], 4);
        page.gauges("there", "What is there.").value(&[], 1.5);
        assert_eq!(
            page.into_text(),
            "# HELP sent_total What was sent.\n\
             # TYPE sent_total counter\n\
             sent_total{to=\"a \\\"b\\\"\\\\\\n\"} 3\n\
             sent_total{to=\"c\",by=\"d\"} 4\n\
             # HELP there What is there.\n\
             # TYPE there gauge\n\
             there 1.5\n"
        );
    }

    #[test]
    fn durations_are_counted_up_to_each_bound() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(60));
        histogram.observe(Duration::from_secs(200));
        let mut page = MetricsPage::default();
        page.histograms("took_seconds", "How long it took.")
            .durations(&[("what", "a")], &histogram);
        let text = page.into_text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[2], r#"took_seconds_bucket{what="a",le="0.00005"} 0"#);
        assert_eq!(lines[3], r#"took_seconds_bucket{what="a",le="0.0001"} 1"#);
        assert_eq!(lines[16], r#"took_seconds_bucket{what="a",le="120"} 1"#);
        let end = [
            r#"took_seconds_bucket{what="a",le="+Inf"} 2"#,
            r#"took_seconds_sum{what="a"} 200.00006"#,
            r#"took_seconds_count{what="a"} 2"#,
        ];
        assert_eq!(lines[17..], end);
    }
}
