//! AD FS 2016 and later.
//!
//! - "[MS-OIDCE] OpenID Provider Metadata"
//!   <https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-oidce/586de7dd-3385-47c7-93a2-935d9e90441c>:
//!   `access_token_issuer` beside `issuer`; it is `http://HOST/adfs/services/trust`, see
//!   <https://github.com/MicrosoftDocs/windowsserverdocs/issues/551>.
//! - "AD FS OpenID Connect/OAuth flows and application scenarios"
//!   <https://learn.microsoft.com/en-us/windows-server/identity/ad-fs/overview/ad-fs-openid-connect-oauth-flows-scenarios>:
//!   the addresses, `resource` with `urn:microsoft:userinfo` as its default, `upn`, all response
//!   modes, refresh tokens that stay good after their use, `private_key_jwt`.
//! - "AD FS Frequently Asked Questions"
//!   <https://learn.microsoft.com/en-us/windows-server/identity/ad-fs/overview/ad-fs-faq>: userinfo
//!   says `sub` and nothing else. With a token for another resource it says MSIS9921, see
//!   <https://github.com/omniauth/omniauth_openid_connect/issues/148>.
//! - MSIS9612: <https://github.com/grafana/grafana/issues/17672>; MSIS9622, under HTTP 400:
//!   <https://github.com/AzureAD/microsoft-authentication-library-for-js/issues/6915>; MSIS9615:
//!   <https://github.com/AzureAD/azure-activedirectory-library-for-dotnet/issues/669>.
//!
//! A claim with one value is a string in its tokens, and an array with several: so are groups.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::plain::PLAIN;
use super::{Refresh, RefreshWhen, Reuse, Subject, Traits};
use crate::ClientAuth::{ClientSecretBasic, ClientSecretPost, None as Public, PrivateKeyJwt};
use crate::Refusal;
use crate::shared::Shared;

const USERINFO: &str = "urn:microsoft:userinfo";

pub(super) static TRAITS: Traits = Traits {
    name: "adfs",
    issuer_path: "/adfs",
    jwks: Some("~/discovery/keys"),
    authorize: "~/oauth2/authorize/",
    token: "~/oauth2/token/",
    document: |shared, _| {
        json!({
            "access_token_issuer": access_token_issuer(shared),
            "capabilities": ["kdf_ver2"],
            "microsoft_multi_refresh_token": true,
        })
    },
    scopes: &["openid", "profile", "email", "allatclaims", "user_impersonation"],
    response_modes: &["query", "fragment", "form_post"],
    iss_parameter: false,
    client_auth: &[ClientSecretPost, ClientSecretBasic, PrivateKeyJwt, Public],
    refresh: Refresh { when: RefreshWhen::Always, reuse: Reuse::Keep },
    errors: &[
        (
            Refusal::Client,
            400,
            "invalid_client",
            "MSIS9622: Client authentication failed. Please verify the credential provided for \
             client authentication is valid.",
        ),
        (
            Refusal::Code,
            400,
            "invalid_grant",
            "MSIS9612: The authorization code received in 'code' parameter is invalid. ",
        ),
        (
            Refusal::RefreshToken,
            400,
            "invalid_grant",
            "MSIS9615: The refresh token received in 'refresh_token' parameter is invalid. ",
        ),
    ],
    id_token: |subject| {
        let user = subject.user;
        json!({
            "sub": pairwise(subject),
            "upn": user.email,
            "unique_name": format!("CORP\\{}", user.username),
            "email_verified": null, "preferred_username": null, "name": null,
            "amr": null, "acr": null,
            "groups": groups(subject),
            "ver": "1.0",
            "apptype": "Confidential",
        })
    },
    access_token: |subject| {
        let resource = subject.sign_in.resource.as_deref().unwrap_or(USERINFO);
        json!({
            "iss": access_token_issuer(subject.shared),
            "aud": resource,
            "sub": pairwise(subject),
            "upn": subject.user.email,
            "groups": groups(subject),
            "appid": subject.sign_in.client_id,
            "client_id": null,
        })
    },
    user: |subject| {
        json!({
            "sub": pairwise(subject),
            "name": null, "preferred_username": null, "email": null, "email_verified": null,
            "groups": null,
        })
    },
    userinfo_resource: Some(USERINFO),
    backchannel_logout: false,
    ..PLAIN
};

fn access_token_issuer(shared: &Shared) -> String {
    let host = shared.origin.split_once("://").map_or("", |(_, host)| host);
    format!("http://{host}/adfs/services/trust")
}

/// The subject: another one for each client (OIDC Core §8.1).
fn pairwise(subject: &Subject<'_>) -> String {
    let text = format!("{} {}", subject.sign_in.client_id, subject.user.sub);
    BASE64_STANDARD.encode(Sha256::digest(text))
}

fn groups(subject: &Subject<'_>) -> Value {
    match subject.user.groups.as_slice() {
        [] => Value::Null,
        [one] => json!(one),
        several => json!(several),
    }
}
