//! Providers of OAuth 2.0 alone, GitHub before all, on the wire.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mintgate_domain::model::{ClaimValue, ExternalIdentity, ProviderId, VerifiedIdentity};
use mintgate_domain::ports::{
    AuthorizationEndpoint, CodeGrant, IdentityProvider, ProviderError, ProviderTokens, Renewal,
    TokenSource,
};
use mintgate_domain::{
    AuthorizationCode, CodeVerifier, IdTokenText, LogoutTokenText, Nonce, ProviderAccessToken,
    ProviderRefreshToken, SecretText,
};
use mintgate_identity_openid::{
    ClientAuthentication, Network, OAuth2Config, OAuth2Endpoints, OAuth2Provider, Preset,
    PresetKind,
};
use serde_json::{Value, json};

use crate::fake::{ACCESS_TOKEN, Fake, Reply};
use crate::support::{CLIENT_SECRET, Counted, Random, TestClock, logged};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// GitHub as its preset has it, at the fake.
fn github(fake: &Fake, change: impl FnOnce(&mut OAuth2Config)) -> OAuth2Provider {
    let preset = Preset::find("github").unwrap();
    let PresetKind::OAuth2(user) = preset.kind else { panic!("GitHub has no ID tokens") };
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let addresses = preset.fill(&BTreeMap::new()).addresses;
    let at_fake = |key: &str| {
        addresses[key]
            .replace("https://github.com", &fake.origin)
            .replace("https://api.github.com", &fake.origin)
    };
    let mut config = OAuth2Config {
        id: ProviderId::new("corp"),
        issuer: addresses["issuer"].clone(),
        client_id: "mintgate".to_owned(),
        client_secret: Some(SecretText::new(CLIENT_SECRET)),
        client_authentication: ClientAuthentication::SecretPost,
        token_parameters: Vec::new(),
        endpoints: OAuth2Endpoints {
            authorization: at_fake("authorization_endpoint"),
            token: at_fake("token_endpoint"),
            user: at_fake("user_endpoint"),
            emails: Some(at_fake("emails_endpoint")),
        },
        subject: user.subject.to_owned(),
        claims: owned(user.claims),
        headers: owned(user.headers),
        network: Network {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            ..Network::default()
        },
    };
    change(&mut config);
    let counted = Arc::new(Counted::default());
    OAuth2Provider::new(config, Arc::new(TestClock::default()), Arc::new(Random), counted).unwrap()
}

const TOKEN: &str = "/login/oauth/access_token";

/// A fake on which everything is as it should be.
async fn start() -> Fake {
    let fake = Fake::start().await;
    let token =
        json!({ "access_token": ACCESS_TOKEN, "scope": "user:email", "token_type": "bearer" });
    fake.page(TOKEN, Reply::json(&token));
    fake.page("/user", Reply::json(&user(&json!(583_231))));
    let emails = json!([
        { "email": "old@example.com", "primary": false, "verified": true, "visibility": null },
        { "email": "octocat@example.com", "primary": true, "verified": true, "visibility": "public" },
    ]);
    fake.page("/user/emails", Reply::json(&emails));
    fake
}

fn user(id: &Value) -> Value {
    json!({
        "login": "octocat", "id": id, "avatar_url": "https://example.com/octocat.png",
        "name": "The Octocat", "email": "public@example.com", "email_verified": true,
        "plan": { "name": "free" },
    })
}

async fn redeem(provider: &OAuth2Provider) -> Result<ProviderTokens, ProviderError> {
    let code = AuthorizationCode::new("some-code");
    let verifier = CodeVerifier::new(VERIFIER);
    let redirect_uri = "https://app.example.com/callback?a=b";
    provider.redeem(&CodeGrant { code: &code, redirect_uri, code_verifier: Some(&verifier) }).await
}

async fn sign_in(provider: &OAuth2Provider) -> Result<VerifiedIdentity, ProviderError> {
    let tokens = redeem(provider).await?;
    provider.verify(&tokens, None).await
}

