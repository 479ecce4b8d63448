//! Limits on callers, trusted proxies and what the machine allows, as far as the configuration tells.

use ipnet::IpNet;
use mintgate_domain::ports::DiskSpace;
use mintgate_http_actix::descriptors;
use mintgate_settings::{KeyLocation, RateLimitSettings, Settings, is_loopback};
use rustix::process::{Resource, getrlimit};

use crate::finding::Finding;
use crate::store;

/// A request with both cookies at their largest, and everything else that a browser sends, in bytes.
const LEAST_HEADER_BYTES: usize = 12 * 1024;
/// How many calls of one provider run or wait for each that may run at once.
const CALLS_PER_PLACE: usize = 17;

/// The findings about the limits of a configuration and about the proxies in front.
pub(crate) fn judge(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![
        rates(&settings.limits.rate),
        exempt(&settings.limits.rate.exempt),
        header_bytes(settings.limits.max_header_bytes),
        sign_ins(settings),
        trusted_proxies(settings),
    ];
    if let Some(KeyLocation::Directory(path)) = settings.keys.location()
        && let Ok(disk) = rustix::fs::statvfs(path)
    {
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let space = DiskSpace { free: bytes(disk.f_bavail), size: bytes(disk.f_blocks) };
        findings.push(store::disk("keys.disk", "the key directory", space));
    }
    findings
}

fn rates(rate: &RateLimitSettings) -> Finding {
    const CHECK: &str = "limits.rates";
    let limits = [
        ("logins_per_minute", rate.logins_per_minute),
        ("sign_ins_per_minute", rate.sign_ins_per_minute),
        ("refused_sign_ins_per_minute", rate.refused_sign_ins_per_minute),
        ("provider_sign_ins_per_minute", rate.provider_sign_ins_per_minute),
        ("refused_refreshes_per_minute", rate.refused_refreshes_per_minute),
        ("refused_logout_tokens_per_minute", rate.refused_logout_tokens_per_minute),
        ("session_refreshes_per_minute", rate.session_refreshes_per_minute),
        ("refused_admin_tokens_per_minute", rate.refused_admin_tokens_per_minute),
    ];
    let off = limits.iter().filter(|(_, most)| *most == 0).map(|(name, _)| *name);
    let off: Vec<_> = off.collect();
    if off.is_empty() {
        return Finding::good(CHECK, "every limit on callers is on");
    }
    Finding::wrong(
        CHECK,
        format!("these limits are off: {}", off.join(", ")),
        "one caller can keep the service and its providers busy, and try as many codes and tokens as it likes",
        "remove them from the section [limits], or write the numbers that your callers need",
    )
}

fn exempt(networks: &[IpNet]) -> Finding {
    const CHECK: &str = "limits.exempt";
    match networks.iter().find(|network| network.prefix_len() == 0) {
        None => Finding::good(CHECK, "the limits are for the internet"),
        Some(network) => Finding::wrong(
            CHECK,
            format!("limits.exempt has {network}, which is everybody"),
            "no caller is limited",
            "list the networks of your own systems alone",
        ),
    }
}

fn header_bytes(most: usize) -> Finding {
    const CHECK: &str = "limits.header_bytes";
    let what = format!("a request's headers may have {most} bytes");
    if most >= LEAST_HEADER_BYTES {
        return Finding::good(CHECK, what);
    }
    Finding::wrong(
        CHECK,
        what,
        "two cookies may have 4096 bytes each: browsers with large ones are answered with 431",
        format!("set limits.max_header_bytes to {LEAST_HEADER_BYTES} at least"),
    )
}

fn sign_ins(settings: &Settings) -> Finding {
    const CHECK: &str = "limits.sign_ins";
    let most = settings.limits.max_sign_ins;
    let busiest = settings.providers.iter().max_by_key(|provider| provider.guard.max_concurrent);
    let calls = busiest.map_or(0, |provider| provider.guard.max_concurrent * CALLS_PER_PLACE);
    match busiest {
        Some(provider) if calls >= most && settings.providers.len() > 1 => Finding::wrong(
            CHECK,
            format!(
                "limits.max_sign_ins = {most} is not above the {calls} calls of provider {} that run or wait",
                provider.policy.id
            ),
            "if that provider hangs, nobody can sign in at the others either",
            format!(
                "set limits.max_sign_ins above {calls}, or lower max_concurrent of the provider"
            ),
        ),
        _ => Finding::good(CHECK, "a provider that hangs leaves room for the others"),
    }
}

