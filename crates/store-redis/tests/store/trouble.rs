//! What a server answers, or does not, in trouble: never taken for "there is no such session".

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mintgate_domain::model::{RevokeReason, Session, SessionId};
use mintgate_domain::ports::{
    EndOutcome, OpenOutcome, RefreshTokenRepo as _, SessionChange, StoreError, StoreHealth as _,
};
use mintgate_store_redis::{RedisConfig, RedisStore};
use mintgate_testkit::openings::{NOW, Openings, identity, single_use};
use mintgate_testkit::redis::{RedisServer, program_or_exit};
use mintgate_testkit::rotations::rotation;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{config, open};

/// Stands between the store and its server, and can lose an answer with its connection.
struct Line {
    address: SocketAddr,
    loses_next: Arc<AtomicBool>,
}

impl Line {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let loses_next = Arc::new(AtomicBool::new(false));
        let loses = Arc::clone(&loses_next);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(server).await.unwrap();
                tokio::spawn(forward(client, upstream, Arc::clone(&loses)));
            }
        });
        Self { address, loses_next }
    }

    fn lose_next_answer(&self) {
        self.loses_next.store(true, Ordering::SeqCst);
    }

    fn has_lost(&self) -> bool {
        !self.loses_next.load(Ordering::SeqCst)
    }
}

async fn forward(client: TcpStream, upstream: TcpStream, loses: Arc<AtomicBool>) {
    let (mut client_reads, mut client_writes) = client.into_split();
    let (mut reads, mut writes) = upstream.into_split();
    let requests = tokio::spawn(async move {
        drop(tokio::io::copy(&mut client_reads, &mut writes).await);
    });
    let mut buffer = vec![0; 65_536];
    while let Ok(length) = reads.read(&mut buffer).await {
        if length == 0 || loses.swap(false, Ordering::SeqCst) {
            break;
        }
        if client_writes.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    requests.abort();
}

async fn stored(store: &RedisStore) -> Session {
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.single_use = Some(single_use("ada"));
    assert_eq!(store.open(&opening).await, Ok(OpenOutcome::Opened));
    found(store, opening.session.id).await
}

async fn found(store: &RedisStore, id: SessionId) -> Session {
    store.load(id).await.unwrap().expect("a session").session
}

/// Whatever was written before its answer was lost is written once, and its caller learns of it.
#[tokio::test]
async fn what_is_sent_again_because_its_answer_was_lost_counts_once() {
    program_or_exit();
    let server = RedisServer::start(&[]).await;
    let line = Line::to(server.address()).await;
    let store = open(&config(&format!("redis://{}", line.address)));
    let session = stored(&store).await;

    line.lose_next_answer();
    let rotated = store.exchange(&rotation(&session, NOW), None).await.unwrap();
    assert!(line.has_lost());
    let rotated = *rotated.expect("it was exchanged");
    assert_eq!(rotated.refresh.generation, 1);

    line.lose_next_answer();
    let counted = store.replace(&rotated, SessionChange::CountReplay).await.unwrap();
    assert_eq!(counted.expect("it was counted").previous.expect("a token").replays, 1);

    line.lose_next_answer();
    let (id, user, reason) = (session.id, session.user, RevokeReason::Logout);
    assert_eq!(store.end_session(id, user, reason, NOW).await, Ok(EndOutcome::Ended));
    assert!(line.has_lost());
    assert_eq!(store.end_session(id, user, reason, NOW).await, Ok(EndOutcome::EndedBefore));

    let mut opening = Openings::default().existing(user);
    opening.session.id = SessionId::parse("0192f0c1-2b3c-7def-8abc-0123456789ab").unwrap();
    opening.single_use = Some(single_use("again"));
    line.lose_next_answer();
    assert_eq!(store.open(&opening).await, Ok(OpenOutcome::Opened));
}

/// A connection that the server has closed is replaced within the call.
#[tokio::test]
async fn a_closed_connection_and_a_forgotten_script_cost_nothing() {
    program_or_exit();
    let server = RedisServer::start(&[]).await;
    let store = open(&config(&server.url()));
    let session = stored(&store).await;
    for _ in 0..3 {
        server.command("CLIENT KILL TYPE normal SKIPME yes").await;
        server.command("SCRIPT FLUSH").await;
        assert_eq!(found(&store, session.id).await, session);
    }
}

/// It keeps its old connections open, and answers reads from what it had.
#[tokio::test]
async fn a_demoted_primary_answers_nothing() {
    program_or_exit();
    let (server, other) = (RedisServer::start(&[]).await, RedisServer::start(&[]).await);
    let store = open(&config(&server.url()));
    let session = stored(&store).await;
    let port = other.address().port();
    server.command(&format!("REPLICAOF 127.0.0.1 {port}")).await;
    let refused = store.load(session.id).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let refused = store.exchange(&rotation(&session, NOW), None).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

/// Nobody is signed out by a memory that is full.
#[tokio::test]
async fn a_full_memory_refuses_and_forgets_nothing() {
    program_or_exit();
    let server = RedisServer::start(&[]).await;
    let store = open(&config(&server.url()));
    let session = stored(&store).await;
    assert_eq!(store.check().await, Ok(()));
    server.command("CONFIG SET maxmemory 1").await;
    let refused = store.exchange(&rotation(&session, NOW), None).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    server.command("CONFIG SET maxmemory 0").await;
    assert!(store.exchange(&rotation(&session, NOW), None).await.unwrap().is_some());
}

/// Callers do not wait one after another for a server that is not there.
#[tokio::test]
async fn every_call_is_bounded() {
    program_or_exit();
    let server = RedisServer::start(&[]).await;
    let config = RedisConfig {
        connect_timeout: Duration::from_millis(300),
        timeout: Duration::from_millis(600),
        ..config(&server.url())
    };
    let store = open(&config);
    let session = stored(&store).await;
    server.pause(true);
    let started = tokio::time::Instant::now();
    let calls = (0..50).map(|_| store.load(session.id));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    server.pause(false);
    assert_eq!(found(&store, session.id).await, session);
}
