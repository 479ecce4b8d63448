//! Logins that begin here, and what must not finish them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mintgate_domain::model::{AuthenticationRequirements, LoginTransaction, ProviderId};
use mintgate_domain::ports::ProviderError;
use mintgate_domain::{
    AuthError, CodeVerifier, Credential, IdTokenText, LoginParameter, Nonce, SignInRequest,
    TokenDelivery, TokenHash, TokenRequest,
};
use mintgate_testkit::StoreUnderTest as _;
use url::Url;

use crate::rig::{LOGIN_TTL, Rig, Setup, request, with_code};

/// What an attacker, or an accident, makes of a response; the login is another one of the attacker's.
type Change = fn(&mut SignInRequest, &LoginTransaction);

async fn begin(rig: &Rig, provider: &str) -> LoginTransaction {
    rig.begin.begin(provider, None, &[]).await.expect("a login").transaction
}

/// The response of this login, from the browser that began it.
fn response_to(login: &LoginTransaction, code: &str) -> SignInRequest {
    SignInRequest {
        provider: Some(login.provider.to_string()),
        state: Some(login.state()),
        logins: vec![login.clone()],
        ..with_code(code)
    }
}

fn token_request(sign_in: SignInRequest) -> TokenRequest {
    TokenRequest { sign_in, delivery: TokenDelivery::Body, ..request("", None) }
}