fn text(value: &str) -> ClaimValue {
    ClaimValue::Text(value.to_owned())
}

#[tokio::test]
async fn github_signs_somebody_in() {
    let fake = start().await;
    let identity = sign_in(&github(&fake, |_| {})).await.unwrap();
    assert_eq!(identity.identity.issuer, "https://github.com");
    assert_eq!(identity.identity.subject, "583231");
    assert_eq!(identity.claims.find("preferred_username"), Some(&text("octocat")));
    assert_eq!(identity.claims.find("email"), Some(&text("octocat@example.com")));
    assert_eq!(identity.claims.find("plan.name"), Some(&text("free")));
    assert!(identity.id_token.is_none() && identity.auth_time.is_none());

    let exchange = fake.requests(TOKEN).pop().unwrap();
    assert_eq!(exchange.method, "POST");
    assert_eq!(exchange.header("accept"), Some("application/json"));
    assert_eq!(exchange.header("authorization"), None);
    let form = exchange.form();
    let sent = |name: &str| form.get(name).map(String::as_str);
    assert_eq!(sent("code"), Some("some-code"));
    assert_eq!(sent("code_verifier"), Some(VERIFIER));
    assert_eq!(sent("redirect_uri"), Some("https://app.example.com/callback?a=b"));
    assert_eq!((sent("client_id"), sent("client_secret")), (Some("mintgate"), Some(CLIENT_SECRET)));
    for path in ["/user", "/user/emails"] {
        let request = fake.requests(path).pop().unwrap();
        assert_eq!(request.header("authorization"), Some(&*format!("Bearer {ACCESS_TOKEN}")));
        assert_eq!(request.header("accept"), Some("application/vnd.github+json"));
        assert!(request.header("user-agent").unwrap().starts_with("mintgate/"));
        assert_eq!(request.header("x-github-api-version"), Some("2022-11-28"));
    }
}

#[tokio::test]
async fn case_16_an_error_under_status_200_is_one_and_says_whose_it_is() {
    let fake = start().await;
    let provider = github(&fake, |_| {});
    let error = |code: &str| json!({ "error": code, "error_description": "x", "error_uri": "y" });
    let form = |code: &str| format!("error={code}&error_description=The+code+is+wrong");
    for (code, of_code) in [
        ("bad_verification_code", true),
        ("incorrect_client_credentials", false),
        ("redirect_uri_mismatch", false),
    ] {
        for reply in [
            Reply::json(&error(code)),
            Reply::json(&error(code)).status(400),
            Reply::form(&form(code)),
        ] {
            fake.page(TOKEN, reply);
            let failed = redeem(&provider).await.unwrap_err();
            assert_eq!(matches!(failed, ProviderError::CodeRefused(_)), of_code, "{failed}");
            assert_eq!(matches!(failed, ProviderError::Misbehaved(..)), !of_code, "{failed}");
        }
    }
    assert!(fake.requests("/user").is_empty());
}

#[tokio::test]
async fn an_answer_in_a_form_is_read_as_one() {
    let fake = start().await;
    fake.page(TOKEN, Reply::form(&format!("access_token={ACCESS_TOKEN}&scope=&token_type=bearer")));
    sign_in(&github(&fake, |_| {})).await.unwrap();
    fake.page(TOKEN, Reply::form("access_token=x"));
    redeem(&github(&fake, |_| {})).await.unwrap();
    for answer in ["token_type=bearer", "access_token=x&token_type=mac", "access_token=", ""] {
        fake.page(TOKEN, Reply::form(answer));
        let failed = redeem(&github(&fake, |_| {})).await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{answer}: {failed:?}");
    }
}

#[tokio::test]
async fn an_id_token_that_comes_along_is_not_taken_for_one() {
    let fake = start().await;
    let token = json!({ "access_token": "x", "token_type": "bearer", "id_token": "a.b.c" });
    fake.page(TOKEN, Reply::json(&token));
    assert!(redeem(&github(&fake, |_| {})).await.unwrap().id_token.is_none());
}

