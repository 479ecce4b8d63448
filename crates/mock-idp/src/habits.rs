//! Habits of real providers that differ from the standards or from what most providers do. None of them
//! is a fault that a relying party must refuse.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::IdTokenAlg;
use crate::keys::{Role, SigningKey};

/// Declares the habits, each with the public report that it was seen in.
macro_rules! habits {
    ($($(#[doc = $doc:literal])* $name:ident: $source:literal,)*) => {
        /// A habit of a real provider.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Habit {
            $($(#[doc = $doc])* #[doc = ""] #[doc = concat!("Seen in ", $source, ".")] $name,)*
        }

        impl Habit {
            /// Every habit.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The public report that the habit was seen in.
            pub fn source(self) -> &'static str {
                match self {
                    $(Self::$name => $source,)*
                }
            }
        }
    };
}

habits! {
    /// The discovery document has the issuer and the endpoints alone.
    BareDiscovery: "AppAuth-Android#919",
    /// Members of the discovery document that a login does not need are of the wrong type, empty or no
    /// URLs.
    OddDiscovery: "openidconnect-rs#71 and oxAuth#1823",
    /// Every JSON document is `text/plain`.
    PlainText: "n8n#33018",
    /// A token answer is a form.
    FormAnswer: "the documentation of GitHub, Authorizing OAuth apps",
    /// A token answer has no `token_type`.
    NoTokenType: "openid-client#826 (LinkedIn)",
    /// A token answer has no `access_token`.
    NoAccessToken: "logto#7457 and msal-java#140",
    /// Members without a value are null, in token answers, tokens, userinfo and the discovery document.
    NullMembers: "the documentation of Jackson, JsonInclude.Include.ALWAYS",
    /// ID tokens never have a nonce.
    NoNonce: "next-auth#8831, authlib#763 and directus#23645",
    /// The JWKS is served as `application/jwk-set+json` alone; other requests get 406.
    RegisteredJwksType: "openidconnect-rs#238 and jwks-rsa-java#77",
    /// Neither keys nor tokens have a key id.
    NoKeyIds: "quack-oauth#15",
    /// Every key has the same key id, also after a rotation.
    OneKeyId: "OidcProxy.Net#242",
    /// Each key is published twice.
    KeysTwice: "openid-client#166",
    /// Another key is published under the key id of the one that signs, before it.
    SharedKeyId: "jwcrypto#268 and oxd#555",
    /// Logout tokens have no `exp`.
    LogoutWithoutExp: "keycloak#25753 (Keycloak up to 23.0.3)",
    /// `auth_time` is a text in the format of ISO 8601.
    TextAuthTime: "panva/jose#73 and strimzi#2738 (AD FS)",
    /// The header of tokens has parameters that a relying party does not use: `jku`, `x5u`, `x5c` and
    /// others.
    HeaderParameters: "the SAP security library, pull request 97",
    /// Userinfo is a signed JWT (OIDC Core §5.3.2).
    SignedUserinfo: "oic-auth-plugin#162 and open-liberty#17072",
    /// `email_verified` is the text `true` or `false`.
    TextEmailVerified: "hasura-auth#599 and better-auth#2730",
    /// Tokens are for another audience too, and `azp` names the client.
    ProjectAudience: "zitadel#9200",
    /// `azp` names an app of the same project, and `aud` the client alone.
    OtherParty: "zitadel/oidc#405 (Google)",
    /// Session ids have 304 bytes.
    LongSid: "idpyoidc 5.0",
    /// The scope `offline_access` is not known, and a request for it is refused.
    NoOfflineScope: "django-oauth-toolkit 3.4",
    /// The scope `offline_access` is granted only to a request with `prompt=consent` (OIDC Core §11).
    ConsentForOffline: "pyop 3.5 and idpyoidc 5.0",
}

/// The other audience of [`Habit::ProjectAudience`].
pub(crate) const PROJECT: &str = "384775745420918788";
/// The app of [`Habit::OtherParty`].
pub(crate) const APP: &str = "android.apps.example";
const KEY_ID: &str = "1";

/// The habits of a mock.
#[derive(Clone, Copy)]
pub(crate) struct Habits<'a>(pub &'a [Habit]);

impl Habits<'_> {
    pub(crate) fn has(self, habit: Habit) -> bool {
        self.0.contains(&habit)
    }

    pub(crate) fn document(self, document: &mut Map<String, Value>) {
        if self.has(Habit::BareDiscovery) {
            const ENDPOINTS: [&str; 4] =
                ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"];
            document.retain(|name, _| ENDPOINTS.contains(&name.as_str()));
        }
        if self.has(Habit::OddDiscovery) {
            for (name, value) in [
                ("service_documentation", json!("TBD")),
                ("op_policy_uri", json!("")),
                ("op_tos_uri", json!({})),
                ("userinfo_endpoint", json!("")),
                ("end_session_endpoint", json!("")),
                ("registration_endpoint", json!("not a URL")),
                ("response_types_supported", json!("code")),
                ("subject_types_supported", json!(null)),
                ("id_token_signing_alg_values_supported", json!([["RS256"], 7, null])),
                ("claims_parameter_supported", json!("yes")),
                ("claims_supported", json!({ "sub": true })),
                ("mtls_endpoint_aliases", json!([])),
            ] {
                document.insert(name.into(), value);
            }
        }
        if self.has(Habit::NoOfflineScope) {
            document.insert("scopes_supported".into(), json!(["openid", "profile", "email"]));
        }
        self.add_nulls(
            document,
            &["registration_endpoint", "end_session_endpoint", "op_policy_uri"],
        );
    }

    pub(crate) fn keys(self, keys: &mut Vec<Value>, alg: IdTokenAlg) {
        for key in keys.iter_mut().filter_map(Value::as_object_mut) {
            if self.has(Habit::NoKeyIds) {
                key.remove("kid");
            }
            if self.has(Habit::OneKeyId) {
                key.insert("kid".into(), KEY_ID.into());
            }
            self.add_nulls(key, &["x5c", "x5t", "key_ops"]);
        }
        if self.has(Habit::KeysTwice) {
            keys.extend(keys.clone());
        }
        if self.has(Habit::SharedKeyId) {
            let mut other = SigningKey::shared(alg, Role::Retired).public_jwk.clone();
            other.insert("kid".into(), keys.first().map_or(Value::Null, |key| key["kid"].clone()));
            keys.insert(0, other.into());
        }
    }

    pub(crate) fn tokens(self, tokens: &mut Map<String, Value>) {
        if self.has(Habit::NoTokenType) {
            tokens.remove("token_type");
        }
        if self.has(Habit::NoAccessToken) {
            tokens.remove("access_token");
        }
        self.add_nulls(tokens, &["refresh_token", "error", "error_description", "scope"]);
    }

    /// Changes the claims of ID tokens, and those that logout tokens share with them.
    pub(crate) fn claims(self, claims: &mut Map<String, Value>) {
        if self.has(Habit::NoNonce) {
            claims.remove("nonce");
        }
        if self.has(Habit::TextAuthTime) && claims.contains_key("auth_time") {
            claims.insert("auth_time".into(), "2020-03-14T18:52:01.180Z".into());
        }
        if self.has(Habit::ProjectAudience) {
            let client = claims.get("aud").cloned().unwrap_or_default();
            claims.insert("azp".into(), client.clone());
            claims.insert("aud".into(), json!([client, PROJECT]));
        }
        if self.has(Habit::OtherParty) {
            claims.insert("azp".into(), APP.into());
        }
        if self.has(Habit::LongSid)
            && let Some(Value::String(sid)) = claims.get_mut("sid")
        {
            let digest = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&*sid));
            digest.repeat(8)[..304].clone_into(sid);
        }
        self.user(claims);
        self.add_nulls(claims, &["azp", "acr", "auth_time", "nbf", "sid", "c_hash"]);
    }

    /// Changes the claims that ID tokens and userinfo share.
    pub(crate) fn user(self, claims: &mut Map<String, Value>) {
        if self.has(Habit::TextEmailVerified)
            && let Some(Value::Bool(verified)) = claims.get("email_verified")
        {
            claims.insert("email_verified".into(), verified.to_string().into());
        }
        self.add_nulls(claims, &["middle_name", "zoneinfo"]);
    }

    pub(crate) fn header(self, header: &mut Map<String, Value>) {
        if self.has(Habit::NoKeyIds) {
            header.remove("kid");
        }
        if self.has(Habit::OneKeyId) {
            header.insert("kid".into(), KEY_ID.into());
        }
        if self.has(Habit::HeaderParameters) {
            for (name, value) in [
                ("jku", json!("https://attacker.example.com/jwks")),
                ("x5u", json!("https://attacker.example.com/x5u")),
                ("x5c", json!(["MIIB"])),
                ("x5t", json!("dGh1bWJwcmludA")),
                ("jid", json!("1")),
                ("nonce", json!("header-nonce")),
            ] {
                header.insert(name.into(), value);
            }
        }
    }

    /// Changes the media type of an answer.
    pub(crate) fn media_type(self, mut answer: HttpResponse) -> HttpResponse {
        if self.has(Habit::PlainText) {
            let plain = HeaderValue::from_static("text/plain;charset=UTF-8");
            answer.headers_mut().insert(CONTENT_TYPE, plain);
        }
        answer
    }

    fn add_nulls(self, object: &mut Map<String, Value>, names: &[&str]) {
        if self.has(Habit::NullMembers) {
            for name in names {
                object.entry(*name).or_insert(Value::Null);
            }
        }
    }
}
