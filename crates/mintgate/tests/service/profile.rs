//! Who somebody is: what is kept of a sign-in, and what `/me` shows of it.

use crate::common::{Options, Store, TestService};
use crate::on_both_stores;
use mintgate_mock_idp::{Faults, IdTokenRecipe};
use serde_json::{Value, json};

const ALL: &str = r#"[users]
profile = ["name", "preferred_username", "email", "picture"]"#;

fn keeping(more: &str) -> Options {
    Options { more: more.to_owned(), ..Options::default() }
}

impl TestService {
    /// Signs somebody in whose ID token has these claims too; what `/me` says of them.
    async fn profile_after(&self, user: &str, claims: &Value) -> Value {
        let claims = claims.as_object().unwrap().clone();
        let id_token = Some(IdTokenRecipe { claims, ..IdTokenRecipe::default() });
        self.idp().control().set_faults(Faults { id_token, ..Faults::default() });
        let tokens = self.signed_in_as(user).await;
        let mut me: Value = self.me(&tokens.access).send().await.unwrap().json().await.unwrap();
        for name in ["sub", "roles", "sid", "provider", "exp", "expiresIn"] {
            me.as_object_mut().unwrap().remove(name);
        }
        me
    }
}

on_both_stores! {
    async fn what_is_configured_is_kept_and_renewed_at_each_login(store: Store) {
        let service = TestService::start_with(store, keeping(ALL)).await;
        let picture = "https://pics.example.com/alice.png";
        let first = service.profile_after("alice", &json!({ "picture": picture })).await;
        let expected = json!({
            "name": "Alice Admin", "preferredUsername": "alice", "email": "alice@example.com", "picture": picture,
        });
        assert_eq!(first, expected);
        let before = service.dump().await;
        assert_eq!(service.profile_after("alice", &json!({ "picture": picture })).await, expected);
        assert_eq!(service.dump().await.rows("users"), before.rows("users"), "nothing has changed");
        let changed = json!({ "name": "Alice B.", "picture": "http://pics.example.com/alice.png", "email_verified": false });
        assert_eq!(
            service.profile_after("alice", &changed).await,
            json!({ "name": "Alice B.", "preferredUsername": "alice" })
        );
        assert_eq!(
            service.profile_after("carol", &json!({})).await,
            json!({ "name": "Carol Newcomer", "preferredUsername": "carol" }),
            "her address is not verified"
        );
    }

    async fn what_is_configured_no_more_is_shown_no_more_and_gone_after_the_next_login(store: Store) {
        let mut service = TestService::start_with(store, keeping(ALL)).await;
        let tokens = service.signed_in_as("alice").await;
        service.restart_with(|text| text.replace(ALL, "[users]\nprofile = [\"name\"]"));
        let me: Value = service.me(&tokens.access).send().await.unwrap().json().await.unwrap();
        assert_eq!((&me["name"], me.get("email")), (&json!("Alice Admin"), None));
        assert_eq!(service.profile_after("alice", &json!({})).await, json!({ "name": "Alice Admin" }));
        let users = format!("{:?}", service.dump().await.rows("users"));
        assert!(users.contains("Alice Admin") && !users.contains("alice@example.com"), "{users}");
    }

    async fn what_does_not_fit_is_left_out_and_refuses_nobody(store: Store) {
        let service = TestService::start_with(store, keeping(ALL)).await;
        let odd = json!({
            "name": "x".repeat(321), "preferred_username": ["alice"], "picture": "javascript:alert(1)",
        });
        let expected = json!({ "email": "alice@example.com" });
        assert_eq!(service.profile_after("alice", &odd).await, expected);
        let longest = json!({ "name": "\u{e9}".repeat(160), "preferred_username": "a\u{0}b" });
        let expected = json!({ "name": "\u{e9}".repeat(160), "email": "alice@example.com" });
        assert_eq!(service.profile_after("alice", &longest).await, expected);
    }

    async fn nothing_is_kept_unless_it_is_configured(store: Store) {
        let service = TestService::start(store).await;
        assert_eq!(service.profile_after("alice", &json!({})).await, json!({}));
        let dump = format!("{:?}", service.dump().await);
        assert!(!dump.contains("alice@example.com") && !dump.contains("Alice Admin"), "{dump}");
    }
}