#[tokio::test]
async fn the_authorization_request_says_everything_a_login_needs() {
    let rig = Rig::new();
    let begun = rig.begin.begin("corp", Some("https://app.example.com/corp"), &[]).await.unwrap();
    let login = begun.transaction;
    let url = Url::parse(&begun.authorization_url).unwrap();
    assert!(begun.authorization_url.starts_with("https://idp.example.com/authorize?tenant=1&"));
    let query: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let (state, nonce, challenge) = (login.state(), login.nonce(), login.code_challenge());
    let expected = [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", "mintgate"),
        ("redirect_uri", "https://app.example.com/corp"),
        ("scope", "openid email"),
        ("state", &state),
        ("nonce", nonce.expose()),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("prompt", "select account"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(query, expected);
    assert_eq!(login.expires_at, rig.now() + Duration::from_mins(10));

    let without_id_tokens = rig.begin.begin("hub", None, &[]).await.unwrap();
    assert!(!without_id_tokens.authorization_url.contains("nonce="));
    let another = begin(&rig, "corp").await;
    assert_ne!(another.state(), login.state(), "no two logins are alike");
}

#[tokio::test]
async fn a_scope_that_not_every_provider_knows_is_asked_for_where_it_is_announced() {
    for (announced, parameters) in [(&["openid"][..], 1), (&["openid", "email"], 2)] {
        let rig = Rig::new();
        let announced = announced.iter().map(ToString::to_string).collect();
        *rig.provider.announced.lock().unwrap() = Some(announced);
        let begun = rig.begin.begin("corp", None, &[]).await.unwrap();
        let url = Url::parse(&begun.authorization_url).unwrap();
        let asked = ["openid email", "select account"];
        let asked = url.query_pairs().filter(|(_, value)| asked.contains(&&**value)).count();
        assert_eq!(asked, parameters, "{url}");
    }
}

#[tokio::test]
async fn case_10_11_only_configured_providers_and_redirect_uris_begin_a_login() {
    let rig = Rig::new();
    let refused = async |provider, uri| rig.begin.begin(provider, uri, &[]).await.unwrap_err();
    assert_eq!(refused("CORP", None).await, AuthError::UnknownProvider("CORP".into()));
    for uri in ["https://app.example.com/corp/", "https://app.example.com/other"] {
        assert_eq!(refused("corp", Some(uri)).await, AuthError::RedirectUriNotAllowed(uri.into()));
    }
}

/// Begins a login at `corp` that asks for these parameters.
async fn asking(
    rig: &Rig,
    asked: &[(LoginParameter, &str)],
) -> Result<mintgate_domain::BegunLogin, Vec<String>> {
    let asked: Vec<_> = asked.iter().map(|(one, value)| (*one, (*value).to_owned())).collect();
    rig.begin.begin("corp", None, &asked).await.map_err(|error| match error {
        AuthError::InvalidRequest(fields) => {
            fields.into_iter().map(|error| error.field.to_owned()).collect()
        }
        other => panic!("{other}"),
    })
}

#[tokio::test]
async fn a_login_asks_for_what_the_client_may_choose() {
    use LoginParameter::{AcrValues, DomainHint, LoginHint, MaxAge, Prompt, UiLocales};
    let rig = Rig::new();
    let begun = asking(
        &rig,
        &[
            (LoginHint, "ada@example.com"),
            (Prompt, "login account"),
            (UiLocales, "de fr-CA"),
            (MaxAge, "60"),
        ],
    );
    let url = Url::parse(&begun.await.unwrap().authorization_url).unwrap();
    let value = |name: &str| {
        let mut found = url.query_pairs().filter(|(other, _)| other == name);
        let value = found.next().map(|(_, value)| value.into_owned());
        assert!(found.next().is_none(), "{name} occurs once");
        value
    };
    for (name, expected) in [
        ("loginHint", Some("ada@example.com")),
        ("prompt", Some("select account login")),
        ("uiLocales", Some("de fr-CA")),
        ("maxAge", Some("60")),
        ("acrValues", None),
        ("domainHint", None),
    ] {
        assert_eq!(value(name).as_deref(), expected, "{name}");
    }
    assert_eq!(asking(&rig, &[(Prompt, "none")]).await.unwrap_err(), ["prompt"], "it stands alone");
    assert_eq!(asking(&rig, &[(MaxAge, "soon")]).await.unwrap_err(), ["maxAge"]);
    let asked = [(AcrValues, "gold".to_owned()), (DomainHint, "example.com".to_owned())];
    let refused = rig.begin.begin("hub", None, &asked).await.unwrap_err();
    let AuthError::InvalidRequest(fields) = refused else { panic!("{refused}") };
    let fields: Vec<_> = fields.iter().map(|error| error.field).collect();
    assert_eq!(fields, ["acrValues", "domainHint"], "not allowed at this provider");
}

#[tokio::test]
async fn what_a_login_asks_of_the_authentication_is_enforced() {
    use LoginParameter::{AcrValues, MaxAge};
    let rig = Rig::new();
    let now = rig.now();
    let ago = |secs| Some(now - Duration::from_secs(secs));
    let acr = |text: &str| Some(text.to_owned());
    let (aged, classed) = ([(MaxAge, "300")], [(AcrValues, "gold silver")]);
    let cases = [
        (&aged[..], (ago(0), None), true),
        (&aged, (ago(360), None), true),
        (&aged, (ago(361), None), false),
        (&aged, (None, None), false),
        (&classed, (None, acr("silver")), true),
        (&classed, (None, acr("gold")), true),
        (&classed, (None, acr("gold silver")), false),
        (&classed, (None, acr("bronze")), false),
        (&classed, (None, acr("")), false),
        (&classed, (None, None), false),
        (&[], (None, None), true),
    ];
    for (i, (asked, authenticated, accepted)) in cases.into_iter().enumerate() {
        let login = asking(&rig, asked).await.unwrap().transaction;
        *rig.provider.authenticated.lock().unwrap() = authenticated;
        let before = rig.store.dump().await;
        let response = response_to(&login, &format!("ada-{i}"));
        let issued = rig.issue.issue(&token_request(response)).await;
        let code = issued.as_ref().err().map(|error| error.code().as_str());
        assert_eq!(code, (!accepted).then_some("INVALID_ID_TOKEN"), "case {i}");
        assert_eq!(rig.store.dump().await == before, !accepted, "case {i}");
    }
}

#[tokio::test]
async fn a_client_cannot_choose_how_long_its_login_lasts() {
    let rig = Rig::new();
    let latest = rig.now() + LOGIN_TTL + Duration::from_mins(10);
    for (expires_at, accepted) in [(latest, true), (latest + Duration::from_secs(1), false)] {
        // Whoever has the secret of a login can make one of any expiry, with the state that fits.
        let mut login = begin(&rig, "corp").await;
        login.expires_at = expires_at;
        let issued = rig.issue.issue(&token_request(response_to(&login, "ada"))).await;
        let code = issued.as_ref().err().map(|error| error.code().as_str());
        assert_eq!(code, (!accepted).then_some("INVALID_STATE"));
    }
}

#[tokio::test]
async fn a_login_is_finished_with_its_state_alone() {
    let rig = Rig::new();
    let login = begin(&rig, "corp").await;
    let mut response = response_to(&login, "ada");
    response.provider = None;
    rig.issue.issue(&token_request(response)).await.expect("a session");
    let brought = rig.provider.brought.lock().unwrap().clone();
    assert_eq!(brought.0.as_deref(), Some(login.code_verifier().expose()));
    assert_eq!(brought.1.as_deref(), Some(login.nonce().expose()));
}

#[tokio::test]
async fn what_the_client_brings_besides_does_not_weaken_a_login() {
    let rig = Rig::new();
    let login = begin(&rig, "corp").await;
    let mut response = response_to(&login, "ada");
    response.code_verifier = Some(CodeVerifier::new("v".repeat(43)));
    response.nonce = Some(Nonce::new("another"));
    rig.issue.issue(&token_request(response)).await.expect("a session");
    let brought = rig.provider.brought.lock().unwrap().clone();
    assert_eq!(brought.0.as_deref(), Some(login.code_verifier().expose()));
    assert_eq!(brought.1.as_deref(), Some(login.nonce().expose()));
}

#[tokio::test]
async fn a_provider_without_id_tokens_is_not_held_to_a_nonce() {
    let rig = Rig::new();
    let login = begin(&rig, "hub").await;
    rig.issue.issue(&token_request(response_to(&login, "ada"))).await.expect("a session");
    let brought = rig.provider.brought.lock().unwrap().clone();
    assert_eq!(brought.0.as_deref(), Some(login.code_verifier().expose()));
    assert_eq!(brought.1, None);
}

#[tokio::test]
async fn case_18_what_is_not_the_response_of_this_browsers_login_is_refused_unasked() {
    let rig = Rig::new();
    let login = begin(&rig, "corp").await;
    let elsewhere = begin(&rig, "corp").await;
    let cases: [(&str, Change); 8] = [
        ("another browser's", |r, _| r.logins.clear()),
        ("an unknown state", |r, _| r.state = Some("mg.unknown".to_owned())),
        ("another login's state", |r, other| r.state = Some(other.state())),
        ("no state", |r, _| r.state = None),
        ("a state not from here", |r, _| r.state = Some("x".to_owned())),
        ("begun with another provider", |r, _| r.provider = Some("other".to_owned())),
        ("another issuer", |r, _| r.issuer = Some("https://evil.test".to_owned())),
        ("a changed redirect URI", |r, _| r.logins[0].redirect_uri.push('x')),
    ];
    for (name, change) in cases {
        let mut response = response_to(&login, name);
        change(&mut response, &elsewhere);
        let before = rig.store.dump().await;
        let refusal = rig.issue.issue(&token_request(response)).await.unwrap_err();
        assert_eq!(refusal.code().as_str(), "INVALID_STATE", "{name}: {refusal}");
        assert_eq!(rig.store.dump().await, before, "{name}");
    }
    let mut no_provider = response_to(&login, "no-provider");
    no_provider.provider = None;
    no_provider.logins.clear();
    let refusal = rig.issue.issue(&token_request(no_provider)).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "INVALID_STATE");
    assert_eq!(rig.provider.asked.load(Ordering::SeqCst), 0, "no provider was asked");
    rig.issue.issue(&token_request(response_to(&login, "ada"))).await.expect("the genuine one");
}

#[tokio::test]
async fn case_18_a_login_with_a_provider_that_names_its_issuer_needs_that_name() {
    let rig = Rig::new();
    rig.provider.names_issuer.store(true, Ordering::SeqCst);
    let login = begin(&rig, "corp").await;
    let without = response_to(&login, "ada");
    let refusal = rig.issue.issue(&token_request(without)).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "INVALID_STATE");
    assert_eq!(rig.provider.asked.load(Ordering::SeqCst), 0);
    let mut with = response_to(&login, "ada");
    with.issuer = Some("https://corp.example.com".to_owned());
    rig.issue.issue(&token_request(with)).await.expect("a session");
}

