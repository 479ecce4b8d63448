//! A process that ends while it renews a provider's access token, and the replica beside it that goes on.

use std::sync::Arc;
use std::time::Duration;

use mintgate_mock_idp::{FaultKind, Faults, Stats};
use mintgate_testkit::ManualClock;
use reqwest::StatusCode;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::common::process::Process;
use crate::common::{Store, TestService, Tokens, assert_error};
use crate::on_both_stores;
use crate::provider_tokens::{KEPT, LIFE, PATH, SECRET, keeping, short_lived, token};

/// Longer than one process alone may show a refresh token.
const AFTER_THE_LEASE: Duration = Duration::from_secs(90);

/// A service, a process beside it, and a session whose access token is to be renewed.
struct Scene {
    service: TestService,
    clock: Arc<ManualClock>,
    process: Process,
    alice: Tokens,
}

impl Scene {
    async fn set(store: Store) -> Self {
        let (service, clock) = keeping(store, KEPT).await;
        let alice = service.offline_sign_in().await;
        let due = "UPDATE upstream_tokens SET access_due_at =";
        service.sql(&format!("{due} 0"), &format!("{due} 'epoch'")).await;
        let process = service.replica_process().await;
        Self { service, clock, process, alice }
    }

    fn stats(&self) -> Stats {
        self.service.idp().control().stats()
    }

    /// Has the process ask a provider with this fault, and returns when the provider is at it.
    async fn renewing(
        &self,
        fault: FaultKind,
        is_at_it: impl Fn(&Stats) -> bool,
    ) -> JoinHandle<()> {
        let faults = Faults { token: Some(fault.into()), ..short_lived() };
        self.service.idp().control().set_faults(faults);
        let request = self.service.client.post(format!("http://{}{PATH}", self.process.public));
        let request = request.json(&json!({ "sid": self.alice.sid() }));
        let request = request.basic_auth("app", Some(SECRET)).send();
        let asking = tokio::spawn(async move { drop(request.await) });
        let arrived = async {
            while !is_at_it(&self.stats()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), arrived).await.expect("it asks the provider");
        asking
    }

    async fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.exit_code(30).await;
        self.service.idp().control().set_faults(short_lived());
    }

    /// A token from the service that is still there.
    async fn token(&self) -> String {
        let answer = self.service.granted(self.service.provider_token(&self.alice.sid())).await;
        token(&answer).to_owned()
    }
}

on_both_stores! {
    async fn killed_before_the_provider_acted_a_process_costs_no_token(store: Store) {
        let mut scene = Scene::set(store).await;
        let before = scene.stats().token;
        let _asking = scene.renewing(FaultKind::Hang, |stats| stats.token > before).await;
        let first = scene.token().await;
        scene.kill().await;
        assert_eq!(scene.token().await, first, "nobody shows the refresh token meanwhile");
        assert_eq!(scene.stats().token, before + 1);

        scene.clock.advance(AFTER_THE_LEASE);
        let second = scene.token().await;
        assert_ne!(second, first);
        assert!(scene.service.is_good(&second).await);
        scene.clock.advance(LIFE);
        scene.token().await;
        assert_eq!(scene.stats().refreshes, 2, "each refresh token was used once");
    }

    /// The answer is lost with the process, and the new refresh token with it. The one before is shown once
    /// more, in case the provider still takes it.
    async fn killed_before_the_answer_came_a_process_costs_the_providers_tokens_alone(store: Store) {
        let mut scene = Scene::set(store).await;
        let slowly = FaultKind::Drip { interval_ms: 60_000 };
        let _asking = scene.renewing(slowly, |stats| stats.refreshes == 1).await;
        scene.kill().await;
        scene.clock.advance(AFTER_THE_LEASE);
        let before = scene.stats().token;
        for _ in 0..2 {
            let answer = scene.service.provider_token(&scene.alice.sid()).send().await.unwrap();
            assert_error(answer, StatusCode::CONFLICT, "NO_PROVIDER_TOKEN").await;
        }
        assert_eq!(scene.stats().token, before + 1, "a token that was refused is not shown again");
        scene.service.refreshed(&scene.alice.refresh).await;
    }

    /// The back end that asked has gone away as well.
    async fn asked_to_stop_a_process_stores_the_answer_it_waits_for(store: Store) {
        let mut scene = Scene::set(store).await;
        let before = scene.stats().token;
        let asking = scene.renewing(FaultKind::Delay { ms: 1500 }, |stats| stats.token > before).await;
        asking.abort();
        scene.process.signal("TERM");
        assert_eq!(scene.process.exit_code(30).await, Some(0));
        scene.service.idp().control().set_faults(short_lived());
        let renewed = scene.token().await;
        assert_eq!(scene.stats().token, before + 1, "the replica has not asked");
        assert!(scene.service.is_good(&renewed).await);
        scene.clock.advance(LIFE);
        scene.token().await;
        assert_eq!(scene.stats().refreshes, 2, "each refresh token was used once");
    }
}
