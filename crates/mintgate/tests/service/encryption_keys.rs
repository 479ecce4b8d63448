//! The key-encryption key is replaced by another one, and keys of a directory move into the store, while people
//! are signed in.

use std::sync::Arc;
use std::time::Duration;

use mintgate::system::SystemClock;
use mintgate_domain::SecretText;
use mintgate_domain::ports::Clock as _;
use mintgate_mock_idp::SignIn;
use mintgate_signer_jose::KeyEncryptionKey;
use mintgate_testkit::ManualClock;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::administration::mintgate;
use crate::common::session::REFRESH;
use crate::common::{Options, Store, TestService, Tokens, sign_in};
use crate::on_both_stores;

const OLD: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const NEW: &str = "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";
/// What is sealed, and what is known about it.
const SEALED: [&str; 3] = ["signing_keys", "upstream_tokens", "sealing_keys"];

fn name(key: &str) -> String {
    KeyEncryptionKey::from_text(&SecretText::new(key)).expect("a key").name().to_owned()
}

/// The lines of `[keys]`.
fn lines(current: &str, former: &str) -> String {
    format!("encryption_key = \"{current}\"\nformer_encryption_keys = \"{former}\"")
        .replace("\nformer_encryption_keys = \"\"", "")
}

/// A service that asks its provider again once a minute, and the clock it goes by.
async fn service(store: Store, keys: &str) -> (TestService, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(SystemClock::new().now().into()));
    let options = Options {
        provider: if keys.contains("encryption_key") { "recheck_secs = 60" } else { "" },
        keys: keys.to_owned(),
        more: "[tokens]\nbody_delivery = true".to_owned(),
        clock: Some(clock.clone()),
        ..Options::default()
    };
    (TestService::start_with(store, options).await, clock)
}

impl TestService {
    async fn signed_in_for_long(&self, user: &str) -> Tokens {
        let scope = "openid profile email offline_access".to_owned();
        let code = self.idp().control().issue_code(SignIn { scope, ..sign_in(user) });
        Tokens::of(self.login(&code).await).await
    }

    /// How often the provider was shown a refresh token, which had to be opened for that.
    fn rechecks(&self) -> u64 {
        self.idp().control().stats().refreshes
    }

    async fn until_resealed(&self) {
        for _ in 0..300 {
            let keys = self.dump_of(vec!["sealing_keys"]).await;
            if keys.rows("sealing_keys").len() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!(
            "something is sealed under a former key still: {:?}",
            self.dump_of(SEALED.to_vec()).await
        );
    }

    async fn kids(&self) -> Value {
        let jwks = self.client.get(self.url("/.well-known/jwks.json")).send().await.unwrap();
        let jwks: Value = jwks.json().await.unwrap();
        jwks["keys"].as_array().expect("keys").iter().map(|key| key["kid"].clone()).collect()
    }
}

on_both_stores! {
    async fn the_encryption_key_is_replaced_while_people_are_signed_in(store: Store) {
        let (mut service, clock) = service(store, &lines(OLD, "")).await;
        let alice = service.signed_in_for_long("alice").await;
        let before = service.dump_of(SEALED.to_vec()).await;

        // First every process learns the new key, and seals nothing under it.
        clock.advance(Duration::from_secs(61));
        service.restart_with(|text| text.replace(&lines(OLD, ""), &lines(OLD, NEW)));
        service.until_resealed().await;
        assert_eq!(service.dump_of(SEALED.to_vec()).await, before);
        let alice = service.refreshed(&alice.refresh).await;
        assert_eq!(service.rechecks(), 1);

        // Then one process after the other seals under it. Each opens what the other has sealed.
        clock.advance(Duration::from_secs(61));
        let beside = service.replica_with(|text| text.replace(&lines(OLD, NEW), &lines(NEW, OLD)));
        let asked = service.client.post(beside.url(REFRESH));
        let asked = asked.json(&json!({ "refreshToken": alice.refresh })).send().await.unwrap();
        assert_eq!(asked.status(), StatusCode::OK);
        assert_eq!(service.rechecks(), 2);
        let bob = service.signed_in_for_long("bob").await;
        clock.advance(Duration::from_secs(61));
        let asked = service.client.post(beside.url(REFRESH));
        let asked = asked.json(&json!({ "refreshToken": bob.refresh })).send().await.unwrap();
        let bob = asked.json::<Value>().await.unwrap()["refreshToken"].as_str().expect("a token").to_owned();
        assert_eq!(service.rechecks(), 3);
        clock.advance(Duration::from_secs(61));
        let bob = service.refreshed(&bob).await;
        assert_eq!(service.rechecks(), 4, "what was sealed under the new key");
        drop(beside);

        clock.advance(Duration::from_secs(61));
        service.restart_with(|text| text.replace(&lines(OLD, NEW), &lines(NEW, OLD)));
        service.until_resealed().await;
        let listed = service.operate(&["keys", "list"]).await.done();
        assert!(listed.contains(&name(OLD)) && listed.contains(&name(NEW)), "{listed}");
        let verdict = service.operate(&["audit", "verify", "--json"]).await.json();
        assert_eq!(verdict["clean"], true, "{verdict}");

        // Now the old one can go.
        clock.advance(Duration::from_secs(61));
        service.restart_with(|text| text.replace(&lines(NEW, OLD), &lines(NEW, "")));
        service.refreshed(&bob.refresh).await;
        assert_eq!(service.rechecks(), 5);
    }

    async fn a_key_that_is_taken_out_too_early_is_refused_at_the_start(store: Store) {
        let (mut service, _) = service(store, &lines(OLD, "")).await;
        let alice = service.signed_in_for_long("alice").await;
        service.ask_to_stop();
        service.wait_until_stopped();
        let before = service.dump_of(SEALED.to_vec()).await;
        let config = service.config_with(|text| text.replace(&lines(OLD, ""), &lines(NEW, "")));
        let refused = mintgate(&config, &["serve"]).await;
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains(&name(OLD)), "{refused:?}");
        assert_eq!(service.dump_of(SEALED.to_vec()).await, before);
        service.restart();
        service.refreshed(&alice.refresh).await;
    }

    async fn keys_of_a_directory_are_adopted_without_signing_anybody_out(store: Store) {
        let (mut service, _) = service(store, "reload_secs = 1").await;
        let alice = service.signed_in().await;
        let kids = service.kids().await;
        service.ask_to_stop();
        service.wait_until_stopped();
        let refused = service.operate(&["keys", "adopt"]).await;
        assert_eq!(refused.code, 1, "without a key to seal them: {refused:?}");
        let sealed = |text: &str| text.replace("reload_secs = 1", &lines(OLD, ""));
        let config = service.config_with(sealed);
        for added in ["added: 4", "added: 0"] {
            let adopted = mintgate(&config, &["keys", "adopt"]).await.done();
            assert!(adopted.contains(added), "{adopted}");
        }
        service.restart_with(sealed);
        assert_eq!(service.kids().await, kids);
        assert_eq!(service.me(&alice.access).send().await.unwrap().status(), StatusCode::OK);
        service.refreshed(&alice.refresh).await;
    }
}
