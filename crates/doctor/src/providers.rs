//! Each provider: discovery, issuer, keys, TLS, clock, the client's credentials, redirect URIs.

use std::sync::Arc;

use mintgate_domain::chain;
use mintgate_domain::model::AllowedUri;
use mintgate_domain::ports::{Clock, Entropy, Misbehaviour, ProviderError};
use mintgate_domain::{NonceRule, Requirement};
use mintgate_identity_openid::{
    Contact, Discovered, ExaminedProvider, PROBE_CODE, RedirectAnswer, Unseen, UnseenReason,
};
use mintgate_settings::{ProviderConfig, ProviderSettings};

use crate::finding::Finding;

/// The largest difference between a provider's clock and ours that nobody notices, in seconds: half of what
/// tokens are allowed.
const MAX_CLOCK_DIFFERENCE_SECS: u64 = 30;
/// With fewer days left, a certificate should have been renewed.
const LEAST_CERTIFICATE_DAYS: i32 = 7;
/// The most redirect URIs of one provider that are tried.
const MAX_REDIRECT_URIS: usize = 10;

/// Looks at a provider.
pub(crate) async fn examine(
    settings: &ProviderSettings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sends_codes: bool,
) -> Vec<Finding> {
    let mut findings = requirements(settings);
    match provider(settings, clock, entropy) {
        Ok(provider) => findings.extend(answers(settings, &provider, sends_codes).await),
        Err(error) => findings.push(Finding::wrong(
            "provider.discovery",
            format!("the provider cannot work as configured: {error}"),
            "nobody can sign in there",
            "correct its table in [[providers]]",
        )),
    }
    let id = settings.policy.id.as_str();
    findings.into_iter().map(|finding| finding.about(id)).collect()
}

