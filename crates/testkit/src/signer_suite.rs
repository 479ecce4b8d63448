//! The contract suite of the ports [`TokenSigner`], [`TokenVerifier`] and [`PublicKeys`].

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintgate_domain::PresentedToken;
use mintgate_domain::model::{
    AccessClaims, AccessGrant, ClaimValue, KeyId, ProviderId, RefreshClaims, Role, SessionId,
    Timestamp, UserId,
};
use mintgate_domain::ports::{
    PublicKeys, TokenSigner, TokenVerifier, VerifiedAccess, VerifiedRefresh, VerifyError,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// The private members of a JWK (RFC 7518 §6.2.2, §6.3.2, §6.4; RFC 8037 §2).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The three ports, which one adapter implements together.
pub trait Tokens: TokenSigner + TokenVerifier + PublicKeys {}

impl<T: TokenSigner + TokenVerifier + PublicKeys> Tokens for T {}

/// An asynchronous action on the keys.
pub type Act<'a> = &'a dyn Fn() -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The adapter under test, and what the suite has to be able to do with its keys.
pub struct SignerContract<'a> {
    /// The adapter on the first replica.
    pub tokens: &'a dyn Tokens,
    /// The adapter on another replica, with the same keys.
    pub twin: &'a dyn Tokens,
    /// Rotates the keys of both kinds and lets both replicas notice; `None` if the keys are fixed.
    pub rotate: Option<Act<'a>>,
    /// Whether the access key has a public half, which is published.
    pub asymmetric: bool,
    /// Verifies a token's signature with a JWKS, both given as text, and answers the token's claims.
    /// It MUST be another implementation than the adapter's, and MUST NOT check times.
    pub verify: &'a dyn Fn(&str, &str) -> Result<Value, String>,
}