#[tokio::test]
async fn nothing_is_believed_that_this_provider_cannot_prove() {
    let fake = start().await;
    let provider = github(&fake, |_| {});
    let access_token = || Some(ProviderAccessToken::new(ACCESS_TOKEN));
    let id_token = || Some(IdTokenText::new("a.b.c"));
    let source = TokenSource::TokenEndpoint { pkce: false };
    let tokens = |id_token, access_token| ProviderTokens {
        source,
        id_token,
        access_token,
        expires_in: None,
        scope: None,
        refresh_token: None,
    };
    let nonce = Nonce::new("n");
    for (name, tokens, nonce) in [
        ("a nonce", tokens(None, access_token()), Some(&nonce)),
        ("an ID token", tokens(id_token(), None), None),
        ("both", tokens(id_token(), access_token()), None),
        ("nothing", tokens(None, None), None),
    ] {
        let refused = provider.verify(&tokens, nonce).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{name}: {refused:?}");
    }
    assert!(fake.requests("/user").is_empty());
}

#[tokio::test]
async fn case_30_an_email_is_the_primary_verified_one_or_none() {
    let fake = start().await;
    let provider = github(&fake, |_| {});
    let entry =
        |primary, verified| json!({ "email": "a@b", "primary": primary, "verified": verified });
    for (reply, expected) in [
        (Reply::json(&json!([entry(true, true)])), Some("a@b")),
        (Reply::json(&json!([entry(true, false), entry(false, true)])), None),
        (Reply::json(&json!([])), None),
        (Reply::json(&json!({ "message": "Not Found" })).status(404), None),
        (Reply::json(&json!({ "message": "Forbidden" })).status(403), None),
    ] {
        fake.page("/user/emails", reply.clone());
        let identity = sign_in(&provider).await.unwrap();
        let email = identity.claims.find("email").and_then(ClaimValue::as_text);
        assert_eq!(email, expected, "{reply:?}");
        assert_eq!(identity.claims.find("email_verified").is_some(), expected.is_some());
    }
    for reply in [
        Reply::json(&json!({ "email": "a@b" })),
        Reply::json(&json!([])).status(500),
        Reply::json(&json!([])).status(401),
    ] {
        fake.page("/user/emails", reply.clone());
        let failed = sign_in(&provider).await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{reply:?}: {failed:?}");
    }
    // Without that endpoint the user endpoint's word counts, if it vouches for the address.
    let provider = github(&fake, |config| config.endpoints.emails = None);
    let identity = sign_in(&provider).await.unwrap();
    assert_eq!(identity.claims.find("email"), Some(&text("public@example.com")));
    let mut unverified = user(&json!(1));
    unverified["email_verified"] = json!("true");
    fake.page("/user", Reply::json(&unverified));
    assert_eq!(sign_in(&provider).await.unwrap().claims.find("email"), None);
}

#[tokio::test]
async fn a_user_endpoint_that_names_nobody_is_the_providers_fault() {
    let fake = start().await;
    let provider = github(&fake, |_| {});
    let named = Reply::json(&user(&json!("7")));
    fake.page("/user", named.clone());
    assert_eq!(sign_in(&provider).await.unwrap().identity.subject, "7");
    for reply in [
        Reply::json(&user(&Value::Null)),
        Reply::json(&user(&json!(1.5))),
        Reply::json(&user(&json!(u64::MAX))),
        Reply::json(&user(&json!(true))),
        Reply::json(&user(&json!([7]))),
        Reply::json(&user(&json!(""))),
        Reply::json(&json!([{ "id": 7 }])),
        Reply::json(&json!({ "message": "Bad credentials" })).status(401),
        Reply::json(&json!({ "message": "Moved", "url": "x" })).status(301),
        named.status(500),
        Reply::form("id=7"),
        Reply::json(&json!({ "id": 7, "x": "y".repeat(300_000) })),
    ] {
        fake.page("/user", reply.clone());
        let failed = sign_in(&provider).await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{reply:.200?}: {failed:?}");
    }
}

