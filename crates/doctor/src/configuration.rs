//! What a configuration says that is allowed but rarely intended.

use mintgate_settings::{Settings, Warning};

use crate::exposed_files;
use crate::finding::Finding;

/// What is allowed in a configuration but rarely intended, as sentences.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let warnings = settings.warnings().into_iter().map(|warning| warning.to_string());
    let exposed = exposed_files::found(settings).map(|(what, fix)| format!("{what}; {fix}"));
    warnings.chain(exposed).collect()
}

/// The findings about the configuration alone, but for keys and origins, which have checks of their own.
pub(crate) fn judge(settings: &Settings) -> Vec<Finding> {
    let warnings = settings.warnings();
    let mut findings: Vec<_> = warnings.iter().filter_map(finding).collect();
    findings.push(match exposed_files::found(settings) {
        Some((what, fix)) => {
            let why =
                "whoever has an account here can sign in as anybody, or read who has an account";
            Finding::wrong("config.exposed_files", what, why, fix)
        }
        None => Finding::good("config.exposed_files", "no file with secrets is open to everybody"),
    });
    findings
}

fn finding(warning: &Warning) -> Option<Finding> {
    let check = match warning {
        Warning::ShortPublication { .. } => "config.publish_ahead",
        Warning::AdminWithoutTls { .. } => "config.admin_tls",
        Warning::LargeAnswers { .. } => "config.answer_size",
        Warning::SharedLimitsOfOne => "config.shared_limits",
        Warning::LongDrain { .. } => "config.drain",
        Warning::KeysInDirectory { .. }
        // Such a page may well sign in without the two links; `origin.site` looks at its cookies.
        | Warning::ReturnsToOtherSite { .. }
        | Warning::OtherSite { .. }
        | Warning::NotPartitioned { .. }
        | Warning::LoopbackNames { .. } => return None,
    };
    let (what, why, fix) = warning.parts();
    Some(Finding::wrong(check, what, why, fix))
}