impl SignerContract<'_> {
    /// Runs every check; panics if the adapter breaks the contract.
    pub async fn check(&self) {
        self.each_kind_of_token_has_its_own_type_and_key();
        self.access_tokens_hold_the_claims_they_were_signed_with();
        self.refresh_tokens_hold_the_claims_they_were_signed_with();
        self.equal_refresh_claims_give_equal_bytes();
        self.an_unknown_refresh_key_is_refused();
        self.case_50_the_key_set_is_public();
        self.access_tokens_verify_with_the_published_keys_alone();
        self.tokens_verify_as_their_own_kind_only().await;
        self.case_40_tampered_tokens_are_refused().await;
        self.replicas_accept_each_others_tokens().await;
        self.a_rotation_invalidates_no_token().await;
    }

    /// Access and refresh tokens differ in `typ` and key, so that neither passes for the other.
    pub fn each_kind_of_token_has_its_own_type_and_key(&self) {
        let access = Parts::of(&self.access(&Sample::new()));
        let refresh = Parts::of(&self.refresh(0));
        for (parts, token_type) in [(&access, "at+jwt"), (&refresh, "rt+jwt")] {
            let names: BTreeSet<&str> = members(&parts.header).map(|(name, _)| name).collect();
            assert_eq!(names, ["alg", "kid", "typ"].into(), "header of {token_type}");
            assert_eq!(parts.header["typ"], token_type);
        }
        assert_ne!(access.header["kid"], refresh.header["kid"]);
        assert_eq!(refresh.header["kid"], self.tokens.refresh_key_id().unwrap().as_str());
        let deterministic = ["HS256", "EdDSA", "RS256"].map(Value::from);
        assert!(deterministic.contains(&refresh.header["alg"]), "{}", refresh.header);
    }

    /// An access token has the claims that it was signed with, and omits absent ones.
    pub fn access_tokens_hold_the_claims_they_were_signed_with(&self) {
        let full = Sample::new();
        let claims = Parts::of(&self.access(&full)).claims;
        for (name, expected) in [
            ("sub", json!("00000000-0000-0000-0000-00000000000a")),
            ("sid", json!("00000000-0000-0000-0000-00000000000b")),
            ("iat", json!(1_700_000_000)),
            ("exp", json!(1_700_003_600)),
            ("roles", json!(["admin", "user"])),
            ("idp", json!("corp")),
            ("auth_time", json!(1_699_999_990)),
            ("epoch", json!(4)),
            ("acr", json!("mfa")),
            ("amr", json!(["pwd", "otp"])),
            ("tenant", json!({"id": 7, "tags": ["a", null, true]})),
        ] {
            assert_eq!(claims[name], expected, "{name}");
        }
        for name in ["iss", "aud", "jti"] {
            assert!(!claims[name].is_null(), "{name} is missing");
        }

        let mut bare = Sample::new();
        bare.grant.acr = None;
        bare.grant.amr.clear();
        bare.grant.extra.clear();
        let bare_claims = Parts::of(&self.access(&bare)).claims;
        for name in ["acr", "amr", "tenant"] {
            assert!(bare_claims.get(name).is_none(), "{name}");
        }

        let mut other = Sample::new();
        other.token_id += 1;
        assert_ne!(Parts::of(&self.access(&other)).claims["jti"], claims["jti"]);

        let mut spoof = Sample::new();
        for name in ["iss", "sub", "aud", "exp", "roles", "sid", "amr"] {
            spoof.grant.extra.insert(name.to_owned(), ClaimValue::Text("spoofed".to_owned()));
        }
        let token = self.access(&spoof);
        assert!(
            !Parts::of(&token).payload.contains("spoofed"),
            "an extra claim overrode one of ours"
        );
        assert_eq!(Parts::of(&token).claims["sub"], claims["sub"]);
    }

    /// A refresh token has the claims that it was signed with, and no others.
    pub fn refresh_tokens_hold_the_claims_they_were_signed_with(&self) {
        let mut claims = Parts::of(&self.refresh(3)).claims;
        assert!(claims["iss"].is_string());
        claims["iss"] = Value::Null;
        let expected = json!({
            "iss": null,
            "sub": "00000000-0000-0000-0000-00000000000a",
            "sid": "00000000-0000-0000-0000-00000000000b",
            "gen": 3,
            "jti": "00000000-0000-0000-0000-00000000000b.3",
            "iat": 1_700_000_000,
            "exp": 1_702_592_000,
        });
        assert_eq!(claims, expected);
    }

    /// Equal claims give the same token; another generation gives another token.
    pub fn equal_refresh_claims_give_equal_bytes(&self) {
        let first = self.refresh(0);
        for _ in 0..5 {
            assert_eq!(self.refresh(0), first);
        }
        assert_ne!(self.refresh(1), first);
    }

    /// A refresh token is signed neither by an unknown key nor by the access key.
    pub fn an_unknown_refresh_key_is_refused(&self) {
        let unknown = KeyId::new("no-such-key");
        let access = KeyId::new(Parts::of(&self.access(&Sample::new())).text("kid"));
        for key_id in [&unknown, &access] {
            let refused = self.tokens.sign_refresh(&refresh_claims(key_id, 0));
            assert!(refused.is_err(), "{key_id} signed a refresh token");
        }
    }

    /// The JWKS holds public members only, and of access keys only; a symmetric key is not published.
    pub fn case_50_the_key_set_is_public(&self) {
        let document = self.tokens.jwks().unwrap();
        let set: Value = parse(&document.json);
        let keys = set["keys"].as_array().expect("a JWKS has an array of keys");
        assert_eq!(keys.is_empty(), !self.asymmetric, "{set}");
        for key in keys {
            for member in PRIVATE_MEMBERS {
                assert!(key.get(member).is_none(), "the JWKS publishes {member}");
            }
            assert_ne!(key["kty"], "oct");
            assert_ne!(key["kid"], self.tokens.refresh_key_id().unwrap().as_str());
            assert_eq!(key["use"], "sig");
            for member in ["kty", "alg", "kid"] {
                assert!(key[member].is_string(), "{member}");
            }
        }
        let etag = &document.etag;
        assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
        assert_eq!(
            *self.tokens.jwks().unwrap(),
            *document,
            "an unchanged set is the same document"
        );
    }

    /// The JWKS suffices to verify access tokens, and no other token passes with it.
    pub fn access_tokens_verify_with_the_published_keys_alone(&self) {
        let jwks = &self.tokens.jwks().unwrap().json;
        let token = self.access(&Sample::new());
        if !self.asymmetric {
            assert!((self.verify)(&token, jwks).is_err(), "nothing is published, yet it verifies");
            return;
        }
        assert_eq!((self.verify)(&token, jwks), Ok(Parts::of(&token).claims));

        let mut tampered = Sample::new();
        tampered.grant.roles = vec![Role::new("superuser")];
        let payload = self.access(&tampered);
        let (genuine, foreign) = (pieces(&token), pieces(&payload));
        let spliced = format!("{}.{}.{}", genuine[0], foreign[1], genuine[2]);
        assert!((self.verify)(&spliced, jwks).is_err(), "a foreign payload verifies");
        assert!((self.verify)(&self.refresh(0), jwks).is_err(), "a refresh token verifies");
    }

    /// A verified token gives the claims that were signed, and each kind verifies as that kind only.
    pub async fn tokens_verify_as_their_own_kind_only(&self) {
        let (access, refresh) = (self.access(&Sample::new()), self.refresh(3));
        assert_eq!(verify_access(self.tokens, &access).await, Ok(verified_access(&access)));
        assert_eq!(verify_refresh(self.tokens, &refresh).await, Ok(verified_refresh(3)));
        let as_refresh = verify_refresh(self.tokens, &access).await;
        assert!(matches!(as_refresh, Err(VerifyError::Refused(_))), "{as_refresh:?}");
        let as_access = verify_access(self.tokens, &refresh).await;
        assert!(matches!(as_access, Err(VerifyError::Refused(_))), "{as_access:?}");

        let mut bare = Sample::new();
        bare.grant.extra.clear();
        bare.grant.acr = None;
        bare.grant.amr.clear();
        let bare = self.access(&bare);
        assert_eq!(verify_access(self.tokens, &bare).await, Ok(verified_access(&bare)));
    }

    /// Only a whole and unchanged token is accepted.
    pub async fn case_40_tampered_tokens_are_refused(&self) {
        let mut other = Sample::new();
        other.grant.roles = vec![Role::new("superuser")];
        let access = [self.access(&Sample::new()), self.access(&other), self.refresh(3)];
        for token in tampered(&access) {
            let result = verify_access(self.tokens, &token).await;
            assert!(matches!(result, Err(VerifyError::Refused(_))), "{token}: {result:?}");
        }
        let refresh = [self.refresh(3), self.refresh(4), self.access(&Sample::new())];
        for token in tampered(&refresh) {
            let result = verify_refresh(self.tokens, &token).await;
            assert!(matches!(result, Err(VerifyError::Refused(_))), "{token}: {result:?}");
        }
        // The genuine tokens are still accepted.
        assert_eq!(verify_access(self.tokens, &access[0]).await, Ok(verified_access(&access[0])));
        assert_eq!(verify_refresh(self.tokens, &refresh[0]).await, Ok(verified_refresh(3)));
    }

    /// Each replica accepts the other's tokens and signs the same refresh tokens.
    pub async fn replicas_accept_each_others_tokens(&self) {
        let (access, refresh) = (self.access(&Sample::new()), self.refresh(3));
        assert_eq!(verify_access(self.twin, &access).await, Ok(verified_access(&access)));
        assert_eq!(verify_refresh(self.twin, &refresh).await, Ok(verified_refresh(3)));
        let key_id = self.tokens.refresh_key_id().unwrap();
        assert_eq!(self.twin.refresh_key_id().unwrap(), key_id);
        assert_eq!(mint(self.twin, &key_id, 3), refresh);
        assert_eq!(self.twin.jwks(), self.tokens.jwks());
    }

    /// After a rotation new tokens have another key. Every replica accepts the old tokens, and signs old
    /// refresh tokens again byte for byte.
    pub async fn a_rotation_invalidates_no_token(&self) {
        let Some(rotate) = self.rotate else { return };
        let key_id = self.tokens.refresh_key_id().unwrap();
        let (access, refresh) = (self.access(&Sample::new()), self.refresh(3));
        let kid = |token: &str| Parts::of(token).text("kid").to_owned();
        rotate().await;

        assert_ne!(self.tokens.refresh_key_id().unwrap(), key_id);
        assert_ne!(kid(&self.access(&Sample::new())), kid(&access));
        assert_ne!(kid(&self.refresh(3)), kid(&refresh));
        for tokens in [self.tokens, self.twin] {
            assert_eq!(mint(tokens, &key_id, 3), refresh);
            assert_eq!(verify_access(tokens, &access).await, Ok(verified_access(&access)));
            assert_eq!(verify_refresh(tokens, &refresh).await, Ok(verified_refresh(3)));
        }
        if self.asymmetric {
            let jwks = &self.tokens.jwks().unwrap().json;
            assert!((self.verify)(&access, jwks).is_ok(), "the former key is not published");
        }
        self.replicas_accept_each_others_tokens().await;
        self.access_tokens_verify_with_the_published_keys_alone();
    }

    fn access(&self, sample: &Sample) -> String {
        let signed = self.tokens.sign_access(&sample.claims());
        signed.expect("an access token is signed").expose().to_owned()
    }

    fn refresh(&self, generation: u64) -> String {
        mint(self.tokens, &self.tokens.refresh_key_id().unwrap(), generation)
    }
}

