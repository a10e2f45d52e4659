//! Time, from left to right.

use std::time::Duration;

use svg::node::element::{Group, Line};

use super::{rounded, text};

/// Steps between labels, in seconds: people read these.
const STEPS: [f64; 18] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0,
    7_200.0, 21_600.0, 86_400.0,
];

/// More would run into each other.
const LABELS: f64 = 10.0;

#[derive(Debug)]
pub(super) struct Axis {
    seconds: f64,
    pub(super) left: f64,
    pub(super) right: f64,
}

impl Axis {
    pub(super) fn new(span: Duration, left: f64, right: f64) -> Self {
        Self {
            seconds: span.as_secs_f64().max(0.1),
            left,
            right,
        }
    }

    pub(super) fn x(&self, at: Duration) -> f64 {
        let share = (at.as_secs_f64() / self.seconds).min(1.0);
        self.left + share * (self.right - self.left)
    }

    pub(super) fn at(&self, x: f64) -> Duration {
        let share = (x - self.left) / (self.right - self.left);
        Duration::from_secs_f64((share * self.seconds).max(0.0))
    }

    /// Lines for all lanes, and what they stand for below.
    pub(super) fn grid(&self, top: f64, bottom: f64) -> Group {
        let step = self.step();
        let mut group = Group::new();
        let mut seconds = 0.0;
        while seconds <= self.seconds {
            let x = self.left + seconds / self.seconds * (self.right - self.left);
            let line = Line::new()
                .set("class", "grid")
                .set("x1", rounded(x))
                .set("x2", rounded(x))
                .set("y1", rounded(top))
                .set("y2", rounded(bottom));
            let label = text(x, bottom + 18.0, "tick", label(seconds, step));
            group = group.add(line).add(label);
            seconds += step;
        }
        group
    }

    fn step(&self) -> f64 {
        let fitting = STEPS.iter().find(|step| self.seconds / **step <= LABELS);
        fitting.copied().unwrap_or(self.seconds / LABELS)
    }
}

fn label(seconds: f64, step: f64) -> String {
    if seconds == 0.0 {
        "0".to_owned()
    } else if step >= 3_600.0 {
        format!("{} h", (seconds / 3_600.0).round())
    } else if step >= 60.0 {
        format!("{} min", (seconds / 60.0).round())
    } else if step >= 1.0 {
        format!("{} s", seconds.round())
    } else {
        format!("{seconds:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_of_any_length_have_a_few_labels() {
        for (span, last) in [
            (0.7, "0.6 s"),
            (7.6, "7 s"),
            (250.0, "240 s"),
            (5_000.0, "80 min"),
        ] {
            let axis = Axis::new(Duration::from_secs_f64(span), 0.0, 100.0);
            let labels = span / axis.step();
            assert!((2.0..=LABELS).contains(&labels), "{labels}");
            let seconds = (span / axis.step()).floor() * axis.step();
            assert_eq!(label(seconds, axis.step()), last);
        }
    }
}
