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

#[cfg(test)]
mod tests {
    use mintgate_testkit::tls::Certificates;

    use super::*;
    use crate::finding::Verdict;

    const PROVIDER: &str = "[[providers]]\nid = \"corp\"\nissuer = \"https://idp.example.com\"\n\
        client_id = \"mintgate\"\nredirect_uris = [\"https://app.example.com/callback\"]\n";

    #[test]
    fn a_certificate_of_another_host_or_not_renewed_in_time_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let made = Certificates::made_for("auth.example.com");
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
        std::fs::write(&certificate, &made.certificate).unwrap();
        std::fs::write(&key, &made.key).unwrap();
        let settings = |host: &str| {
            let (certificate, key) = (certificate.display(), key.display());
            let text = format!(
                "[server]\npublic_url = \"https://{host}\"\ntls_cert_file = \"{certificate}\"\n\
                 tls_key_file = \"{key}\"\n{PROVIDER}"
            );
            Settings::from_toml(&text).unwrap_or_else(|error| panic!("{error}"))
        };
        let own = settings("auth.example.com");
        let made_at = own.server.tls.as_ref().unwrap().read().unwrap().validity().from;
        let hour = 3600;
        for (settings, now, verdict) in [
            (&own, made_at + hour, Verdict::Good),
            (&own, made_at - hour, Verdict::Wrong),
            (&own, made_at + 20 * hour, Verdict::Wrong),
            (&own, made_at + 25 * hour, Verdict::Wrong),
            (&settings("auth.example.org"), made_at + hour, Verdict::Wrong),
        ] {
            let finding = examine(settings, now).unwrap();
            assert_eq!(finding.verdict, verdict, "{}", finding.what);
        }
        let plain = format!("[server]\npublic_url = \"https://a.example\"\n{PROVIDER}");
        assert_eq!(examine(&Settings::from_toml(&plain).unwrap(), made_at), None);
    }
}