#[tokio::test]
async fn a_generic_provider_is_read_by_its_own_paths() {
    let fake = start().await;
    fake.page(
        "/user",
        Reply::json(&json!({ "data": { "user": { "uid": "u-1", "teams": ["a"] } } })),
    );
    let provider = github(&fake, |config| {
        config.issuer = "https://hub.example.com".to_owned();
        config.endpoints.emails = None;
        config.subject = "data.user.uid".to_owned();
        config.claims = vec![("groups".to_owned(), "data.user.teams".to_owned())];
        config.client_authentication = ClientAuthentication::Negotiated;
        config.token_parameters = vec![("audience".to_owned(), "x".to_owned())];
    });
    let identity = sign_in(&provider).await.unwrap();
    assert_eq!(identity.identity.issuer, "https://hub.example.com");
    assert_eq!(identity.identity.subject, "u-1");
    assert_eq!(identity.claims.find("groups"), Some(&ClaimValue::List(vec![text("a")])));
    let exchange = fake.requests(TOKEN).pop().unwrap();
    assert!(exchange.header("authorization").unwrap().starts_with("Basic "));
    let form = exchange.form();
    assert!(!form.contains_key("client_secret") && form["audience"] == "x");
}

#[tokio::test]
async fn a_provider_that_is_gone_was_sent_no_code() {
    let fake = start().await;
    let provider = github(&fake, |config| {
        // Nobody listens on port 1.
        config.endpoints.token = "http://127.0.0.1:1/token".to_owned();
    });
    let failed = redeem(&provider).await;
    assert!(matches!(failed, Err(ProviderError::Unreachable(_))), "{failed:?}");
    let endpoint = provider.authorization_endpoint().await.unwrap();
    let url = format!("{}/login/oauth/authorize", fake.origin);
    assert_eq!(endpoint, AuthorizationEndpoint { url, names_issuer: false, scopes: None });
}

async fn renew(provider: &OAuth2Provider, issuer: &str) -> Result<Renewal, ProviderError> {
    let identity = ExternalIdentity { issuer: issuer.to_owned(), subject: "583231".to_owned() };
    provider.renew(&ProviderRefreshToken::new("ghr_old"), &identity).await
}

const GITHUB: &str = "https://github.com";

/// GitHub's answer to a refresh token of an app whose tokens expire.
fn renewed() -> Reply {
    Reply::json(&json!({
        "access_token": ACCESS_TOKEN, "token_type": "bearer", "refresh_token": "ghr_new",
        "expires_in": 28800, "refresh_token_expires_in": 15_897_600, "scope": "",
    }))
}

#[tokio::test]
async fn somebody_is_asked_about_again_at_the_user_endpoint() {
    let fake = start().await;
    let provider = github(&fake, |_| {});
    for reply in [
        renewed(),
        Reply::form(&format!(
            "access_token={ACCESS_TOKEN}&token_type=bearer&refresh_token=ghr_new"
        )),
    ] {
        fake.page(TOKEN, reply);
        let renewal = renew(&provider, GITHUB).await.unwrap();
        assert_eq!(renewal.refresh_token, Some(ProviderRefreshToken::new("ghr_new")));
        let claims = renewal.claims.unwrap();
        assert_eq!(claims.find("preferred_username"), Some(&text("octocat")));
        assert_eq!(claims.find("email"), Some(&text("octocat@example.com")));
    }
    let form = fake.requests(TOKEN).pop().unwrap().form();
    assert_eq!((&*form["grant_type"], &*form["refresh_token"]), ("refresh_token", "ghr_old"));
    assert_eq!((&*form["client_id"], &*form["client_secret"]), ("mintgate", CLIENT_SECRET));
    let bearer = fake.requests("/user").pop().unwrap();
    assert_eq!(bearer.header("authorization"), Some(&*format!("Bearer {ACCESS_TOKEN}")));

    // The first sign-in gives a refresh token likewise.
    let tokens = redeem(&provider).await.unwrap();
    assert_eq!(tokens.refresh_token, Some(ProviderRefreshToken::new("ghr_new")));
}

