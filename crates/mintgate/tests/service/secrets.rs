//! What a store, read by a stranger, does not tell.

use crate::common::session::SESSIONS;
use crate::common::{Options, REDIRECT_URI, Store, TestService, Tokens, bare, log, sign_in};
use crate::on_both_stores;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mintgate_mock_idp::{FaultKind, Faults, IdTokenRecipe, SignIn};
use reqwest::StatusCode;
use serde_json::{Value, json};

const ENCRYPTION_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A token, and each part of it that is not the same for everybody.
fn parts(token: &str) -> impl Iterator<Item = String> {
    let all = std::iter::once(token).chain(token.split('.').skip(1));
    all.map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Does a bit of everything; whatever must stay between the service and its clients.
async fn live(service: &TestService) -> Vec<String> {
    let mut secrets = vec!["mintgate-dev-secret".to_owned(), VERIFIER.to_owned()];
    let mut keep = |tokens: &Tokens| {
        secrets.extend(parts(&tokens.access).chain(parts(&tokens.refresh)));
    };
    let code = service.code();
    let first = Tokens::of(service.login(&code).await).await;
    let second = service.refreshed(&first.refresh).await;
    let again = service.refreshed(&first.refresh).await;
    let third = service.refreshed(&second.refresh).await;
    let key = "an-idempotency-key-to-keep";
    let challenged = service.idp().control().issue_code(SignIn {
        nonce: Some("n-0S6_WzA2Mj".to_owned()),
        code_challenge: Some(CHALLENGE.to_owned()),
        ..sign_in("bob")
    });
    let body = json!({
        "authCode": challenged, "provider": "corp", "redirectUri": REDIRECT_URI,
        "codeVerifier": VERIFIER, "nonce": "n-0S6_WzA2Mj", "tokenDelivery": "body",
    });
    let request = service.post(&body).header("idempotency-key", key);
    let by_body = Tokens::of(request.send().await.unwrap()).await;
    let by_body_next =
        Tokens::of(service.refresh_by_body(&by_body.refresh).send().await.unwrap()).await;
    let id_token =
        service.idp().control().issue_id_token(&sign_in("carol"), &IdTokenRecipe::default());
    let request = service.post(&json!({ "idToken": id_token, "provider": "corp" }));
    let by_id_token = Tokens::of(request.send().await.unwrap()).await;
    // A refusal, a reuse, the ends of sessions.
    assert_eq!(service.login("a-wrong-code-to-keep").await.status(), StatusCode::UNAUTHORIZED);
    let reused = service.refresh(&first.refresh).send().await.unwrap();
    assert_eq!(reused.status(), StatusCode::UNAUTHORIZED);
    let gone = service.log_out(&by_id_token.access).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::OK);
    let ended = service.client.delete(service.url(&format!("{SESSIONS}/{}", by_body.sid())));
    let ended = ended.bearer_auth(&by_body.access).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    for tokens in [&first, &second, &again, &third, &by_body, &by_body_next, &by_id_token] {
        keep(tokens);
    }
    secrets.extend(parts(&id_token));
    secrets.extend([code, challenged, key.to_owned(), "a-wrong-code-to-keep".to_owned()]);
    secrets
}

/// The private and symmetric values of the keys in the service's directory.
fn private_values(service: &TestService) -> Vec<String> {
    let mut values = Vec::new();
    for entry in std::fs::read_dir(service.dir().join("keys")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        let Ok(key) = serde_json::from_str::<Value>(&text) else { continue };
        let private =
            ["d", "p", "q", "dp", "dq", "qi", "k"].iter().filter_map(|name| key[name].as_str());
        values.extend(private.map(str::to_owned));
    }
    values
}

fn assert_none(text: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(secret.len() > 8, "too short to look for: {secret}");
        assert!(!text.contains(secret.as_str()), "found: {secret}");
    }
}

/// The files of a SQLite store as they are on the disk; nothing of Postgres.
fn files(service: &TestService) -> String {
    let path = service.sqlite_file();
    ["", "-wal"].iter().fold(String::new(), |text, suffix| {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        text + &String::from_utf8_lossy(&std::fs::read(name).unwrap_or_default())
    })
}

on_both_stores! {
    async fn case_45_a_dump_holds_no_token_code_secret_or_private_key(store: Store) {
        let service = TestService::start_with(store, Options {
            more: "[tokens]\nbody_delivery = true".to_owned(), ..Options::default()
        }).await;
        log::keep();
        let mut secrets = live(&service).await;
        let private = private_values(&service);
        assert!(private.len() >= 2, "the keys are where this looks for them");
        secrets.extend(private);
        let dump = format!("{:?}", service.dump().await);
        for shown in ["corp", "reuse", "logout"] {
            assert!(dump.contains(shown), "the dump shows the sessions:\n{dump}");
        }
        assert_none(&dump, &secrets);
        assert_none(&files(&service), &secrets);
        let log = log::text();
        assert!(log.contains("REFRESH_TOKEN_REUSED"), "the log is kept");
        assert_none(&log, &secrets);
    }

    async fn case_45_keys_that_are_in_the_store_are_there_encrypted(store: Store) {
        let service = TestService::start_with(store, Options {
            more: "[tokens]\nbody_delivery = true".to_owned(),
            keys: format!("encryption_key = \"{ENCRYPTION_KEY}\""),
            ..Options::default()
        }).await;
        let mut secrets = live(&service).await;
        secrets.push(ENCRYPTION_KEY.to_owned());
        let dump = service.dump().await;
        let keys = dump.rows("signing_keys");
        assert!(keys.len() >= 2, "{dump:?}");
        for key in keys {
            // A JWE in compact form (RFC 7516 §3.1), and nothing of a JWK or PEM.
            assert!(key.contains("eyJ") && key.matches('.').count() >= 4, "{key}");
            for clear in ["\"kty\"", "\"d\"", "\"k\"", "PRIVATE"] {
                assert!(!key.contains(clear), "{key}");
            }
        }
        assert_none(&format!("{dump:?}"), &secrets);
        assert_none(&files(&service), &secrets);
        let login = service.post(&bare(&service.code())).send().await.unwrap();
        assert_eq!(login.status(), StatusCode::OK);
    }
}

/// Providers repeat the request that they refuse, to help whoever looks for the mistake.
#[tokio::test]
async fn case_45_what_a_provider_repeats_of_our_credentials_is_not_logged() {
    let service = TestService::start(Store::Sqlite).await;
    log::keep();
    let secret = "mintgate-dev-secret";
    let basic = BASE64_STANDARD.encode(format!("mintgate:{secret}"));
    for (status, error) in [(401, "invalid_client"), (400, "invalid_grant"), (400, "made_up")] {
        let code = service.code();
        let said = format!("you sent Basic {basic} code={code} ({secret})");
        let body = json!({ "error": error, "error_description": said }).to_string();
        let token = Some(FaultKind::Status { status, body }.into());
        service.idp().control().set_faults(Faults { token, ..Faults::default() });
        let answer = service.login(&code).await;
        assert!(!answer.status().is_success());
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        let body = answer.text().await.unwrap();
        let line = log::line(&id).to_string();
        assert!(line.contains("you sent Basic [redacted]"), "{line}");
        let secrets = [basic.replace('=', ""), code.clone(), secret.to_owned()];
        assert_none(&line, &secrets);
        assert_none(&body, &secrets);
    }
}
