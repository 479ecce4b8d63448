//! The certificate of the public listener, as its files hold it.

use mintgate_settings::Settings;
use mintgate_tls::{Pair, PairFiles};

use crate::finding::Finding;

const CHECK: &str = "service.certificate";
/// The part of a certificate's life before whose last it should have been renewed.
const LAST_PART: i64 = 5;

/// Looks at the certificate, if there is one, at `now` in Unix seconds.
pub(crate) fn examine(settings: &Settings, now: i64) -> Option<Finding> {
    let files = settings.server.tls.as_ref()?;
    Some(match files.read() {
        Ok(pair) => judge(settings, files, &pair, now),
        // It was read a moment ago, with the configuration.
        Err(error) => Finding::cannot_be_told(
            CHECK,
            error.to_string(),
            "the files are being replaced",
            "run this again",
        ),
    })
}

fn judge(settings: &Settings, files: &PairFiles, pair: &Pair, now: i64) -> Finding {
    let file = files.certificates.display();
    let (validity, host) = (pair.validity(), settings.server.public_url.host_str());
    let renew = "renew it, and see that what renews it by itself runs and may write the file";
    if let Some(problem) = validity.problem(now) {
        let what = format!("the certificate in {file} {problem}");
        return Finding::wrong(CHECK, what, "clients refuse the connection", renew);
    }
    let host = host.unwrap_or_default();
    if !pair.is_for(host).unwrap_or(true) {
        let what =
            format!("the certificate in {file} is not for {host}, the host of server.public_url");
        let fix = format!("have one issued for {host}");
        return Finding::wrong(CHECK, what, "clients refuse the connection", fix);
    }
    let left = validity.until - now;
    let days = left / 86_400;
    if left < (validity.until - validity.from) / LAST_PART {
        let what = format!("the certificate in {file} expires in {days} days, and was not renewed");
        return Finding::wrong(CHECK, what, "clients refuse the connection then", renew);
    }
    Finding::good(CHECK, format!("the certificate is for {host}, and valid for {days} days"))
}