#[tokio::test]
async fn only_the_providers_own_word_says_that_somebody_may_not_sign_in_any_more() {
    let fake = start().await;
    let provider = github(&fake, |_| {});
    let error = |code: &str| Reply::json(&json!({ "error": code, "error_description": "ghr_old" }));
    for (reply, refused) in [
        (error("bad_refresh_token"), true),
        (error("invalid_grant").status(400), true),
        (Reply::form("error=bad_refresh_token"), true),
        (error("incorrect_client_credentials"), false),
        (error("unsupported_grant_type"), false),
        (error("something_else"), false),
        (error("bad_refresh_token").status(503), false),
        (Reply::json(&json!({})).status(404), false),
        (Reply::json(&json!({})), false),
    ] {
        fake.page(TOKEN, reply.clone());
        let failed = renew(&provider, GITHUB).await.unwrap_err();
        assert_eq!(matches!(failed, ProviderError::RefreshRefused(_)), refused, "{reply:?}");
        assert_eq!(matches!(failed, ProviderError::Misbehaved(..)), !refused, "{reply:?}");
        assert!(!logged(&failed).contains("ghr_old"), "{failed:?}");
    }
    assert!(fake.requests("/user").is_empty());

    // Without another refresh token, so that nothing is lost with a failure.
    let same = json!({ "access_token": ACCESS_TOKEN, "token_type": "bearer" });
    fake.page(TOKEN, Reply::json(&same));
    for (status, refused) in [(401, true), (403, false), (404, false), (429, false), (500, false)] {
        fake.page("/user", Reply::json(&json!({ "message": "x" })).status(status));
        let failed = renew(&provider, GITHUB).await.unwrap_err();
        assert_eq!(matches!(failed, ProviderError::RefreshRefused(_)), refused, "{status}");
        assert_eq!(matches!(failed, ProviderError::Misbehaved(..)), !refused, "{status}");
    }
}

#[tokio::test]
async fn a_new_refresh_token_is_not_lost_because_the_user_endpoint_fails() {
    let fake = start().await;
    let provider = github(&fake, |config| config.network.timeout = Duration::from_secs(2));
    fake.page(TOKEN, renewed());
    for (path, status) in [("/user", 403), ("/user", 503), ("/user/emails", 500)] {
        let fake_reply = Reply::json(&json!({ "message": "x" })).status(status);
        fake.page(path, fake_reply);
        let renewal = renew(&provider, GITHUB).await.unwrap();
        assert!(renewal.claims.is_none(), "{path} {status}");
        assert_eq!(renewal.refresh_token, Some(ProviderRefreshToken::new("ghr_new")));
        fake.page("/user", Reply::json(&user(&json!(583_231))));
    }
    fake.page("/user", Reply::json(&json!({ "message": "x" })).status(401));
    let refused = renew(&provider, GITHUB).await;
    assert!(matches!(refused, Err(ProviderError::RefreshRefused(_))), "{refused:?}");
}

#[tokio::test]
async fn what_is_said_about_somebody_else_is_refused_and_signs_nobody_out() {
    let fake = start().await;
    let provider = github(&fake, |_| {});
    fake.page(TOKEN, renewed());
    fake.page("/user", Reply::json(&user(&json!(7))));
    let refused = renew(&provider, GITHUB).await;
    assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
    let sent = fake.requests(TOKEN).len();
    for issuer in ["https://hub.example.com", "https://github.com/", ""] {
        let refused = renew(&provider, issuer).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{issuer}");
    }
    assert_eq!(fake.requests(TOKEN).len(), sent, "a token of somebody else's stays here");
}

#[tokio::test]
async fn case_26_without_id_tokens_there_are_no_logout_tokens() {
    let fake = start().await;
    let refused = github(&fake, |_| {}).verify_logout(&LogoutTokenText::new("a.b.c")).await;
    assert!(matches!(refused, Err(ProviderError::LogoutTokenRefused(_))), "{refused:?}");
}
