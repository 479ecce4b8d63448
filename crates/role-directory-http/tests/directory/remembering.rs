//! Answers that are remembered, and questions that are asked once for many.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use mintgate_domain::model::{ProviderId, Role, Timestamp, UserId};
use mintgate_role_directory_http::LookupFailure;
use uuid::Uuid;

use crate::server::{Person, Rig, Server, TTL, failure_of, reply, roles};

#[tokio::test]
async fn an_answer_is_remembered_for_as_long_as_is_allowed() {
    let server = Server::start(roles(&["a"])).await;
    let rig = Rig::new(&server, |_| {});
    assert_eq!(rig.names().await, ["a"]);
    server.say(roles(&["b"]));
    rig.clock.advance(TTL.checked_sub(Duration::from_millis(1)).unwrap());
    assert_eq!(rig.names().await, ["a"]);
    assert_eq!(server.requests().len(), 1);
    rig.clock.advance(Duration::from_millis(1));
    assert_eq!(rig.names().await, ["b"]);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn the_date_may_jump_without_meaning() {
    let server = Server::start(roles(&["a"])).await;
    let rig = Rig::new(&server, |_| {});
    for date in [2_000_000_000, 0] {
        rig.clock.set(Timestamp::from_unix(date));
        rig.names().await;
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_is_as_old_as_its_question() {
    let server = Server::holding(roles(&["a"])).await;
    let rig = Rig::new(&server, |_| {});
    let later = async {
        server.asked(1).await;
        rig.clock.advance(TTL);
        // Too late to join the one that is under way.
        let second = rig.ask();
        let release = async {
            server.asked(2).await;
            server.let_go(2);
        };
        tokio::join!(second, release).0.unwrap();
    };
    tokio::join!(rig.ask(), later).0.unwrap();
    // The second one's answer is remembered, the first one's is not.
    rig.clock.advance(TTL.checked_sub(Duration::from_millis(1)).unwrap());
    rig.ask().await.unwrap();
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn with_no_time_to_remember_every_question_is_asked() {
    let server = Server::start(roles(&["a"])).await;
    let rig = Rig::new(&server, |config| config.cache = Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(rig.names().await, ["a"]);
    }
    let answers = join_all((0..5).map(|_| rig.ask())).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(server.requests().len(), 8);
}

#[tokio::test]
async fn somebody_unknown_is_remembered_too() {
    let server = Server::start(reply("404 Not Found", "text/plain", "")).await;
    let rig = Rig::new(&server, |_| {});
    for _ in 0..3 {
        assert!(rig.names().await.is_empty());
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let server = Server::start(reply("500 Oops", "text/plain", "")).await;
    let rig = Rig::new(&server, |_| {});
    rig.failure().await;
    server.say(roles(&["a"]));
    assert_eq!(rig.names().await, ["a"]);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn one_persons_answer_is_nobody_elses() {
    let server = Server::start(roles(&["a"])).await;
    let rig = Rig::new(&server, |_| {});
    let ada = Person::default();
    let mut others = vec![ada.clone(); 5];
    others[1].user = UserId::from_uuid(Uuid::from_u128(2));
    others[2].provider = ProviderId::new("other");
    others[3].identity.issuer.push('/');
    others[4].identity.subject.make_ascii_uppercase();
    for (number, person) in others.iter().enumerate() {
        let role = format!("role-{number}");
        server.say(roles(&[&role]));
        assert_eq!(rig.ask_about(person).await.unwrap(), [Role::new(role)]);
    }
    assert_eq!(server.requests().len(), 5);
    assert_eq!(rig.ask_about(&ada).await.unwrap(), [Role::new("role-0")]);
}

#[tokio::test]
async fn fifty_questions_at_once_make_one_request() {
    let server = Server::holding(roles(&["a"])).await;
    let rig = Rig::new(&server, |_| {});
    let release = async {
        server.asked(1).await;
        server.let_go(50);
    };
    let (answers, ()) = tokio::join!(join_all((0..50).map(|_| rig.ask())), release);
    assert_eq!(answers.len(), 50);
    for answer in answers {
        assert_eq!(answer.unwrap(), [Role::new("a")]);
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_questions_on_many_threads_make_one_request() {
    let server = Server::start(roles(&["a"])).await;
    let rig = Arc::new(Rig::new(&server, |_| {}));
    let tasks = (0..50).map(|_| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move { rig.ask().await })
    });
    for answer in join_all(tasks).await {
        assert_eq!(answer.unwrap().unwrap(), [Role::new("a")]);
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_failure_is_told_to_everybody_who_waits() {
    let server = Server::holding(reply("503 Later", "text/plain", "")).await;
    let rig = Rig::new(&server, |_| {});
    let release = async {
        server.asked(1).await;
        server.let_go(1);
    };
    let (answers, ()) = tokio::join!(join_all((0..50).map(|_| rig.ask())), release);
    for answer in answers {
        assert_eq!(failure_of(&answer.unwrap_err()), LookupFailure::Status(503));
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn whoever_goes_away_takes_nothing_along() {
    let server = Server::holding(roles(&["a"])).await;
    let rig = Rig::new(&server, |_| {});
    let mut first = Box::pin(rig.ask());
    let mut second = Box::pin(rig.ask());
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    let gone = async {
        // The first one has driven the request so far, and goes in its midst.
        tokio::select! {
            _ = first => panic!("nobody has answered"),
            () = server.asked(1) => {}
        }
        server.let_go(1);
    };
    let (answer, ()) = tokio::join!(second, gone);
    assert_eq!(answer.unwrap(), [Role::new("a")]);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn when_all_have_gone_the_next_one_asks_anew() {
    let server = Server::holding(roles(&["a"])).await;
    let rig = Rig::new(&server, |_| {});
    tokio::select! {
        _ = rig.ask() => panic!("nobody has answered"),
        () = server.asked(1) => {}
    }
    let release = async {
        server.asked(2).await;
        server.let_go(2);
    };
    let (answer, ()) = tokio::join!(rig.ask(), release);
    assert_eq!(answer.unwrap(), [Role::new("a")]);
}
