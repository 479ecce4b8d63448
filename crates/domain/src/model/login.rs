//! A login begun here: one secret in the browser's cookie, from which everything else follows.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use std::time::Duration;

use super::{AuthenticationRequirements, ProviderId, ReturnTo, SessionId, SingleUse, Timestamp};
use crate::{CodeVerifier, LoginCookie, Nonce, TokenHash};

/// The first field of a cookie, and with it how the others are to be read.
const VERSION: &str = "2";
/// The same of a login that ends at our own callback, whose last field is an address more.
const VERSION_OF_CALLBACK: &str = "3";
/// The same of a login that links an identity, whose last field is the session.
const VERSION_OF_LINK: &str = "4";
/// The beginning of every `state` that was made here.
const STATE_PREFIX: &str = "mg.";

/// What a login is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginPurpose {
    /// A new session.
    SignIn,
    /// The identity is linked to the user of this session, by this session alone.
    Link(SessionId),
}

/// A login between the authorization request and its response.
///
/// State, nonce and code verifier are digests of the secret together with the provider, the redirect
/// URI and the rest: a transaction in which any of these was changed has another state, so whoever
/// brings the state back finishes exactly what was begun. Nothing is stored until it is finished.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginTransaction {
    secret: [u8; 32],
    /// The provider that the login was begun with.
    pub provider: ProviderId,
    /// The redirect URI of the authorization request.
    pub redirect_uri: String,
    /// Whether the authorization response must name its issuer (RFC 9207 §2.4).
    pub names_issuer: bool,
    /// The time until which the login may be finished.
    pub expires_at: Timestamp,
    /// How the person must authenticate at the provider.
    pub requirements: AuthenticationRequirements,
    /// Where the browser goes at the end of a login that ends at our own callback; `None` for one that the
    /// client finishes.
    pub return_to: Option<String>,
    /// What the login is for. One that ends at a client is for a sign-in.
    pub purpose: LoginPurpose,
}

impl LoginTransaction {
    /// Begins a login; the secret must be random.
    pub fn begin(
        secret: [u8; 32],
        provider: ProviderId,
        redirect_uri: String,
        names_issuer: bool,
        expires_at: Timestamp,
        requirements: AuthenticationRequirements,
    ) -> Self {
        Self {
            secret,
            provider,
            redirect_uri,
            names_issuer,
            expires_at,
            requirements,
            return_to: None,
            purpose: LoginPurpose::SignIn,
        }
    }

    /// The same login, which ends at our own callback: the browser goes on to this page.
    #[must_use]
    pub fn returning_to(self, page: &ReturnTo) -> Self {
        Self { return_to: Some(page.as_str().to_owned()), ..self }
    }

    /// The same login for this purpose; it must end at our own callback.
    #[must_use]
    pub fn with_purpose(self, purpose: LoginPurpose) -> Self {
        Self { purpose, ..self }
    }

    /// Whether a `state` has the form of those that Mintgate makes; nothing is verified.
    pub fn is_state(state: &str) -> bool {
        state.starts_with(STATE_PREFIX)
    }

    /// The `state` of the authorization request (RFC 6749 §4.1.1). Public, as URLs are.
    pub fn state(&self) -> String {
        format!("{STATE_PREFIX}{}", self.derive("state"))
    }

    /// The nonce of the authentication request (OIDC Core §3.1.2.1).
    pub fn nonce(&self) -> Nonce {
        Nonce::new(self.derive("nonce"))
    }

    /// The code verifier (RFC 7636 §4.1): 43 characters.
    pub fn code_verifier(&self) -> CodeVerifier {
        CodeVerifier::new(self.derive("code_verifier"))
    }

    /// The code challenge of the method S256 (RFC 7636 §4.2).
    pub fn code_challenge(&self) -> String {
        BASE64.encode(TokenHash::of(self.code_verifier().expose()).as_bytes())
    }

    /// The mark which says that this login has been finished, so that it counts once.
    pub fn single_use(&self) -> SingleUse {
        let hash = TokenHash::of_parts(&["login", &self.state()]);
        SingleUse { hash, expires_at: self.expires_at }
    }

    /// The part of a `state` that names the login's cookie, to tell apart the logins that one
    /// browser has begun.
    pub fn tag(state: &str) -> &str {
        let tag = state.strip_prefix(STATE_PREFIX).unwrap_or(state);
        tag.get(..12).unwrap_or(tag)
    }

    /// The value of the cookie that keeps the login in the browser.
    pub fn to_cookie(&self) -> LoginCookie {
        let (version, page) = match (&self.return_to, self.purpose) {
            (None, _) => (VERSION, String::new()),
            (Some(page), LoginPurpose::SignIn) => {
                (VERSION_OF_CALLBACK, format!(".{}", BASE64.encode(page)))
            }
            (Some(page), LoginPurpose::Link(session)) => {
                (VERSION_OF_LINK, format!(".{}.{session}", BASE64.encode(page)))
            }
        };
        LoginCookie::new(format!(
            "{version}.{}.{}.{}.{}.{}.{}.{}{page}",
            BASE64.encode(self.secret),
            self.expires_at.as_unix(),
            u8::from(self.names_issuer),
            self.provider,
            BASE64.encode(&self.redirect_uri),
            self.max_age_secs(),
            BASE64.encode(&self.requirements.acr_values),
        ))
    }