fn mint(tokens: &dyn Tokens, key_id: &KeyId, generation: u64) -> String {
    let signed = tokens.sign_refresh(&refresh_claims(key_id, generation));
    signed.expect("a refresh token is signed").expose().to_owned()
}

async fn verify_access(tokens: &dyn Tokens, token: &str) -> Result<VerifiedAccess, VerifyError> {
    tokens.verify_access(&PresentedToken::new(token)).await
}

async fn verify_refresh(tokens: &dyn Tokens, token: &str) -> Result<VerifiedRefresh, VerifyError> {
    tokens.verify_refresh(&PresentedToken::new(token)).await
}

/// The verified claims of [`Sample`], in this token.
fn verified_access(token: &str) -> VerifiedAccess {
    let claims = Parts::of(token).claims;
    let audience = match &claims["aud"] {
        Value::Array(several) => several.iter().map(text).collect(),
        one => vec![text(one)],
    };
    VerifiedAccess {
        subject: UserId::from_uuid(Uuid::from_u128(10)),
        session: SessionId::from_uuid(Uuid::from_u128(11)),
        provider: ProviderId::new("corp"),
        roles: vec![Role::new("admin"), Role::new("user")],
        audience,
        client_id: Some(text(&claims["client_id"])),
        token_id: text(&claims["jti"]),
        issued_at: Timestamp::from_unix(1_700_000_000),
        expires_at: Timestamp::from_unix(1_700_003_600),
    }
}

