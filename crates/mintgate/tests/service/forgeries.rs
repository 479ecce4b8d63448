//! Cases 20 to 26 and 51, end to end: the whole catalogue of forged ID tokens, however it comes in.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Options, Store, TestService, assert_error, bare, claims, log, sign_in};
use crate::on_both_stores;
use futures_util::future::join_all;
use mintgate::system::SystemClock;
use mintgate_domain::ports::Clock;
use mintgate_mock_idp::forgeries::{Forgery, Kind, Target, forgeries};
use mintgate_mock_idp::{Faults, IdTokenRecipe, MockConfig, MockIdp, SignIn};
use mintgate_testkit::http::RequestBuilder;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use url::Url;

const NONCE: &str = "n-0S6_WzA2Mj";
/// Characters of an `idToken` at most; what is longer is refused before it is looked at.
const LONGEST: usize = 16384;

/// The machine's time, and no waiting: the pause between two fetches of keys is never over.
struct Standing(SystemClock);

impl Clock for Standing {
    fn now(&self) -> OffsetDateTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A service and a provider of an attacker's own, who has an account at the genuine one too.
struct Place {
    service: TestService,
    attacker: MockIdp,
    attacker_jwks: String,
}

impl Place {
    /// With the algorithms of the provider's preset.
    async fn start(store: Store) -> Self {
        Self::start_with(store, "").await
    }

    async fn start_with(store: Store, provider: &'static str) -> Self {
        log::keep();
        let clock = Arc::new(Standing(SystemClock::new()));
        // All come from one address.
        let more = "[limits]\nrefused_sign_ins_per_minute = 0".to_owned();
        let options = Options { provider, more, clock: Some(clock), ..Options::default() };
        let service = TestService::start_with(store, options).await;
        let attacker = MockIdp::start(MockConfig::default()).await.unwrap();
        let attacker_jwks = format!("{}/jwks", attacker.issuer());
        Self { service, attacker, attacker_jwks }
    }

    fn target<'a>(&'a self, nonce: &'a str) -> Target<'a> {
        let issuer = self.service.idp().issuer();
        Target { issuer, nonce, attacker_jwks: &self.attacker_jwks }
    }

    /// Orders that the ID tokens of codes are made so.
    fn order(&self, recipe: &IdTokenRecipe) {
        let faults = Faults { id_token: Some(recipe.clone()), ..Faults::default() };
        self.service.idp().control().set_faults(faults);
    }

    fn directly(&self, sign_in: &SignIn, recipe: &IdTokenRecipe) -> (String, RequestBuilder) {
        let token = self.service.idp().control().issue_id_token(sign_in, recipe);
        let body = json!({ "idToken": token, "provider": "corp", "nonce": sign_in.nonce });
        (token, self.service.post(&body))
    }

    fn by_code(&self, sign_in: &SignIn, recipe: &IdTokenRecipe) -> (String, RequestBuilder) {
        self.order(recipe);
        let code = self.service.idp().control().issue_code(sign_in.clone());
        let mut body = bare(&code);
        body["nonce"] = json!(sign_in.nonce);
        (code, self.service.post(&body))
    }