    /// Reads a cookie's value; `None` if it is none that was made here.
    pub fn from_cookie(cookie: &LoginCookie) -> Option<Self> {
        let fields: Vec<&str> = cookie.expose().split('.').collect();
        let (fields, return_to, purpose) = match &fields[..] {
            [VERSION, fields @ ..] => (fields, None, LoginPurpose::SignIn),
            [VERSION_OF_CALLBACK, fields @ .., page] => (fields, Some(*page), LoginPurpose::SignIn),
            [VERSION_OF_LINK, fields @ .., page, session] => {
                (fields, Some(*page), LoginPurpose::Link(SessionId::parse(session)?))
            }
            _ => return None,
        };
        let [secret, expires_at, names_issuer, provider, redirect_uri, max_age, acr_values] =
            *fields
        else {
            return None;
        };
        let text = |field: &str| String::from_utf8(BASE64.decode(field).ok()?).ok();
        let max_age = match max_age {
            "" => None,
            secs => Some(Duration::from_secs(secs.parse().ok()?)),
        };
        Some(Self {
            secret: BASE64.decode(secret).ok()?.try_into().ok()?,
            provider: ProviderId::new(provider),
            redirect_uri: text(redirect_uri)?,
            names_issuer: match names_issuer {
                "0" => false,
                "1" => true,
                _ => return None,
            },
            expires_at: Timestamp::from_unix(expires_at.parse().ok()?),
            requirements: AuthenticationRequirements { max_age, acr_values: text(acr_values)? },
            return_to: match return_to {
                None => None,
                Some(page) => Some(text(page)?),
            },
            purpose,
        })
    }

    /// The required `max_age` in seconds; empty if there is none.
    fn max_age_secs(&self) -> String {
        self.requirements.max_age.map(|age| age.as_secs().to_string()).unwrap_or_default()
    }

    fn derive(&self, what: &str) -> String {
        let (secret, expires_at, max_age) = (
            BASE64.encode(self.secret),
            self.expires_at.as_unix().to_string(),
            self.max_age_secs(),
        );
        let mut parts = vec![
            what,
            &secret,
            self.provider.as_str(),
            &self.redirect_uri,
            if self.names_issuer { "1" } else { "0" },
            &expires_at,
            &max_age,
            &self.requirements.acr_values,
        ];
        parts.extend(self.return_to.as_deref());
        let session;
        if let LoginPurpose::Link(id) = self.purpose {
            session = id.to_string();
            parts.extend(["link", &session]);
        }
        BASE64.encode(TokenHash::of_parts(&parts).as_bytes())
    }
}

impl std::fmt::Debug for LoginTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginTransaction")
            .field("provider", &self.provider)
            .field("redirect_uri", &self.redirect_uri)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> LoginTransaction {
        LoginTransaction::begin(
            [7; 32],
            ProviderId::new("corp"),
            "https://app.example.com/callback".to_owned(),
            true,
            Timestamp::from_unix(1_800_000_600),
            AuthenticationRequirements {
                max_age: Some(Duration::from_mins(5)),
                acr_values: "gold silver".to_owned(),
            },
        )
    }

    fn session(n: u8) -> SessionId {
        SessionId::generate(time::OffsetDateTime::UNIX_EPOCH, [n; 10])
    }

    #[test]
    fn a_login_comes_back_from_its_cookie_whole() {
        let back = LoginTransaction::from_cookie(&login().to_cookie());
        assert_eq!(back, Some(login()));
        let mut without = login();
        without.requirements = AuthenticationRequirements::default();
        assert_eq!(LoginTransaction::from_cookie(&without.to_cookie()), Some(without));
        let mut returning = login();
        returning.return_to = Some("https://app.example.com/straße?a=.b#c".to_owned());
        assert_eq!(LoginTransaction::from_cookie(&returning.to_cookie()), Some(returning.clone()));
        let linking = returning.with_purpose(LoginPurpose::Link(session(1)));
        assert_eq!(LoginTransaction::from_cookie(&linking.to_cookie()), Some(linking));
        for broken in ["", "2", "2.a.b.c", "1.AA.1.0.corp.AA", "2.AA.1800000600.0.corp.AA.."] {
            assert_eq!(LoginTransaction::from_cookie(&LoginCookie::new(broken)), None, "{broken}");
        }
    }

    #[test]
    fn whatever_is_changed_in_a_cookie_changes_state_nonce_and_verifier() {
        let texts = |login: &LoginTransaction| {
            [
                login.state(),
                login.nonce().expose().to_owned(),
                login.code_verifier().expose().to_owned(),
            ]
        };
        let genuine = texts(&login());
        let changes: [fn(&mut LoginTransaction); 11] = [
            |l| l.secret[31] = 8,
            |l| l.provider = ProviderId::new("other"),
            |l| l.redirect_uri.push('/'),
            |l| l.names_issuer = false,
            |l| l.expires_at = l.expires_at + Duration::from_secs(1),
            |l| l.requirements.max_age = None,
            |l| l.requirements.max_age = Some(Duration::from_secs(301)),
            |l| l.requirements.acr_values = "silver".to_owned(),
            |l| l.return_to = Some(String::new()),
            |l| l.return_to = Some("https://app.example.com/".to_owned()),
            |l| l.purpose = LoginPurpose::Link(session(1)),
        ];
        for change in changes {
            let mut other = login();
            change(&mut other);
            for (mine, theirs) in texts(&other).iter().zip(&genuine) {
                assert_ne!(mine, theirs);
            }
        }
        let of = |n| texts(&login().with_purpose(LoginPurpose::Link(session(n))));
        assert_ne!(of(1), of(2), "of another session");
    }

    #[test]
    fn case_14_the_verifier_and_its_challenge_are_what_rfc_7636_asks_for() {
        let verifier = login().code_verifier();
        assert_eq!(verifier.expose().len(), 43);
        assert_eq!(login().code_challenge().len(), 43);
        assert!(LoginTransaction::is_state(&login().state()));
        assert_ne!(login().nonce().expose(), verifier.expose());
        let printed = format!("{:?}", login());
        assert!(!printed.contains("secret") && !printed.contains(&login().state()), "{printed}");
    }
}
