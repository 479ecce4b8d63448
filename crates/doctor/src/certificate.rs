//! The certificates of the listeners, as their files hold them.

use mintgate_settings::Settings;
use mintgate_tls::{Pair, PairFiles};

use crate::finding::Finding;

const PUBLIC: &str = "service.certificate";
const OPERATIONS: &str = "service.ops_certificate";
/// The part of a certificate's life before whose last it should have been renewed.
const LAST_PART: i64 = 5;

/// Looks at the certificates that there are, at `now` in Unix seconds.
pub(crate) fn examine(settings: &Settings, now: i64) -> Vec<Finding> {
    let host = settings.server.public_url.host_str();
    // Nobody says by which name the operations listener is called.
    let listeners = [(&settings.server.tls, PUBLIC, host), (&settings.ops.tls, OPERATIONS, None)];
    let findings = listeners.into_iter().filter_map(|(files, check, host)| {
        let files = files.as_ref()?;
        Some(match files.read() {
            Ok(pair) => judge(check, host, files, &pair, now),
            // It was read a moment ago, with the configuration.
            Err(error) => Finding::cannot_be_told(
                check,
                error.to_string(),
                "the files are being replaced",
                "run this again",
            ),
        })
    });
    findings.collect()
}

fn judge(
    check: &'static str,
    host: Option<&str>,
    files: &PairFiles,
    pair: &Pair,
    now: i64,
) -> Finding {
    let file = files.certificates.display();
    let validity = pair.validity();
    let renew = "renew it, and see that what renews it by itself runs and may write the file";
    if let Some(problem) = validity.problem(now) {
        let what = format!("the certificate in {file} {problem}");
        return Finding::wrong(check, what, "clients refuse the connection", renew);
    }
    if let Some(host) = host
        && !pair.is_for(host).unwrap_or(true)
    {
        let what =
            format!("the certificate in {file} is not for {host}, the host of server.public_url");
        let fix = format!("have one issued for {host}");
        return Finding::wrong(check, what, "clients refuse the connection", fix);
    }
    let left = validity.until - now;
    let days = left / 86_400;
    if left < (validity.until - validity.from) / LAST_PART {
        let what = format!("the certificate in {file} expires in {days} days, and was not renewed");
        return Finding::wrong(check, what, "clients refuse the connection then", renew);
    }
    let whom = host.map(|host| format!("is for {host}, and ")).unwrap_or_default();
    Finding::good(check, format!("the certificate in {file} {whom}is valid for {days} days"))
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
            let findings = examine(settings, now);
            assert_eq!(findings[0].verdict, verdict, "{findings:?}");
        }
        let plain = format!("[server]\npublic_url = \"https://a.example\"\n{PROVIDER}");
        assert_eq!(examine(&Settings::from_toml(&plain).unwrap(), made_at), []);
    }
    #[test]
    fn the_certificate_of_the_operations_listener_may_be_for_any_name_and_is_to_be_renewed_as_well()
    {
        let dir = tempfile::tempdir().unwrap();
        let made = Certificates::made_for("ops.example.com");
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
        std::fs::write(&certificate, &made.certificate).unwrap();
        std::fs::write(&key, &made.key).unwrap();
        let text = format!(
            "[ops]\ntls_cert_file = \"{}\"\ntls_key_file = \"{}\"\n{PROVIDER}",
            certificate.display(),
            key.display()
        );
        let settings = Settings::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
        let made_at = settings.ops.tls.as_ref().unwrap().read().unwrap().validity().from;
        for (hours, verdict) in [(1, Verdict::Good), (20, Verdict::Wrong), (25, Verdict::Wrong)] {
            let findings = examine(&settings, made_at + hours * 3600);
            assert_eq!(findings.len(), 1);
            assert_eq!((findings[0].check, findings[0].verdict), (OPERATIONS, verdict));
        }
    }
}
