//! Other services follow the log of revocations, over real HTTP.

use std::time::Duration;

use mintgate_domain::TokenHash;
use mintgate_mock_idp::LogoutOrder;
use mintgate_testkit::ResourceServer;
use mintgate_testkit::http::RequestBuilder;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{Options, Store, TestService, Tokens, assert_error, claims, header, sign_in};
use crate::on_both_stores;

const REVOCATIONS: &str = "/api/v1/auth/revocations";
const ISSUER: &str = "http://localhost:8080";
/// A second is what is promised; a busy machine may take its time.
const PATIENCE: Duration = Duration::from_secs(20);

fn options(more: &str) -> Options {
    let hash = |secret: &str| TokenHash::of(secret).to_hex();
    let clients = ["orders", "shop"]
        .map(|id| format!("[[clients]]\nid = \"{id}\"\nsecret_hash = \"{}\"\n", hash(id)));
    Options { more: format!("{more}\n{}", clients.concat()), ..Options::default() }
}

async fn service(store: Store) -> TestService {
    TestService::start_with(store, options("")).await
}

fn sub(tokens: &Tokens) -> String {
    claims(&tokens.access)["sub"].as_str().unwrap().to_owned()
}

impl TestService {
    fn ask_revocations(&self, after: &str) -> RequestBuilder {
        let url = self.url(&format!("{REVOCATIONS}?after={after}"));
        self.client.get(url).basic_auth("orders", Some("orders"))
    }

    /// The claims of a page, whose signature is verified by another implementation.
    async fn revocations(&self, after: &str) -> Value {
        let answer = self.ask_revocations(after).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["content-type"], "application/jwt");
        let said = self.verified(&answer.text().await.unwrap(), "orders").await;
        assert_eq!(said["after"], after);
        said
    }

    async fn verified(&self, statement: &str, client: &str) -> Value {
        assert_eq!(header(statement)["typ"], "revocations+jwt");
        let jwks = self.client.get(self.url("/.well-known/jwks.json")).send().await.unwrap();
        let server = ResourceServer::new(&jwks.text().await.unwrap(), ISSUER, client);
        server.verify_at_any_time(statement).unwrap()
    }

    /// The sessions and users of the events behind the cursor, which becomes the one behind them.
    async fn news(&self, cursor: &mut String) -> Vec<String> {
        let said = self.revocations(cursor).await;
        said["cursor"].as_str().unwrap().clone_into(cursor);
        assert_eq!(said["more"], json!(false));
        let events = said["events"].as_array().unwrap().iter();
        let mut named: Vec<_> = events
            .map(|event| {
                let iat = said["iat"].as_i64().unwrap();
                let life = event["forget_after"].as_i64().unwrap() - iat;
                assert!((3600..86_600).contains(&life), "{event}");
                match (&event["sid"], &event["sub"]) {
                    (Value::String(session), Value::Null) => format!("sid {session}"),
                    (Value::Null, Value::String(user)) => format!("sub {user} {}", event["epoch"]),
                    _ => format!("issued_before {}", event["issued_before"]),
                }
            })
            .collect();
        named.sort();
        named
    }
}

/// What a stream says; it is read by hand, as it does not end.
struct Following<'a> {
    service: &'a TestService,
    answer: reqwest::Response,
    text: String,
}

impl<'a> Following<'a> {
    async fn begin(service: &'a TestService, last: Option<&str>) -> Self {
        let request = reqwest::Client::new()
            .get(service.url(REVOCATIONS))
            .basic_auth("orders", Some("orders"))
            .header("accept", "text/event-stream");
        let request = last.into_iter().fold(request, |it, last| it.header("last-event-id", last));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        Self { service, answer, text: String::new() }
    }