    /// That what is spoilt would be good otherwise, in all three ways.
    async fn assert_genuine_passes(&self, user: &str) {
        let genuine = IdTokenRecipe::default();
        let sign_in = asking(Kind::Nonce, user);
        for (_, request) in [self.directly(&sign_in, &genuine), self.by_code(&sign_in, &genuine)] {
            assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
        }
        let (response, cookie) = self.service.response_for(user).await;
        let answer = self.service.finish(&response, &cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }

    /// How often the metadata, the keys and userinfo were asked for.
    fn fetched(&self) -> [u64; 3] {
        let stats = self.service.idp().control().stats();
        [stats.discovery, stats.jwks, stats.userinfo]
    }

    fn assert_nobody_asked_the_attacker(&self) {
        let stats = self.attacker.control().stats();
        assert_eq!((stats.discovery, stats.jwks), (0, 0));
    }
}

fn asking(kind: Kind, user: &str) -> SignIn {
    let nonce = kind.asks_nonce().then(|| NONCE.to_owned());
    SignIn { nonce, ..sign_in(user) }
}

async fn assert_forged(answer: Response, name: &str) {
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{name}");
    assert_error(answer, StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;
}

async fn assert_malformed(answer: Response, name: &str) {
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{name}");
    let body = assert_error(answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
    assert_eq!(body["details"][0]["field"], "idToken", "{name}");
}

on_both_stores! {
    async fn case_20_to_26_no_forgery_of_the_catalogue_opens_a_session(store: Store) {
        let place = Place::start_with(store, "id_token_algs = [\"RS256\"]").await;
        let service = &place.service;
        place.assert_genuine_passes("bob").await;
        let before = service.dump().await;
        let (mut tried, mut too_long) = (0, 0);
        let mut secrets = Vec::new();
        for kind in Kind::ALL {
            let sign_in = asking(kind, "alice");
            let [discovery, jwks, userinfo] = place.fetched();
            for Forgery { name, recipe } in forgeries(kind, &place.target(NONCE)) {
                let (token, request) = place.directly(&sign_in, &recipe);
                let answer = request.send().await.unwrap();
                let name = format!("{kind:?}: {name}");
                if token.len() > LONGEST {
                    assert_malformed(answer, &name).await;
                    too_long += 1;
                } else {
                    assert_forged(answer, &format!("{name}, posted directly")).await;
                }
                let (code, request) = place.by_code(&sign_in, &recipe);
                let answer = request.send().await.unwrap();
                assert_forged(answer, &format!("{name}, by code")).await;
                assert_eq!(service.dump().await, before, "{name}");
                secrets.push(code);
                secrets.extend(token.split('.').nth(1).map(str::to_owned));
                tried += 1;
            }
            // Once for all tokens that are posted, and once for all that come for a code: the clock
            // stands still.
            let for_keys = if kind == Kind::Algorithm { 2 } else { 0 };
            assert_eq!(place.fetched(), [discovery, jwks + for_keys, userinfo], "{kind:?}");
        }
        assert!(tried >= 180, "{tried}");
        assert_eq!(too_long, 0, "all were looked at");
        // A well-formed token of an attacker's own provider.
        let foreign = place.attacker.control()
            .issue_id_token(&asking(Kind::Nonce, "alice"), &IdTokenRecipe::default());
        let body = json!({ "idToken": foreign, "provider": "corp", "nonce": NONCE });
        assert_forged(service.post(&body).send().await.unwrap(), "an attacker's issuer").await;
        assert_eq!(service.dump().await, before);
        place.assert_nobody_asked_the_attacker();
        let log = log::text();
        assert!(log.contains("INVALID_ID_TOKEN"), "the log is kept");
        for secret in secrets.iter().filter(|secret| secret.len() > 16) {
            assert!(!log.contains(secret.as_str()), "in the log: {secret}");
        }
        service.idp().control().clear_faults();
        place.assert_genuine_passes("carol").await;
    }

    async fn case_20_to_26_no_forgery_finishes_a_login_that_was_begun_here(store: Store) {
        let place = Place::start(store).await;
        let service = &place.service;
        place.assert_genuine_passes("bob").await;
        let before = service.dump().await;
        let [discovery, jwks, userinfo] = place.fetched();
        let mut tried = 0;
        for kind in Kind::ALL {
            for index in 0..forgeries(kind, &place.target(NONCE)).len() {
                let begun = service.begin_login("corp").await;
                let url = Url::parse(&begun.authorization_url).unwrap();
                let nonce = url.query_pairs().find(|(name, _)| name == "nonce").unwrap().1;
                let Forgery { name, recipe } =
                    forgeries(kind, &place.target(&nonce)).swap_remove(index);
                let response = service.at_provider(&begun.authorization_url, "alice").await;
                place.order(&recipe);
                let answer = service.finish(&response, begun.cookie()).send().await.unwrap();
                assert_forged(answer, &name).await;
                assert_eq!(service.dump().await, before, "{name}");
                tried += 1;
            }
        }
        assert!(tried >= 180, "{tried}");
        // Here a key of another algorithm would do as well, so that it is looked for.
        assert_eq!(place.fetched(), [discovery, jwks + 1, userinfo]);
        place.assert_nobody_asked_the_attacker();
        service.idp().control().clear_faults();
        place.assert_genuine_passes("carol").await;
    }

    async fn case_22_a_published_key_for_something_else_signs_nobody_in(store: Store) {
        let mut place = Place::start(store).await;
        let genuine = IdTokenRecipe::default();
        for change in [
            json!({ "use": "enc" }), json!({ "kty": "EC" }), json!({ "kty": "oct" }),
            json!({ "alg": "ES256" }), json!({ "alg": "RSA-OAEP" }), json!({ "n": "AQAB" }),
        ] {
            let jwks_merge = change.as_object().unwrap().clone();
            let faults = Faults { jwks_merge, ..Faults::default() };
            place.service.idp().control().set_faults(faults.clone());
            // It has to learn the keys anew.
            place.service.restart();
            let before = place.service.dump().await;
            let sign_in = asking(Kind::Key, "alice");
            let (_, directly) = place.directly(&sign_in, &genuine);
            assert_forged(directly.send().await.unwrap(), &format!("{change}, directly")).await;
            let (_, by_code) = place.by_code(&sign_in, &genuine);
            place.service.idp().control().set_faults(faults);
            assert_forged(by_code.send().await.unwrap(), &format!("{change}, by code")).await;
            assert_eq!(place.service.dump().await, before, "{change}");
        }
        place.service.idp().control().clear_faults();
        place.service.restart();
        place.assert_genuine_passes("alice").await;
    }

    async fn case_26_text_that_is_no_token_is_refused_and_nothing_is_fetched(store: Store) {
        let place = Place::start(store).await;
        let genuine =
            place.service.idp().control().issue_id_token(&sign_in("alice"), &IdTokenRecipe::default());
        let before = place.service.dump().await;
        for text in [".", "..", "...", "a.b.c", "null", "{}", &format!("{genuine}=")] {
            let body = json!({ "idToken": text, "provider": "corp" });
            assert_forged(place.service.post(&body).send().await.unwrap(), text).await;
        }
        for text in ["", " ", "é.é.é", &format!(" {genuine}"), &"x".repeat(LONGEST + 1)] {
            let body = json!({ "idToken": text, "provider": "corp" });
            assert_malformed(place.service.post(&body).send().await.unwrap(), text).await;
        }
        assert_eq!(place.service.dump().await, before);
        assert_eq!(place.fetched(), [0, 0, 0]);
        let body = json!({ "idToken": genuine, "provider": "corp" });
        assert_eq!(place.service.post(&body).send().await.unwrap().status(), StatusCode::OK);
    }

    async fn case_26_our_own_tokens_are_no_id_tokens(store: Store) {
        let service = TestService::start(store).await;
        let answer = service.login(&service.code()).await;
        let refresh = answer.headers().get_all("set-cookie").iter().nth(1).unwrap().to_str().unwrap();
        let refresh = refresh["Auth-Refresh-Token=".len()..].split(';').next().unwrap().to_owned();
        let body: Value = answer.json().await.unwrap();
        for token in [body["accessToken"].as_str().unwrap(), &refresh] {
            assert!(claims(token)["sid"].is_string());
            let request = service.post(&json!({ "idToken": token, "provider": "corp" }));
            service.refused(request, StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;
        }
    }

    async fn case_51_hundreds_of_random_kids_make_one_fetch_of_keys(store: Store) {
        let place = Place::start(store).await;
        place.assert_genuine_passes("bob").await;
        let before = place.service.dump().await;
        let [discovery, jwks, userinfo] = place.fetched();
        for batch in 0..8 {
            let posts = (0..50).map(|i| {
                let kid = format!("kid-{batch}-{i}");
                let header = json!({ "kid": kid }).as_object().unwrap().clone();
                let recipe = IdTokenRecipe { header, ..IdTokenRecipe::default() };
                let (_, request) = place.directly(&asking(Kind::UnknownKey, "alice"), &recipe);
                async move { assert_forged(request.send().await.unwrap(), &kid).await }
            });
            join_all(posts).await;
        }
        assert_eq!(place.fetched(), [discovery, jwks + 1, userinfo]);
        assert_eq!(place.service.dump().await, before);
        place.assert_genuine_passes("carol").await;
    }
}