/// The verified claims of [`refresh_claims`].
fn verified_refresh(generation: u64) -> VerifiedRefresh {
    VerifiedRefresh {
        subject: UserId::from_uuid(Uuid::from_u128(10)),
        session: SessionId::from_uuid(Uuid::from_u128(11)),
        generation,
        issued_at: Timestamp::from_unix(1_700_000_000),
        expires_at: Timestamp::from_unix(1_702_592_000),
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// Damaged variants of a token, and mixtures with a token of its kind and one of the other kind.
fn tampered([token, sibling, stranger]: &[String; 3]) -> Vec<String> {
    let [header, payload, signature] = pieces(token);
    let [_, other_payload, other_signature] = pieces(sibling);
    let [strange_header, strange_payload, strange_signature] = pieces(stranger);
    let none = URL_SAFE_NO_PAD.encode(decode(header).replacen("\"alg\":\"", "\"alg\":\"none", 1));
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).expect("base64url without padding");
    flipped[0] ^= 1;
    let flipped = URL_SAFE_NO_PAD.encode(flipped);
    vec![
        String::new(),
        "..".to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{signature}."),
        format!("{header}.{payload}.{signature}A"),
        format!("{header}.{payload}.{signature}="),
        format!(" {header}.{payload}.{signature}"),
        format!("{header}.{payload}.{flipped}"),
        format!("{header}.{payload}.{other_signature}"),
        format!("{header}.{other_payload}.{signature}"),
        format!("{header}.{payload}.{strange_signature}"),
        format!("{header}.{strange_payload}.{strange_signature}"),
        format!("{strange_header}.{payload}.{signature}"),
        format!("{none}.{payload}.{signature}"),
        format!("{none}.{payload}."),
    ]
}

struct Sample {
    provider: ProviderId,
    grant: AccessGrant,
    token_id: u128,
}

impl Sample {
    fn new() -> Self {
        let tags = vec![ClaimValue::Text("a".to_owned()), ClaimValue::Null, ClaimValue::Bool(true)];
        let tenant = BTreeMap::from([
            ("id".to_owned(), ClaimValue::Integer(7)),
            ("tags".to_owned(), ClaimValue::List(tags)),
        ]);
        let grant = AccessGrant {
            roles: vec![Role::new("admin"), Role::new("user")],
            auth_time: Timestamp::from_unix(1_699_999_990),
            acr: Some("mfa".to_owned()),
            amr: vec!["pwd".to_owned(), "otp".to_owned()],
            extra: BTreeMap::from([("tenant".to_owned(), ClaimValue::Object(tenant))]),
        };
        Self { provider: ProviderId::new("corp"), grant, token_id: 12 }
    }

    fn claims(&self) -> AccessClaims<'_> {
        AccessClaims {
            subject: UserId::from_uuid(Uuid::from_u128(10)),
            session: SessionId::from_uuid(Uuid::from_u128(11)),
            token_id: self.token_id,
            provider: &self.provider,
            epoch: 4,
            grant: &self.grant,
            issued_at: Timestamp::from_unix(1_700_000_000),
            expires_at: Timestamp::from_unix(1_700_003_600),
        }
    }
}

fn refresh_claims(key_id: &KeyId, generation: u64) -> RefreshClaims<'_> {
    RefreshClaims {
        subject: UserId::from_uuid(Uuid::from_u128(10)),
        session: SessionId::from_uuid(Uuid::from_u128(11)),
        generation,
        key_id,
        issued_at: Timestamp::from_unix(1_700_000_000),
        expires_at: Timestamp::from_unix(1_702_592_000),
    }
}

/// The parts of a token, which are not verified.
struct Parts {
    header: Value,
    payload: String,
    claims: Value,
}

impl Parts {
    fn of(token: &str) -> Self {
        let [header, payload, signature] = pieces(token);
        assert!(!signature.is_empty(), "the token is not signed");
        let payload = decode(payload);
        Self { header: parse(&decode(header)), claims: parse(&payload), payload }
    }

    fn text(&self, header: &str) -> &str {
        self.header[header].as_str().expect("the header is a text")
    }
}

fn pieces(token: &str) -> [&str; 3] {
    let pieces: Vec<&str> = token.split('.').collect();
    pieces.try_into().expect("a compact JWS has three parts")
}

fn decode(part: &str) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url without padding");
    String::from_utf8(bytes).expect("UTF-8")
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn members(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}
