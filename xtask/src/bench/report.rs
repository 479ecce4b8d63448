//! What was measured, as a table, and whether the working tree is slower.

use std::fmt::Write as _;
use std::time::Duration;

/// The highest ratio at which the working tree counts as not slower.
const LIMIT: f64 = 1.05;

/// The figures of one measurement of one program.
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) took: Duration,
    /// Processor time of the service.
    pub(super) service: Duration,
    /// Processor time of Postgres, if that is the store.
    pub(super) postgres: Option<Duration>,
    /// The share of all processors' time that other programs used, from 0 to 1.
    pub(super) others: f64,
}

/// What a request costs; the metrics that are compared.
const METRICS: [&str; 3] = ["time", "service CPU", "Postgres CPU"];

impl Sample {
    /// What a request took of each metric, in microseconds.
    fn costs(&self) -> [Option<f64>; 3] {
        #[expect(clippy::cast_precision_loss, reason = "far fewer requests than 2^52")]
        let each = |time: Duration| time.as_secs_f64() * 1e6 / self.requests as f64;
        [Some(each(self.took)), Some(each(self.service)), self.postgres.map(each)]
    }
}

/// The rounds of one operation on one store.
struct Series {
    name: String,
    /// The samples of each round: A's, then B's if there is one.
    rounds: Vec<Vec<Sample>>,
}

impl Series {
    /// A's cost divided by B's in each round.
    fn ratios(&self, metric: usize) -> Vec<f64> {
        let ratio = |round: &Vec<Sample>| {
            let [a, b] = round.as_slice() else { return None };
            Some(a.costs()[metric]? / b.costs()[metric]?)
        };
        self.rounds.iter().filter_map(ratio).collect()
    }

    /// How much the same program differed between rounds, at most; 0.1 is 10 %.
    fn spread(&self, metric: usize) -> f64 {
        let sides = self.rounds.first().map_or(0, Vec::len);
        let spread = |side: usize| {
            let costs = self.rounds.iter().filter_map(|round| round.get(side)?.costs()[metric]);
            let (least, most) = costs
                .fold((f64::MAX, 0.0_f64), |(least, most), cost| (least.min(cost), most.max(cost)));
            if most > 0.0 { most / least - 1.0 } else { 0.0 }
        };
        (0..sides).map(spread).fold(0.0, f64::max)
    }
}

pub(super) struct Report {
    sides: usize,
    series: Vec<Series>,
}

impl Report {
    pub(super) fn new(sides: usize) -> Self {
        Self { sides, series: Vec::new() }
    }

    fn compares(&self) -> bool {
        self.sides == 2
    }

    pub(super) fn header(&self) -> String {
        let groups = ["requests/s", "service CPU µs", "Postgres CPU µs"];
        let columns = |name: &str| {
            if self.compares() {
                format!("  {:>17} {:>7} {:>6}", format!("{name} A"), "B", "A/B")
            } else {
                format!("  {name:>17}")
            }
        };
        format!("{:<18} round{}", "", groups.map(columns).concat())
    }

    /// Adds a round and returns its line.
    pub(super) fn add(&mut self, name: &str, samples: Vec<Sample>) -> String {
        if self.series.last().is_none_or(|series| series.name != name) {
            self.series.push(Series { name: name.to_owned(), rounds: Vec::new() });
        }
        let Some(series) = self.series.last_mut() else { return String::new() };
        series.rounds.push(samples);
        let mut line = format!("{name:<18} {:>5}", series.rounds.len());
        let round = series.rounds.last().map(Vec::as_slice).unwrap_or_default();
        for metric in 0..METRICS.len() {
            let costs = round.iter().map(|sample| sample.costs()[metric]);
            // Time is shown as a rate; the ratio is that of the times all the same.
            let shown = costs.map(|cost| if metric == 0 { cost.map(|it| 1e6 / it) } else { cost });
            for (side, value) in shown.enumerate() {
                let value = value.map_or("-".to_owned(), |value| format!("{value:.0}"));
                let _ = if side == 0 {
                    write!(line, "  {value:>17}")
                } else {
                    write!(line, " {value:>7}")
                };
            }
            if let Some(ratio) = series.ratios(metric).last() {
                let _ = write!(line, " {ratio:>5.2}×");
            } else if round.len() > 1 {
                line.push_str("      -");
            }
        }
        line
    }