fn trusted_proxies(settings: &Settings) -> Finding {
    const CHECK: &str = "proxy.trusted";
    let (trusted, public_url) = (&settings.server.trusted_proxies, &settings.server.public_url);
    if let Some(network) = trusted.iter().find(|network| network.prefix_len() == 0) {
        return Finding::wrong(
            CHECK,
            format!("server.trusted_proxies has {network}, which is everybody"),
            "whoever sends X-Forwarded-For chooses the address that limits, sessions and the audit log go by",
            "list the networks of your proxies alone",
        );
    }
    if trusted.is_empty() && public_url.scheme() == "https" && !is_loopback(public_url) {
        return Finding::wrong(
            CHECK,
            "a proxy ends TLS for server.public_url, and server.trusted_proxies is empty",
            "every caller has the proxy's address: limits on callers cannot work, and sessions and the audit log \
             do not show where somebody was",
            "add the network of the proxy, such as \"127.0.0.1/32\", and have it set X-Forwarded-For",
        );
    }
    Finding::good(CHECK, "X-Forwarded-For is believed of the configured proxies alone")
}

/// Whether a process may have as many files and connections as it is configured for. `of_service` is what the
/// running service says: its limit, and how many it has open.
pub(crate) fn file_descriptors(settings: &Settings, of_service: Option<(u64, u64)>) -> Finding {
    const CHECK: &str = "limits.descriptors";
    let (limit, open, whose) = match of_service {
        Some((limit, open)) => (limit, open, "the service"),
        // The service raises its own as far as it may.
        None => (
            getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            0,
            "a process that is started here",
        ),
    };
    let (affordable, most) = (descriptors::of_limit(limit), settings.limits.max_connections);
    if affordable < most {
        return Finding::wrong(
            CHECK,
            format!(
                "{whose} may have {limit} open files, which is enough for {affordable} connections of \
                 limits.max_connections = {most}"
            ),
            "it accepts fewer connections than configured, and closes idle ones to make room",
            "raise the limit (LimitNOFILE in a systemd unit, ulimits of a container), or lower \
             limits.max_connections",
        );
    }
    if open > limit / 5 * 4 {
        return Finding::wrong(
            CHECK,
            format!("{whose} has {open} of {limit} files open"),
            "soon it can neither accept connections nor open files",
            "raise the limit, and see who holds so many connections (`ss -tn`)",
        );
    }
    Finding::good(CHECK, format!("{whose} may have {limit} open files"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;

    fn settings(more: &str) -> Settings {
        Settings::from_toml(&format!(
            "{more}\n[[providers]]\nid = \"corp\"\nissuer = \"https://idp.example.com\"\n\
             client_id = \"x\"\nredirect_uris = [\"https://app.example.com/cb\"]\n"
        ))
        .unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_service_needs_descriptors_for_its_connections_and_some_left() {
        let settings = settings("[limits]\nmax_connections = 768");
        let verdict = |of_service| file_descriptors(&settings, Some(of_service)).verdict;
        assert_eq!(verdict((1024, 800)), Verdict::Good);
        assert_eq!(verdict((1020, 0)), Verdict::Wrong);
        assert_eq!(verdict((1024, 900)), Verdict::Wrong);
    }

    #[test]
    fn a_proxy_that_ends_tls_must_be_named() {
        let verdict = |server: &str| trusted_proxies(&settings(server)).verdict;
        let public = "[server]\npublic_url = \"https://auth.example.com\"";
        assert_eq!(verdict(public), Verdict::Wrong);
        assert_eq!(
            verdict(&format!("{public}\ntrusted_proxies = [\"10.0.0.0/8\"]")),
            Verdict::Good
        );
        assert_eq!(
            verdict(&format!("{public}\ntrusted_proxies = [\"0.0.0.0/0\"]")),
            Verdict::Wrong
        );
        assert_eq!(verdict(""), Verdict::Good);
    }
}
