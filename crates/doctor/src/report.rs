//! The findings for people and for programs.

use std::fmt;

use crate::finding::{Finding, Verdict};

/// Everything that was found, in the order in which it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Every finding, in the order of the examination.
    pub findings: Vec<Finding>,
    /// Whether it is printed as JSON.
    pub json: bool,
}

impl Report {
    /// Whether nothing is wrong. What cannot be told is not wrong.
    pub fn is_healthy(&self) -> bool {
        self.count(Verdict::Wrong) == 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == verdict).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.json {
            // Texts alone: nothing that JSON cannot say.
            let text = serde_json::to_string_pretty(&self.findings).unwrap_or_default();
            return writeln!(f, "{text}");
        }
        let mut area = "";
        for finding in &self.findings {
            let of = crate::area(finding.check);
            if of != area {
                writeln!(f, "{of}")?;
                area = of;
            }
            write_finding(f, finding)?;
        }
        let [good, wrong, unknown] = [Verdict::Good, Verdict::Wrong, Verdict::CannotBeTold]
            .map(|verdict| self.count(verdict));
        writeln!(f, "{wrong} wrong, {unknown} cannot be told from here, {good} good")
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
    let mark = match finding.verdict {
        Verdict::Good => "good ",
        Verdict::Wrong => "WRONG",
        Verdict::CannotBeTold => "?    ",
    };
    let subject = finding.subject.as_ref().map(|it| format!(" {}", plain(it)));
    let subject = subject.unwrap_or_default();
    writeln!(f, "  {mark} {}{subject}: {}", finding.check, plain(&finding.what))?;
    for (name, text) in [("Why", &finding.why), ("Fix", &finding.fix)] {
        if !text.is_empty() {
            writeln!(f, "        {name}: {}", plain(text))?;
        }
    }
    Ok(())
}

/// A text on one line, which cannot move the cursor of a terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report { findings, json: false }
    }

    #[test]
    fn only_what_is_wrong_makes_a_report_unhealthy() {
        let (good, told) = (Finding::good("store.reachable", "x"), Finding::cannot_be_told);
        let told = told("proxy.headers", "x", "y", "z");
        assert!(report(vec![good.clone(), told.clone()]).is_healthy());
        let wrong = Finding::wrong("keys.shared", "x", "y", "z");
        assert!(!report(vec![good, told, wrong]).is_healthy());
    }

    #[test]
    fn a_foreign_text_stays_on_its_line() {
        let evil = Finding::wrong("provider.issuer", "a\nb\u{1b}[2J", "why", "fix").about("c\rd");
        let text = report(vec![evil]).to_string();
        assert_eq!(text.lines().count(), 5, "{text}");
        assert!(!text.contains(['\u{1b}', '\r']), "{text}");
    }

    #[test]
    fn json_has_a_list_with_the_same_names_for_every_finding() {
        let findings = vec![
            Finding::good("store.reachable", "it answers"),
            Finding::cannot_be_told("provider.client", "a", "b", "c").about("corp"),
        ];
        let json: serde_json::Value =
            serde_json::from_str(&Report { findings, json: true }.to_string()).unwrap();
        assert_eq!(
            json,
            serde_json::json!([
                { "check": "store.reachable", "verdict": "good", "what": "it answers", "why": "", "fix": "" },
                { "check": "provider.client", "subject": "corp", "verdict": "cannot_be_told",
                  "what": "a", "why": "b", "fix": "c" },
            ])
        );
    }
}
