//! The text that Prometheus reads: its own format (0.0.4), or OpenMetrics (1.0).

use std::fmt::{Display, Write};

use crate::counts::Snapshot;

/// Which of the two is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`.
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

/// What a family of numbers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows; its samples' names end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations by buckets.
    Histogram,
}

/// The text while it is written: family after family, each with all of its samples.
#[derive(Debug)]
pub struct Text {
    format: Format,
    out: String,
    /// The family whose samples come.
    family: &'static str,
}

/// A sample's labels.
type Labels<'a> = &'a [(&'a str, &'a str)];

// === impl Format ===

impl Format {
    /// The one that whoever sends this `Accept` is to get: OpenMetrics where it is named and not
    /// refused.
    pub fn accepted(accept: &str) -> Self {
        let is_named = accept.split(',').any(|part| {
            let mut parts = part.split(';').map(str::trim);
            let named = parts.next() == Some("application/openmetrics-text");
            named && !parts.any(|it| matches!(it, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        });
        if is_named { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

// === impl Text ===

impl Text {
    /// Begins.
    pub fn new(format: Format) -> Self {
        Self { format, out: String::with_capacity(16 << 10), family: "" }
    }

    /// Begins a family.  `name` is that of its samples: a counter's ends in `_total`.
    pub fn family(&mut self, name: &'static str, kind: Type, help: &str) {
        self.family = name;
        let (named, kind) = match (kind, self.format) {
            // OpenMetrics calls the family what precedes the ending.
            (Type::Counter, Format::OpenMetrics) => {
                (name.strip_suffix("_total").unwrap_or(name), "counter")
            }
            (Type::Counter, Format::Prometheus) => (name, "counter"),
            (Type::Gauge, _) => (name, "gauge"),
            (Type::Histogram, _) => (name, "histogram"),
        };
        self.push(&["# HELP ", named, " ", help, "\n# TYPE ", named, " ", kind, "\n"]);
    }

    /// One sample of the family.
    pub fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// A histogram of the family.
    pub fn histogram(&mut self, labels: Labels<'_>, it: &Snapshot) {
        for (end, count) in &it.buckets {
            self.line("_bucket", labels, Some(("le", end)), count);
        }
        self.line("_bucket", labels, Some(("le", "+Inf")), it.count);
        self.line("_sum", labels, None, it.sum);
        self.line("_count", labels, None, it.count);
    }

    /// All of it.
    pub fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn line(
        &mut self,
        ending: &str,
        labels: Labels<'_>,
        more: Option<(&str, &str)>,
        value: impl Display,
    ) {
        self.push(&[self.family, ending]);
        let mut between = "{";
        // An empty label is no label.
        for (name, value) in labels.iter().copied().chain(more).filter(|(_, it)| !it.is_empty()) {
            self.push(&[between, name, "=\""]);
            for char in value.chars() {
                match char {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    char => self.out.push(char),
                }
            }
            self.out.push('"');
            between = ",";
        }
        if between == "," {
            self.out.push('}');
        }
        // Writing to a string cannot fail.
        writeln!(self.out, " {value}").ok();
    }

    fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.out.push_str(part));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Counts;

    #[test]
    fn labels_cannot_break_out() {
        let mut text = Text::new(Format::Prometheus);
        text.family("a_total", Type::Counter, "What it is.");
        text.sample(&[("server", "x\"y\\z\n"), ("none", "")], 7);
        text.sample(&[("server", "")], 8);
        let expect = "# HELP a_total What it is.\n# TYPE a_total counter\n\
                      a_total{server=\"x\\\"y\\\\z\\n\"} 7\na_total 8\n";
        assert_eq!(text.end(), expect);
    }

    #[test]
    fn openmetrics_names_families_without_their_ending() {
        let mut text = Text::new(Format::OpenMetrics);
        text.family("a_total", Type::Counter, "A.");
        text.sample(&[], 1);
        text.family("b", Type::Gauge, "B.");
        text.sample(&[("c", "d")], 0.5);
        let expect = "# HELP a A.\n# TYPE a counter\na_total 1\n\
                      # HELP b B.\n# TYPE b gauge\nb{c=\"d\"} 0.5\n# EOF\n";
        assert_eq!(text.end(), expect);
    }

    #[test]
    fn a_histogram_is_written_in_full() {
        let counts = Counts::default();
        counts.sse_set_up(Duration::from_millis(2));
        let mut text = Text::new(Format::Prometheus);
        text.family("s", Type::Histogram, "S.");
        text.histogram(&[("server", "a")], &counts.sse_setups());
        let text = text.end();
        assert!(text.contains("s_bucket{server=\"a\",le=\"0.001\"} 0\n"), "{text}");
        assert!(text.contains("s_bucket{server=\"a\",le=\"0.0025\"} 1\n"), "{text}");
        assert!(text.contains("s_bucket{server=\"a\",le=\"+Inf\"} 1\n"), "{text}");
        let end = "s_sum{server=\"a\"} 0.002\ns_count{server=\"a\"} 1\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2,*/*";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for other in ["", "*/*", "text/plain", "application/openmetrics-text; q=0", "text/html"] {
            assert_eq!(Format::accepted(other), Format::Prometheus, "{other}");
        }
    }
}