#[tokio::test]
async fn a_login_waits_for_its_person_no_longer_than_it_says() {
    let rig = Rig::new();
    let login = begin(&rig, "corp").await;
    rig.clock.advance(Duration::from_secs(599));
    let response = response_to(&login, "ada-1");
    rig.issue.issue(&token_request(response)).await.expect("in time");
    let late = begin(&rig, "corp").await;
    rig.clock.advance(Duration::from_mins(10));
    let refusal = rig.issue.issue(&token_request(response_to(&late, "ada-2"))).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "INVALID_STATE");
}

#[tokio::test]
async fn a_login_is_finished_once_however_many_codes_there_are() {
    let rig = Rig::new();
    let login = begin(&rig, "corp").await;
    rig.issue.issue(&token_request(response_to(&login, "ada-1"))).await.expect("a session");
    let before = rig.store.dump().await;
    let again = rig.issue.issue(&token_request(response_to(&login, "ada-2"))).await.unwrap_err();
    assert_eq!(again.code().as_str(), "INVALID_STATE");
    assert_eq!(rig.store.dump().await, before);
}

#[tokio::test]
async fn a_login_under_way_does_not_get_in_the_way_of_what_is_protected_otherwise() {
    let rig = Rig::new();
    let login = begin(&rig, "corp").await;
    let own_pkce = SignInRequest {
        code_verifier: Some(CodeVerifier::new("v".repeat(43))),
        logins: vec![login.clone()],
        ..with_code("ada")
    };
    rig.issue.issue(&token_request(own_pkce)).await.expect("the client's own PKCE");
    let id_token = SignInRequest {
        credential: Credential::IdToken(IdTokenText::new("t")),
        logins: vec![login.clone()],
        ..with_code("")
    };
    rig.issue.issue(&token_request(id_token)).await.expect("a posted ID token");
    let at_other = SignInRequest {
        provider: Some("other".to_owned()),
        redirect_uri: Some("https://app.example.com/second".to_owned()),
        logins: vec![login],
        ..with_code("bob")
    };
    rig.issue.issue(&token_request(at_other)).await.expect("another provider");
}