    /// The medians, the noise and the verdict.
    pub(super) fn summary(&self) -> String {
        let mut text = String::new();
        let mut slower = Vec::new();
        if self.compares() {
            text.push_str("\nmedian of A/B\n");
        }
        for series in &self.series {
            let medians = (0..METRICS.len()).filter_map(|metric| {
                let median = median(series.ratios(metric))?;
                if median > LIMIT {
                    slower.push(format!("{} of {}: {median:.2} ×", METRICS[metric], series.name));
                }
                Some(format!("{} {median:.2} ×", METRICS[metric]))
            });
            let medians = medians.collect::<Vec<_>>().join(", ");
            if !medians.is_empty() {
                let _ = writeln!(text, "  {:<18} {medians}", series.name);
            }
        }
        let spreads: Vec<f64> = (0..METRICS.len())
            .map(|metric| self.series.iter().map(|it| it.spread(metric)).fold(0.0, f64::max))
            .collect();
        let named =
            METRICS.iter().zip(&spreads).map(|(name, it)| format!("{name} {:.0} %", it * 100.0));
        let samples = self.series.iter().flat_map(|series| series.rounds.iter().flatten());
        let others = samples.map(|sample| sample.others).fold(0.0, f64::max);
        let _ = writeln!(
            text,
            "\nnoise: between rounds the same program differed by at most: {}; other programs used at most {:.0} % of the processors",
            named.collect::<Vec<_>>().join(", "),
            others * 100.0
        );
        if self.compares() {
            let verdict = if slower.is_empty() {
                format!("not slower: every median is at most {LIMIT} ×")
            } else {
                format!("SLOWER than {LIMIT} ×: {}", slower.join("; "))
            };
            let _ = writeln!(text, "verdict: {verdict}");
        }
        text.trim_end().to_owned()
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(requests: u64, service_ms: u64, postgres_ms: Option<u64>) -> Sample {
        Sample {
            requests,
            took: Duration::from_secs(1),
            service: Duration::from_millis(service_ms),
            postgres: postgres_ms.map(Duration::from_millis),
            others: 0.02,
        }
    }

    fn summary_of(rounds: [[Sample; 2]; 3]) -> String {
        let mut report = Report::new(2);
        for round in rounds {
            report.add("Refresh, Postgres", round.into());
        }
        report.summary()
    }

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn one_bad_round_of_three_does_not_make_the_working_tree_slower() {
        let equal = || [sample(1000, 500, Some(100)), sample(1000, 500, Some(100))];
        let worse = [sample(500, 500, Some(100)), sample(1000, 500, Some(100))];
        let text = summary_of([equal(), worse, equal()]);
        assert!(text.contains("verdict: not slower"), "{text}");
        assert!(text.contains("time 100 %"), "{text}");
        assert!(text.contains("other programs used at most 2 %"), "{text}");
    }

    #[test]
    fn a_median_above_the_limit_is_named() {
        let round = || [sample(1000, 530, Some(100)), sample(1000, 500, Some(100))];
        let text = summary_of([round(), round(), round()]);
        assert!(
            text.contains("SLOWER than 1.05 ×: service CPU of Refresh, Postgres: 1.06 ×"),
            "{text}"
        );
    }

    #[test]
    fn a_line_shows_rates_costs_and_their_ratio() {
        let mut report = Report::new(2);
        let line =
            report.add("Login, Sqlite", vec![sample(1000, 400, None), sample(800, 400, None)]);
        let words: Vec<&str> = line.split_whitespace().collect();
        let expected =
            ["Login,", "Sqlite", "1", "1000", "800", "0.80×", "400", "500", "0.80×", "-", "-", "-"];
        assert_eq!(words, expected);
        assert_eq!(report.header().chars().count(), line.chars().count());
    }

    #[test]
    fn a_working_tree_alone_has_no_verdict() {
        let mut report = Report::new(1);
        report.add("Login, Sqlite", vec![sample(1000, 400, None)]);
        let text = report.summary();
        assert!(text.contains("noise") && !text.contains("verdict"), "{text}");
    }
}
