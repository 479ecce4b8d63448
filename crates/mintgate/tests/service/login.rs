//! A login that succeeds: what the client gets, to the letter.

use crate::common::{Options, REDIRECT_URI, Store, TestService, bare, claims, header, sign_in};
use crate::on_both_stores;
use mintgate_testkit::ResourceServer;
use reqwest::StatusCode;
use serde_json::{Value, json};

on_both_stores! {
    /// The specification's example request gives the specification's answer.
    async fn the_bare_request_gives_the_documented_answer_and_cookies(store: Store) {
        let service = TestService::start(store).await;
        let answer = service.login(&service.code()).await;

        assert_eq!(answer.status(), StatusCode::OK);
        let headers = answer.headers().clone();
        let body: Value = answer.json().await.unwrap();
        let access = body["accessToken"].as_str().unwrap();
        assert_eq!(
            body,
            json!({
                "message": "Tokens generated successfully.",
                "accessToken": access,
                "expiresIn": 3600,
                "tokenType": "Bearer",
            })
        );
        let cookies: Vec<_> =
            headers.get_all("set-cookie").iter().map(|c| c.to_str().unwrap()).collect();
        assert_eq!(cookies.len(), 2);
        let refresh = cookies[1]
            .strip_prefix("Auth-Refresh-Token=").unwrap().split(';').next().unwrap();
        assert_eq!(
            cookies,
            [
                format!("Auth-Access-Token={access}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=3600"),
                format!("Auth-Refresh-Token={refresh}; Path=/api/v1/auth/refresh; HttpOnly; Secure; SameSite=Lax; Max-Age=2592000"),
            ]
        );
        let mut names: Vec<_> = headers.keys().map(reqwest::header::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "cache-control", "content-length", "content-type", "date", "set-cookie", "vary",
                "x-content-type-options", "x-request-id",
            ]
        );
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["content-type"], "application/json");
    }

    async fn the_access_token_says_who_and_what_and_the_refresh_token_is_no_access_token(store: Store) {
        let service = TestService::start_with(store, Options {
            more: "[tokens]\naudience = [\"https://api.example.com\"]\n[tokens.extra_claims]\nname = \"name\"\nmail = \"email\"".to_owned(),
            ..Options::default()
        }).await;
        let answer = service.login(&service.code()).await;
        let refresh = answer.headers().get_all("set-cookie").iter().nth(1).unwrap().to_str().unwrap();
        let refresh = refresh["Auth-Refresh-Token=".len()..].split(';').next().unwrap().to_owned();
        let body: Value = answer.json().await.unwrap();
        let access = body["accessToken"].as_str().unwrap();

        assert_eq!(header(access)["typ"], "at+jwt");
        assert_eq!(header(access)["alg"], "ES256");
        let said = claims(access);
        assert_eq!(said["iss"], "http://localhost:8080");
        assert_eq!(said["aud"], "https://api.example.com");
        assert_eq!(said["roles"], json!(["admin", "staff", "user"]));
        assert_eq!(said["idp"], "corp");
        assert_eq!(said["mail"], "alice@example.com");
        assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 3600);
        assert_eq!(said["sub"].as_str().unwrap().as_bytes()[14], b'7', "a UUIDv7");

        assert_eq!(header(&refresh)["typ"], "rt+jwt");
        assert_ne!(header(&refresh)["kid"], header(access)["kid"]);
        let kept = claims(&refresh);
        assert_eq!(kept["sid"], said["sid"]);
        assert_eq!(kept["gen"], 0);
        assert_eq!(kept["exp"].as_i64().unwrap() - kept["iat"].as_i64().unwrap(), 2_592_000);

        let jwks = service.client.get(service.url("/.well-known/jwks.json"))
            .send().await.unwrap().text().await.unwrap();
        let api = ResourceServer::new(&jwks, "http://localhost:8080", "https://api.example.com");
        assert_eq!(api.verify(access).as_ref(), Ok(&said));
        assert!(!api.knows(header(&refresh)["kid"].as_str().unwrap()));
    }

    async fn the_same_person_is_the_same_user_and_another_is_not(store: Store) {
        let service = TestService::start(store).await;
        let mut subjects = Vec::new();
        for user in ["alice", "alice", "bob"] {
            let body: Value = service.login(&service.code_for(user)).await.json().await.unwrap();
            subjects.push(claims(body["accessToken"].as_str().unwrap())["sub"].clone());
        }
        assert_eq!(subjects[0], subjects[1]);
        assert_ne!(subjects[0], subjects[2]);
    }

    async fn case_03_members_that_claim_an_identity_change_nothing(store: Store) {
        let service = TestService::start(store).await;
        let mut body = bare(&service.code_for("bob"));
        for (name, value) in [
            ("userId", json!("00000000-0000-7000-8000-000000000000")), ("sub", json!("alice")),
            ("roles", json!(["admin"])), ("email", json!("alice@example.com")),
        ] {
            body[name] = value;
        }
        let answer: Value = service.post(&body).send().await.unwrap().json().await.unwrap();
        let said = claims(answer["accessToken"].as_str().unwrap());
        assert_eq!(said["roles"], json!(["staff", "user"]));
        assert!(said["sub"].as_str().unwrap() != "alice");
        assert!(!said["sub"].as_str().unwrap().starts_with("00000000"));
    }

    async fn case_30_an_unverified_email_grants_no_role(store: Store) {
        let service = TestService::start(store).await;
        for verified in [json!(false), json!("true"), json!(null)] {
            let merge = json!({ "email": "eve@example.com", "email_verified": verified });
            service.idp().control().set_faults(mintgate_mock_idp::Faults {
                id_token: Some(mintgate_mock_idp::IdTokenRecipe {
                    claims: merge.as_object().unwrap().clone(), ..Default::default()
                }),
                ..Default::default()
            });
            let body: Value = service.login(&service.code_for("bob")).await.json().await.unwrap();
            let said = claims(body["accessToken"].as_str().unwrap());
            assert_eq!(said["roles"], json!(["user"]), "email_verified = {verified}");
        }
    }

    async fn case_30_the_same_email_at_another_subject_is_another_user(store: Store) {
        let service = TestService::start(store).await;
        let first: Value = service.login(&service.code()).await.json().await.unwrap();
        let merge = json!({ "sub": "somebody-else" });
        service.idp().control().set_faults(mintgate_mock_idp::Faults {
            id_token: Some(mintgate_mock_idp::IdTokenRecipe {
                claims: merge.as_object().unwrap().clone(), ..Default::default()
            }),
            ..Default::default()
        });
        let second: Value = service.login(&service.code()).await.json().await.unwrap();
        let sub = |body: &Value| claims(body["accessToken"].as_str().unwrap())["sub"].clone();
        assert_ne!(sub(&first), sub(&second));
    }

    async fn body_delivery_gives_the_refresh_token_in_the_body_and_sets_no_cookie(store: Store) {
        let service = TestService::start_with(store, Options {
            more: "[tokens]\nbody_delivery = true".to_owned(), ..Options::default()
        }).await;
        let mut body = bare(&service.code());
        body["tokenDelivery"] = json!("body");
        let answer = service.post(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.headers().contains_key("set-cookie"));
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["refreshExpiresIn"], 2_592_000);
        assert_eq!(header(body["refreshToken"].as_str().unwrap())["typ"], "rt+jwt");
    }

    async fn pkce_and_nonce_pass_through_to_the_provider_and_its_id_token(store: Store) {
        let service = TestService::start_with(store, Options {
            provider: "pkce = \"required\"\nnonce = \"required\"", ..Options::default()
        }).await;
        // RFC 7636 appendix B.
        let code = service.idp().control().issue_code(mintgate_mock_idp::SignIn {
            nonce: Some("n-0S6_WzA2Mj".to_owned()),
            code_challenge: Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned()),
            ..sign_in("alice")
        });
        let answer = service.post(&json!({
            "authCode": code, "provider": "corp", "redirectUri": REDIRECT_URI,
            "codeVerifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "nonce": "n-0S6_WzA2Mj",
            "iss": service.idp().issuer(), "state": "af0ifjsldkj",
        })).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    }

    async fn a_single_redirect_uri_may_be_left_out(store: Store) {
        let service = TestService::start(store).await;
        let answer = service
            .post(&json!({ "authCode": service.code(), "provider": "corp" }))
            .send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    async fn an_id_token_posted_directly_opens_one_session(store: Store) {
        let service = TestService::start(store).await;
        let person = mintgate_mock_idp::SignIn {
            nonce: Some("nonce".to_owned()), ..sign_in("alice")
        };
        let token = service.idp().control().issue_id_token(&person, &mintgate_mock_idp::IdTokenRecipe::default());
        let body = json!({ "idToken": token, "provider": "corp", "nonce": "nonce" });
        let answer = service.post(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
        // Case 25: the same ID token a second time.
        service.refused(service.post(&body), StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;
    }

    async fn case_45_the_store_holds_no_token_and_no_code(store: Store) {
        let service = TestService::start(store).await;
        let code = service.code();
        let answer = service.login(&code).await;
        let mut secrets = vec![code, "mintgate-dev-secret".to_owned()];
        for cookie in answer.headers().get_all("set-cookie") {
            let value = cookie.to_str().unwrap().split_once('=').unwrap().1;
            let token = value.split(';').next().unwrap();
            secrets.push(token.to_owned());
            secrets.extend(token.split('.').skip(1).map(str::to_owned));
        }
        let dump = format!("{:?}", service.dump().await);
        assert!(dump.contains("corp"), "the dump shows the session:\n{dump}");
        for secret in secrets {
            assert!(!dump.contains(&secret), "found in the store: {secret}");
        }
    }
}