#[tokio::test]
async fn an_abandoned_login_is_in_nobodys_way_once_it_has_run_out() {
    let rig = Rig::new();
    let login = begin(&rig, "corp").await;
    let bare = || SignInRequest { logins: vec![login.clone()], ..with_code("ada") };
    let refusal = rig.issue.issue(&token_request(bare())).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "INVALID_STATE");
    rig.clock.advance(Duration::from_mins(10));
    rig.issue.issue(&token_request(bare())).await.expect("a bare code");
}

#[tokio::test]
async fn case_18_a_login_keeps_to_its_redirect_uri() {
    let rig = Rig::new();
    let [first, second] = ["other", "second"].map(|path| format!("https://app.example.com/{path}"));
    let unnamed = rig.begin.begin("other", None, &[]).await.unwrap_err();
    assert_eq!(unnamed.code().as_str(), "INVALID_REQUEST", "it has two");
    let login = rig.begin.begin("other", Some(&first), &[]).await.unwrap().transaction;
    let mut moved = response_to(&login, "ada");
    moved.redirect_uri = Some(second);
    let refusal = rig.issue.issue(&token_request(moved)).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "INVALID_STATE");
    let mut named = response_to(&login, "ada");
    named.redirect_uri = Some(first);
    rig.issue.issue(&token_request(named)).await.expect("the one it was begun with");

    let uri = "https://app.example.com/removed".to_owned();
    let expires_at = rig.now() + Duration::from_mins(1);
    let removed = LoginTransaction::begin(
        [1; 32],
        ProviderId::new("corp"),
        uri,
        false,
        expires_at,
        AuthenticationRequirements::default(),
    );
    let refusal = rig.issue.issue(&token_request(response_to(&removed, "ada"))).await.unwrap_err();
    assert_eq!(
        refusal.code().as_str(),
        "REDIRECT_URI_NOT_ALLOWED",
        "the configuration has changed"
    );
    assert_eq!(rig.provider.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn case_14_a_login_has_what_a_strict_provider_requires() {
    let rig = Rig::set_up(Setup { is_strict: true, ..Setup::default() });
    let bare = rig.issue.issue(&token_request(with_code("ada"))).await.unwrap_err();
    assert_eq!(bare.code().as_str(), "INVALID_REQUEST");
    let login = begin(&rig, "corp").await;
    rig.issue.issue(&token_request(response_to(&login, "ada"))).await.expect("a session");
}

#[tokio::test]
async fn case_25_a_login_begun_here_does_not_end_in_an_id_token() {
    let rig = Rig::new();
    let login = begin(&rig, "corp").await;
    let mut response = response_to(&login, "");
    response.credential = Credential::IdToken(IdTokenText::new("t"));
    let refusal = rig.issue.issue(&token_request(response)).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "INVALID_REQUEST");
}

#[tokio::test]
async fn a_code_that_is_spent_is_never_said_to_be_unsent() {
    let rig = Rig::new();
    let unreachable = ProviderError::Unreachable("the user endpoint".into());
    *rig.provider.verification_fails.lock().unwrap() = Some(unreachable.clone());
    let refusal = rig.issue.issue(&token_request(with_code("ada"))).await.unwrap_err();
    assert_eq!(refusal.code().as_str(), "PROVIDER_TIMEOUT");
    let id_token =
        SignInRequest { credential: Credential::IdToken(IdTokenText::new("t")), ..with_code("") };
    let refusal = rig.issue.issue(&token_request(id_token)).await.unwrap_err();
    assert_eq!(refusal, AuthError::Provider(unreachable), "it can be posted again");
}

#[tokio::test]
async fn an_answer_that_was_lost_can_be_asked_for_again_by_the_browser_that_began_the_login() {
    let rig = Rig::new();
    let login = begin(&rig, "corp").await;
    let with_key = |sign_in| TokenRequest { sign_in, ..request("", Some(("key", "body"))) };
    let first = rig.issue.issue(&with_key(response_to(&login, "ada"))).await.unwrap();
    let mut elsewhere = response_to(&login, "ada");
    elsewhere.logins.clear();
    let refusal = rig.issue.issue(&with_key(elsewhere)).await.unwrap_err();
    assert_eq!(
        refusal.code().as_str(),
        "INVALID_STATE",
        "who has the URL and the key has not the browser"
    );
    let again = rig.issue.issue(&with_key(response_to(&login, "ada"))).await.expect("the session");
    assert_eq!(TokenHash::of(again.refresh.expose()), TokenHash::of(first.refresh.expose()));
}