    /// The claims of the next message; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| {
                    let mut lines = message.lines();
                    lines.find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
                };
                let (id, data) = (line("id: "), line("data: "));
                self.text = rest.into();
                let said = self.service.verified(&data, "orders").await;
                assert_eq!(said["cursor"], json!(id));
                return Some(said);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.unwrap();
            let chunk = chunk.ok().flatten()?;
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// The next message that has events.
    async fn events(&mut self) -> Value {
        loop {
            let said = self.next().await.expect("a message");
            if said["events"] != json!([]) {
                return said["events"].clone();
            }
        }
    }
}

on_both_stores! {
    async fn whatever_ends_sessions_is_told(store: Store) {
        let service = service(store).await;
        let mut cursor = String::new();
        assert_eq!(service.news(&mut cursor).await, [""; 0]);
        let alice = service.signed_in().await;
        let alice = service.refreshed(&alice.refresh).await;
        assert_eq!(service.news(&mut cursor).await, [""; 0], "a sign-in and a refresh end nothing");
        let user = sub(&alice);
        let sid = |tokens: &Tokens| format!("sid {}", tokens.sid());

        service.log_out(&alice.access).send().await.unwrap();
        assert_eq!(service.news(&mut cursor).await, [sid(&alice)]);

        // Everywhere.
        let both = [service.signed_in().await, service.signed_in().await];
        let url = service.url("/api/v1/auth/logout-all");
        service.client.post(url).bearer_auth(&both[0].access).send().await.unwrap();
        let mut expected = vec![sid(&both[0]), sid(&both[1]), format!("sub {user} 1")];
        expected.sort();
        assert_eq!(service.news(&mut cursor).await, expected);
        assert_eq!(claims(&service.signed_in().await.access)["epoch"], json!(1));

        // A refresh token of two generations before.
        let first = service.signed_in().await;
        let second = service.refreshed(&first.refresh).await;
        service.refreshed(&second.refresh).await;
        let reused = service.refresh(&first.refresh).send().await.unwrap();
        assert_error(reused, StatusCode::UNAUTHORIZED, "REFRESH_TOKEN_REUSED").await;
        assert_eq!(service.news(&mut cursor).await, [sid(&first)]);

        // An operator, one session.
        let alice = service.signed_in().await;
        service.operate(&["sessions", "end", &alice.sid()]).await.done();
        assert_eq!(service.news(&mut cursor).await, [sid(&alice)]);

        // A back end.
        let bob = service.signed_in_as("bob").await;
        let order = LogoutOrder { sign_in: sign_in("bob"), ..LogoutOrder::default() };
        let token = service.idp().control().logout_token(&order);
        let url = service.url("/api/v1/auth/backchannel-logout/corp");
        let ended = service.client.post(url).form(&[("logout_token", token)]).send().await.unwrap();
        assert_eq!(ended.status(), StatusCode::OK);
        assert_eq!(service.news(&mut cursor).await, [sid(&bob)]);

        let (alice, bob) = (service.signed_in().await, service.signed_in_as("bob").await);
        service.operate(&["users", "disable", &user]).await.done();
        let told = service.news(&mut cursor).await;
        assert!(told.contains(&sid(&alice)) && told.contains(&format!("sub {user} 2")), "{told:?}");
        service.operate(&["users", "delete", "--yes", &sub(&bob)]).await.done();
        let told = service.news(&mut cursor).await;
        assert!(told.iter().any(|it| it.starts_with(&format!("sub {} ", sub(&bob)))), "{told:?}");

        // One who comes now is told everything.
        let snapshot = service.news(&mut String::new()).await;
        assert!(snapshot.len() > 10 && snapshot.contains(&sid(&first)), "{snapshot:?}");
        assert_eq!(service.news(&mut cursor).await, [""; 0]);
        let text = service.metrics().await;
        assert!(!text.contains("mintgate_revocations_told_total 0\n"), "{text}");
    }

    async fn a_restore_makes_everybody_start_again(store: Store) {
        let service = service(store).await;
        let alice = service.signed_in().await;
        let mut cursor = String::new();
        service.log_out(&alice.access).send().await.unwrap();
        service.news(&mut cursor).await;
        let mut following = Following::begin(&service, Some(&cursor)).await;
        assert_eq!(following.next().await.unwrap()["events"], json!([]));
        service.operate(&["restore-done", "--json"]).await.done();
        assert_eq!(following.next().await, None, "the stream ends");
        let lost = service.ask_revocations(&cursor);
        service.refused(lost, StatusCode::CONFLICT, "START_AGAIN").await;
        let told = service.news(&mut String::new()).await;
        assert!(told.iter().any(|it| it.starts_with("issued_before ")), "{told:?}");
        assert!(told.contains(&format!("sid {}", alice.sid())));
        for foreign in ["x", "0.0", "00000000000000000000000000000000.5", "%20"] {
            let foreign = service.ask_revocations(foreign);
            service.refused(foreign, StatusCode::CONFLICT, "START_AGAIN").await;
        }
    }

    async fn a_stream_tells_what_ends_as_it_ends(store: Store) {
        let service = service(store).await;
        let replica = service.replica();
        let [alice, bob, eve] =
            [service.signed_in().await, service.signed_in_as("bob").await, service.signed_in_as("eve").await];
        service.log_out(&alice.access).send().await.unwrap();
        let mut following = Following::begin(&service, None).await;
        let told = |tokens: &Tokens| json!(tokens.sid());
        assert_eq!(following.events().await[0]["sid"], told(&alice));
        service.log_out(&bob.access).send().await.unwrap();
        let events = following.events().await;
        assert_eq!(events[0]["sid"], told(&bob));
        // On another replica.
        let url = replica.url("/api/v1/auth/logout");
        let ended = service.client.post(url).bearer_auth(&eve.access).send().await.unwrap();
        assert_eq!(ended.status(), StatusCode::OK);
        assert_eq!(following.events().await[0]["sid"], told(&eve));
        let text = service.metrics().await;
        assert!(text.contains("mintgate_revocation_streams 1\n"), "{text}");

        // One who has missed two is told both, and the first is not told again.
        let cursor = following.next().await.unwrap()["cursor"].as_str().unwrap().to_owned();
        drop(following);
        let later = [service.signed_in().await, service.signed_in().await];
        for tokens in &later {
            service.log_out(&tokens.access).send().await.unwrap();
        }
        let mut again = Following::begin(&service, Some(&cursor)).await;
        let events = again.events().await;
        let sids: Vec<_> = events.as_array().unwrap().iter().map(|it| it["sid"].clone()).collect();
        assert_eq!(sids, later.map(|tokens| json!(tokens.sid())));
    }
}