fn provider(
    settings: &ProviderSettings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<ExaminedProvider, String> {
    match settings.config.clone() {
        ProviderConfig::OpenId(config, dialect) => {
            ExaminedProvider::openid(config, dialect, clock, entropy).map_err(|e| e.to_string())
        }
        ProviderConfig::OAuth2(config) => {
            ExaminedProvider::oauth2(config, clock, entropy).map_err(|e| e.to_string())
        }
    }
}

async fn answers(
    settings: &ProviderSettings,
    provider: &ExaminedProvider,
    sends_codes: bool,
) -> Vec<Finding> {
    let (mut findings, is_there) = match (provider.discovery().await, provider.contact().await) {
        (Some(Ok(found)), _) => (discovered(&found), found.other_issuer.is_none()),
        (_, Some(Ok(found))) => (vec![tls(&found), clock_of(&found)], true),
        (Some(Err(unseen)), _) | (_, Some(Err(unseen))) => (vec![not_seen(&unseen)], false),
        (None, None) => (Vec::new(), false),
    };
    // What a provider that cannot be discovered says of the client says nothing.
    if is_there {
        findings.push(client(settings, provider, sends_codes).await);
        findings.extend(redirect_uris(settings, provider).await);
    }
    findings
}

fn not_seen(unseen: &Unseen) -> Finding {
    let text = &unseen.text;
    match unseen.reason {
        UnseenReason::Unreachable => Finding::wrong(
            "provider.discovery",
            format!("the provider cannot be reached: {text}"),
            "nobody can sign in there",
            "check its address, the name server and the firewall; if the service reaches it through a proxy \
             that its environment names, run this with the same HTTPS_PROXY",
        ),
        UnseenReason::Untrusted => Finding::wrong(
            "provider.tls",
            format!("its certificate is not trusted, or it speaks no TLS: {text}"),
            "nobody can sign in there, since anybody could answer in its place",
            "if a private authority has issued the certificate, set ca_file; else the provider has to renew it",
        ),
        UnseenReason::Forbidden => Finding::wrong(
            "provider.discovery",
            format!("the provider may not be asked at its address: {text}"),
            "requests into the private network are refused, and nobody can sign in there",
            "set internal_url, or allow_private_network = true if it is in the private network on purpose",
        ),
        UnseenReason::BadAnswer => Finding::wrong(
            "provider.discovery",
            format!("there is no discovery document: {text}"),
            "nobody can sign in there",
            "open the issuer followed by /.well-known/openid-configuration in a browser, and correct the issuer",
        ),
    }
}

fn discovered(found: &Discovered) -> Vec<Finding> {
    let mut findings = vec![tls(&found.contact), clock_of(&found.contact)];
    findings.push(match (&found.missing[..], &found.forbidden) {
        ([], None) => Finding::good("provider.discovery", "the discovery document has what is needed"),
        (_, Some(forbidden)) => not_seen(forbidden),
        (missing, None) => Finding::wrong(
            "provider.discovery",
            format!("the discovery document lacks {}", missing.join(", ")),
            "nobody can sign in there",
            "check that the issuer is that of an OpenID provider, and not of something else at this address",
        ),
    });
    findings.push(match &found.other_issuer {
        None => Finding::good("provider.issuer", "the discovery document names the configured issuer"),
        Some((expected, named)) => Finding::wrong(
            "provider.issuer",
            format!("the discovery document names the issuer {named}, and expected is {expected}"),
            "issuers are compared character for character, a slash at the end too: every sign-in is refused",
            format!("if {named} is the provider that you mean, configure it as the issuer"),
        ),
    });
    findings.extend(found.keys.as_ref().map(|keys| match keys {
        Ok(keys) if keys.fitting > 0 => {
            let what = format!("{} of {} published keys fit id_token_algs", keys.fitting, keys.all);
            Finding::good("provider.keys", what)
        }
        Ok(keys) => Finding::wrong(
            "provider.keys",
            format!("none of the {} published keys fits the algorithms in id_token_algs", keys.all),
            "every ID token is refused",
            "set id_token_algs to the algorithms with which the provider signs ID tokens",
        ),
        Err(unseen) => Finding::wrong(
            "provider.keys",
            format!("the published keys (jwks_uri) cannot be read: {}", unseen.text),
            "every ID token is refused",
            "check that this machine may reach the address in the discovery document's jwks_uri",
        ),
    }));
    findings
}

fn tls(contact: &Contact) -> Finding {
    const CHECK: &str = "provider.tls";
    match contact.certificate_days {
        None => {
            Finding::good(CHECK, "the provider is asked without TLS, at an address where it may be")
        }
        Some(days) if days >= LEAST_CERTIFICATE_DAYS => {
            Finding::good(CHECK, format!("its certificate is good for {days} more days"))
        }
        Some(days) => Finding::wrong(
            CHECK,
            format!("its certificate expires in {days} days"),
            "then nobody can sign in there",
            "whoever runs the provider has to renew it",
        ),
    }
}

fn clock_of(contact: &Contact) -> Finding {
    const CHECK: &str = "provider.clock";
    match contact.clock_ahead_secs {
        None => Finding::cannot_be_told(
            CHECK,
            "the provider does not say what time it is (no header Date)",
            "ID tokens from more than 60 seconds in the future are refused",
            "see that this machine's clock is synchronised (`timedatectl`)",
        ),
        Some(ahead) if ahead.unsigned_abs() <= MAX_CLOCK_DIFFERENCE_SECS => {
            Finding::good(CHECK, format!("the clocks differ by {} s", ahead.abs()))
        }
        Some(ahead) => {
            let direction = if ahead > 0 { "ahead of" } else { "behind" };
            Finding::wrong(
                CHECK,
                format!("its clock is {} s {direction} this machine's", ahead.unsigned_abs()),
                "ID tokens from more than 60 seconds in the future are refused, and so are expired ones",
                "synchronise this machine by NTP (`timedatectl` shows whether it is), then the provider",
            )
        }
    }
}

async fn client(
    settings: &ProviderSettings,
    provider: &ExaminedProvider,
    sends_codes: bool,
) -> Finding {
    const CHECK: &str = "provider.client";
    let unsent = |reason: &str| {
        Finding::cannot_be_told(
            CHECK,
            format!(
                "whether the provider accepts client_id and client_secret was not tried: {reason}"
            ),
            "if they are wrong, nobody can sign in there",
            "sign in once",
        )
    };
    if let Some(reason) = settings.preset.no_probe {
        return unsent(reason);
    }
    if !sends_codes {
        return unsent("this was asked for (--no-codes)");
    }
    let redirect_uri = settings.policy.redirect_uris.first().map_or("", AllowedUri::as_str);
    match provider.redeem_probe(redirect_uri).await {
        Err(ProviderError::CodeRefused(_)) => Finding::good(
            CHECK,
            format!("the provider refused the code {PROBE_CODE}, and not the client"),
        ),
        Err(ProviderError::Misbehaved(Misbehaviour::ClientRefused, cause)) => Finding::wrong(
            CHECK,
            format!("the provider refuses the client: {}", chain(&cause)),
            "nobody can sign in there",
            "copy client_id and client_secret from the provider's console again; see that the secret has \
             not expired, and how the client is to authenticate (client_auth)",
        ),
        Err(error) => Finding::cannot_be_told(
            CHECK,
            format!(
                "the answer to a code that it has never issued says nothing: {}",
                chain(&error)
            ),
            "if client_id or client_secret is wrong, nobody can sign in there",
            "sign in once, and look into the log of the service",
        ),
        Ok(_) => Finding::wrong(
            CHECK,
            format!(
                "the provider issued tokens for the code {PROBE_CODE}, which it has never issued"
            ),
            "anybody can sign in as whomever it takes this code for",
            "do not use this provider",
        ),
    }
}

async fn redirect_uris(settings: &ProviderSettings, provider: &ExaminedProvider) -> Vec<Finding> {
    const CHECK: &str = "provider.redirect_uri";
    const WHY: &str = "if it is not registered there, the provider shows people an error page";
    let mut findings = Vec::new();
    for uri in settings.policy.redirect_uris.iter().take(MAX_REDIRECT_URIS) {
        let register =
            format!("see that {uri} is registered at the provider, character for character");
        if uri.has_free_label() {
            let what = format!("{uri} stands for many addresses, of which none was tried");
            findings.push(Finding::cannot_be_told(CHECK, what, WHY, register));
            continue;
        }
        findings.push(match provider.redirect(&settings.policy.login, uri.as_str()).await {
            Ok(RedirectAnswer::Returned) => {
                Finding::good(CHECK, format!("the provider sends browsers back to {uri}"))
            }
            Ok(RedirectAnswer::Refused(status)) => Finding::wrong(
                CHECK,
                format!(
                    "the provider refuses a login with the redirect URI {uri} (status {status})"
                ),
                "it shows people an error page in place of the sign-in",
                format!("{register}, and client_id too"),
            ),
            Ok(RedirectAnswer::Else(status)) => Finding::cannot_be_told(
                CHECK,
                format!("the provider answers a login to {uri} with a page (status {status})"),
                WHY,
                register,
            ),
            Err(unseen) => Finding::cannot_be_told(
                CHECK,
                format!("whether {uri} is registered was not to be seen: {}", unseen.text),
                WHY,
                register,
            ),
        });
    }
    findings
}

/// What clients may leave out.
fn requirements(settings: &ProviderSettings) -> Vec<Finding> {
    const CHECK: &str = "provider.pkce";
    let policy = &settings.policy;
    let mut optional = Vec::new();
    if policy.pkce == Requirement::Auto {
        optional.push("pkce");
    }
    if policy.login.has_id_tokens && policy.nonce == NonceRule::Auto {
        optional.push("nonce");
    }
    if optional.is_empty() {
        return vec![Finding::good(
            CHECK,
            "every sign-in is protected by PKCE and nonce, as far as it can be",
        )];
    }
    let settings: Vec<_> = optional.iter().map(|name| format!("{name} = \"required\"")).collect();
    vec![Finding::cannot_be_told(
        CHECK,
        format!("a client may leave out {}", optional.join(" and ")),
        "logins that begin at /login always have both; whether every other client uses them is not known \
         here, and one that does not is open to stolen codes",
        format!("set {}", settings.join(" and ")),
    )]
}

#[cfg(test)]
mod tests {
    use mintgate_identity_openid::Preset;

    #[test]
    fn the_documentation_names_the_presets_that_are_sent_no_code() {
        let documentation = include_str!("../../../docs/doctor.md");
        for preset in Preset::ALL {
            let row = format!("| `{}` | no", preset.name);
            assert_eq!(documentation.contains(&row), preset.no_probe.is_some(), "{}", preset.name);
        }
    }
}