#[tokio::test]
async fn a_silent_stream_has_a_heartbeat_until_the_store_is_gone() {
    if !mintgate_testkit::postgres::is_given() {
        return;
    }
    let options = Options { behind_a_line: true, store_timeout_ms: 1000, ..options("") };
    let service = TestService::start_with(Store::Postgres, options).await;
    let mut following = Following::begin(&service, None).await;
    let first = following.next().await.unwrap();
    let beat = following.next().await.unwrap();
    assert_eq!((&beat["events"], &beat["after"]), (&json!([]), &first["cursor"]));
    assert_eq!(beat["cursor"], first["cursor"]);
    service.line().cut();
    let silence = tokio::time::timeout(Duration::from_secs(8), following.next()).await;
    // One beat may have been on its way.
    let silence = match silence {
        Ok(Some(_)) => tokio::time::timeout(Duration::from_secs(8), following.next()).await,
        silence => silence,
    };
    assert!(silence.is_err(), "nobody knows what has ended: {silence:?}");
    service.line().restore();
    service.until_ready().await;
    let alice = service.signed_in().await;
    service.log_out(&alice.access).send().await.unwrap();
    assert_eq!(following.events().await[0]["sid"], json!(alice.sid()));
}

#[tokio::test]
async fn there_are_so_many_streams_and_they_end_with_the_service() {
    let limits = "[limits]\nmax_revocation_streams = 2";
    let mut service = TestService::start_with(Store::Sqlite, options(limits)).await;
    let first = Following::begin(&service, None).await;
    let second = Following::begin(&service, None).await;
    let third = reqwest::Client::new()
        .get(service.url(REVOCATIONS))
        .basic_auth("orders", Some("orders"))
        .header("accept", "text/event-stream");
    let refused = third.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    service.revocations("").await;
    // A place is free again when its client has gone.
    drop(second);
    let mut another = None;
    for _ in 0..500 {
        let next = reqwest::Client::new()
            .get(service.url(REVOCATIONS))
            .basic_auth("orders", Some("orders"))
            .header("accept", "text/event-stream");
        let answer = next.send().await.unwrap();
        if answer.status() == StatusCode::OK {
            another = Some(answer);
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let another = another.expect("a free place");
    let mut first = first.answer;
    service.ask_to_stop();
    // Sooner than requests under way are cut.
    let ending = async { while first.chunk().await.is_ok_and(|chunk| chunk.is_some()) {} };
    tokio::time::timeout(Duration::from_secs(7), ending).await.expect("the stream ends");
    drop(another);
    service.wait_until_stopped();
}

#[tokio::test]
async fn who_does_not_authenticate_is_told_nothing() {
    let service = service(Store::Sqlite).await;
    let alice = service.signed_in().await;
    let url = service.url(REVOCATIONS);
    for request in [
        service.client.get(&url),
        service.client.get(&url).basic_auth("orders", Some("shop")),
        service.client.get(&url).bearer_auth(&alice.access),
        service.client.get(&url).header("accept", "text/event-stream"),
    ] {
        service.refused(request, StatusCode::UNAUTHORIZED, "INVALID_CLIENT").await;
    }
    let twice = service.client.get(format!("{url}?after=a&after=b"));
    let twice = twice.basic_auth("orders", Some("orders"));
    service.refused(twice, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
    let odd = service.ask_revocations("").header("accept", "text/html");
    service.refused(odd, StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE").await;
    for accept in ["application/jwt", "application/json", "*/*"] {
        let answer = service.ask_revocations("").header("accept", accept).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{accept}");
    }
    let head = service.client.request(Method::HEAD, &url).basic_auth("shop", Some("shop"));
    let head = head.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    // Nor is a statement a token.
    let statement = service.ask_revocations("").send().await.unwrap().text().await.unwrap();
    let me = service.me(&statement);
    service.refused(me, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
}

#[tokio::test]
async fn with_keys_that_nobody_else_has_there_is_nothing_to_follow() {
    let options = options("[tokens]\nalgorithm = \"HS256\"");
    let service = TestService::start_with(Store::Sqlite, options).await;
    let asked = service.ask_revocations("");
    service.refused(asked, StatusCode::NOT_FOUND, "NOT_FOUND").await;
}

/// However many have ended: pages, each of a thousand at most, without a gap.
#[tokio::test]
async fn many_ends_come_in_pages() {
    let service = service(Store::Sqlite).await;
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
        INSERT INTO revocations (position, session_id, forget_after)
        SELECT i, randomblob(16), 9999999999 FROM n;
        UPDATE revocation_log SET last_position = 2500";
    service.sql(numbers, "").await;
    let (mut cursor, mut pages, mut all) =
        (String::new(), vec![], std::collections::HashSet::new());
    loop {
        let said = service.revocations(&cursor).await;
        let events = said["events"].as_array().unwrap();
        pages.push(events.len());
        all.extend(events.iter().map(|event| event["sid"].to_string()));
        said["cursor"].as_str().unwrap().clone_into(&mut cursor);
        if said["more"] != json!(true) {
            break;
        }
    }
    assert_eq!((pages, all.len()), (vec![1000, 1000, 500], 2500));
    let mut following = Following::begin(&service, None).await;
    let mut streamed = 0;
    while streamed < 2500 {
        streamed += following.events().await.as_array().unwrap().len();
    }
    assert_eq!(streamed, 2500);
}
