//! Encryption of stored keys and tokens: the store can neither read, change nor move them.

use std::error::Error as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, SealedToken, SessionId};
use mintgate_domain::ports::UpstreamTokenKind::{Access, Id, Refresh};
use mintgate_domain::ports::{KeyRepo, TokenSeal as _};
use mintgate_domain::{SecretText, chain};
use mintgate_signer_jose::{
    FixedKeys, KeyEncryptionKey, KeyRingError, KeySeal, RetireOutcome, SealError, SealedTokens,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::common::{Replica, World, made_jwk, ring_config};

pub(crate) fn key(byte: u8) -> KeyEncryptionKey {
    KeyEncryptionKey::from_text(&SecretText::new(STANDARD.encode([byte; 32]))).unwrap()
}

fn sealed(world: &World, key: KeyEncryptionKey) -> Replica {
    world.replica_with(ring_config(), KeySeal::Sealed(Arc::new(key.into())), FixedKeys::default())
}

/// A store with four sealed keys.
async fn sealed_world() -> World {
    let world = World::default();
    sealed(&world, key(1)).apply_due_changes().await;
    world
}

/// The error of loading the stored keys.
async fn refusal(world: &World) -> KeyRingError {
    let replica = sealed(world, key(1));
    let refused = replica.ring.load().await.unwrap_err();
    assert!(!replica.ring.is_loaded());
    // The ring does not replace them by new keys.
    let before = world.repo.store.list_keys().await.unwrap();
    replica.ring.apply_due_changes(&*world.sessions).await.unwrap_err();
    assert_eq!(world.repo.store.list_keys().await.unwrap(), before);
    refused
}

fn why(error: KeyRingError) -> SealError {
    match error {
        KeyRingError::Sealed { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn a_key_encryption_key_is_32_bytes_in_base64_base64url_or_hexadecimal() {
    let bytes: Vec<u8> = (0..32).map(|n| n * 8 + 7).collect();
    let hex = bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let standard = STANDARD.encode(&bytes);
    assert!(standard.contains(['+', '/']), "{standard}");
    let name = |text: String| {
        let read = KeyEncryptionKey::from_text(&SecretText::new(text));
        read.map(|key| key.name().to_owned())
    };
    let expected = name(standard.clone()).unwrap();
    for text in [
        format!(" {standard}\n"),
        STANDARD_NO_PAD.encode(&bytes),
        URL_SAFE.encode(&bytes),
        URL_SAFE_NO_PAD.encode(&bytes),
        hex.to_uppercase(),
        hex.clone(),
    ] {
        assert_eq!(name(text.clone()).as_ref(), Ok(&expected), "{text}");
    }
    for text in [
        String::new(),
        "correct horse battery staple".to_owned(),
        STANDARD.encode([1; 31]),
        STANDARD.encode([1; 33]),
        "1".repeat(32),
        hex.replace('7', "g"),
        format!("{hex}00"),
        format!("{standard}{standard}"),
        standard.replacen('+', "-", 1),
    ] {
        let error = name(text.clone()).unwrap_err().to_string();
        assert!(error.contains("openssl rand -base64 32"), "{error}");
        assert!(text.is_empty() || !error.contains(&text), "{error}");
    }
}

#[test]
fn the_debug_output_of_a_key_encryption_key_holds_its_name_only() {
    let text = STANDARD.encode([7; 32]);
    let key = KeyEncryptionKey::from_text(&SecretText::new(text.clone())).unwrap();
    let shown = format!("{key:?} {:?}", KeySeal::Sealed(Arc::new(self::key(7).into())));
    assert!(shown.contains(key.name()) && !shown.contains(&text[..8]), "{shown}");
    assert!(!shown.contains("7, 7"), "{shown}");
    assert_eq!(key.name(), self::key(7).name());
    assert_ne!(key.name(), self::key(8).name());
}

#[tokio::test]
async fn replicas_with_the_same_key_encryption_key_share_sealed_keys() {
    let world = sealed_world().await;
    let (a, b) = (sealed(&world, key(1)), sealed(&world, key(1)));
    a.ring.load().await.unwrap();
    b.ring.load().await.unwrap();
    b.verify(&a.access()).await.unwrap();
    b.verify_refresh(&a.refresh()).await.unwrap();
}

#[tokio::test]
async fn case_45_a_stored_key_holds_no_private_member_in_plain_text() {
    let world = sealed_world().await;
    for record in world.repo.store.list_keys().await.unwrap() {
        let parts: Vec<&str> = record.material.expose().split('.').collect();
        let [header, "", _, ciphertext, _] = parts.as_slice() else { panic!("no compact JWE") };
        let header: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        let expected = json!({
            "alg": "dir", "enc": "A256GCM", "cty": "jwk+json", "kid": key(1).name(),
            "key_use": record.key_use.name(), "key_number": record.number,
            "key_id": record.id.as_str(),
        });
        assert_eq!(header, expected);
        let ciphertext = URL_SAFE_NO_PAD.decode(ciphertext).unwrap();
        for clear in [&b"\"kty\""[..], b"\"d\"", b"\"k\"", record.id.as_str().as_bytes()] {
            assert!(!ciphertext.windows(clear.len()).any(|window| window == clear));
        }
    }
}

#[tokio::test]
async fn the_same_key_is_never_sealed_the_same_way_twice() {
    let world = sealed_world().await;
    let other = sealed_world().await;
    let iv = |record: &KeyRecord| record.material.expose().split('.').nth(2).unwrap().to_owned();
    let mut ivs: Vec<String> = world.repo.store.list_keys().await.unwrap().iter().map(iv).collect();
    ivs.extend(other.repo.store.list_keys().await.unwrap().iter().map(iv));
    ivs.sort();
    ivs.dedup();
    assert_eq!(ivs.len(), 8);
}

#[tokio::test]
async fn the_error_for_another_key_encryption_key_names_both() {
    let world = sealed_world().await;
    let replica = sealed(&world, key(2));
    let error = replica.ring.load().await.unwrap_err();
    let text = chain(&error).to_string();
    for name in [key(1).name(), key(2).name()] {
        assert!(text.contains(name), "{text}");
    }
    let KeyRingError::Sealed { key_use, number, source, .. } = error else { panic!("{error}") };
    assert_eq!((key_use, number), (KeyUse::Access, 1));
    let (sealed_under, configured) = (key(1).name().to_owned(), key(2).name().to_owned());
    assert_eq!(source, SealError::OtherKey { sealed_under, configured });
    assert!(replica.ring.apply_due_changes(&*world.sessions).await.is_err());
    assert_eq!(world.repo.store.list_keys().await.unwrap().len(), 4);
}

#[tokio::test]
async fn material_of_another_row_is_refused() {
    let world = sealed_world().await;
    for (from, to) in [(0, 1), (1, 0), (2, 0), (0, 2), (3, 2)] {
        world.repo.forge(move |records| records[to].material = records[from].material.clone());
        let error = why(refusal(&world).await);
        assert_eq!(error, SealError::OtherRow);
        // The whole row except its use and number.
        world.repo.forge(move |records| {
            let (number, key_use) = (records[to].number, records[to].key_use);
            records[to] = KeyRecord { number, key_use, ..records[from].clone() };
        });
        let error = why(refusal(&world).await);
        assert_eq!(error, SealError::OtherRow);
    }
    world.repo.forge(|records| records[0].id = KeyId::new("other"));
    assert_eq!(why(refusal(&world).await), SealError::OtherRow);
    world.repo.forge_no_more();
    sealed(&world, key(1)).ring.load().await.unwrap();
}

#[tokio::test]
async fn a_sealed_key_that_was_changed_is_refused() {
    let world = sealed_world().await;
    let material = world.repo.store.list_keys().await.unwrap().remove(0).material;
    let parts: Vec<&str> = material.expose().split('.').collect();
    let [header, _, iv, ciphertext, tag] = parts.as_slice() else { panic!("no compact JWE") };
    let flipped = |part: &str, at: usize| {
        let mut bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        bytes[at] ^= 1;
        URL_SAFE_NO_PAD.encode(bytes)
    };
    let decoded = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let with = |from: &str, to: &str| {
        assert!(decoded.contains(from), "{decoded}");
        URL_SAFE_NO_PAD.encode(decoded.replacen(from, to, 1))
    };
    let cut = |part: &str, bytes: usize| {
        URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(part).unwrap()[..bytes])
    };
    let changed = [
        String::new(),
        "....".to_owned(),
        format!("{header}..{iv}.{ciphertext}"),
        format!("{header}..{iv}.{ciphertext}.{tag}."),
        format!("{header}..{iv}.{ciphertext}."),
        format!("{header}..{iv}.{}.{tag}", flipped(ciphertext, 0)),
        format!("{header}..{iv}.{}.{tag}", flipped(ciphertext, 100)),
        format!("{header}..{iv}.{}.{tag}", cut(ciphertext, 50)),
        format!("{header}..{iv}..{tag}"),
        format!("{header}..{}.{ciphertext}.{tag}", flipped(iv, 0)),
        format!("{header}...{ciphertext}.{tag}"),
        format!("{header}..{iv}.{ciphertext}.{}", flipped(tag, 15)),
        format!("{header}..{iv}.{ciphertext}.{}", cut(tag, 4)),
        format!("{header}..{iv}.{ciphertext}.{}", cut(tag, 15)),
        format!("{header}.AAAA.{iv}.{ciphertext}.{tag}"),
        format!("{}..{iv}.{ciphertext}.{tag}", with("A256GCM", "A128GCM")),
        format!("{}..{iv}.{ciphertext}.{tag}", with("\"dir\"", "\"A256KW\"")),
        format!("{}..{iv}.{ciphertext}.{tag}", with("jwk+json", "json")),
        format!("{}..{iv}.{ciphertext}.{tag}", with("{", "{\"zip\":\"DEF\",")),
        format!("{}..{iv}.{ciphertext}.{tag}", with("{", "{\"crit\":[\"x\"],\"x\":1,")),
        format!("{}..{iv}.{ciphertext}.{tag}", with("{", "{\"key_number\":1,")),
        format!("{}..{iv}.{ciphertext}.{tag}", with("{", "{ ")),
    ];
    for forged in changed {
        let material = SecretText::new(forged.clone());
        world.repo.forge(move |records| records[0].material = material.clone());
        let error = why(refusal(&world).await);
        let is_refused = matches!(error, SealError::Changed(_) | SealError::OtherRow);
        assert!(is_refused, "{forged}: {error}");
    }
    // The error shows the name in the header only if it is a valid name.
    let from = format!("\"kid\":\"{}\"", key(1).name());
    let other = format!("{}..{iv}.{ciphertext}.{tag}", with(&from, "\"kid\":\"a\\nb\""));
    world.repo.forge(move |records| records[0].material = SecretText::new(other.clone()));
    let error = why(refusal(&world).await);
    let SealError::OtherKey { sealed_under, .. } = error else { panic!("{error}") };
    assert!(!sealed_under.contains('\n'), "{sealed_under}");
}

#[tokio::test]
async fn a_key_in_plain_text_in_the_store_is_refused() {
    let world = sealed_world().await;
    let plain = made_jwk(mintgate_signer_jose::Algorithm::Es256).await;
    world.repo.forge(move |records| records[0].material = SecretText::new(plain.clone()));
    assert_eq!(why(refusal(&world).await), SealError::NotSealed);
}

#[tokio::test]
async fn a_sealed_key_without_a_key_encryption_key_is_refused() {
    let world = sealed_world().await;
    let error = world.replica(ring_config()).ring.load().await.unwrap_err();
    assert_eq!(why(error), SealError::NoKey);
}

#[tokio::test]
async fn a_loaded_ring_keeps_its_keys_when_stored_rows_are_changed() {
    let world = sealed_world().await;
    let replica = sealed(&world, key(1));
    replica.ring.load().await.unwrap();
    let token = replica.access();
    world.repo.forge(|records| records.swap(0, 1));
    replica.ring.load().await.unwrap(); // The order of rows has no meaning.
    world.repo.forge(|records| records[0].material = records[1].material.clone());
    replica.ring.load().await.unwrap_err();
    replica.verify(&token).await.unwrap();
    world.repo.forge_no_more();
    let outcome = replica.ring.retire(&replica.current(KeyUse::Access).id).await.unwrap();
    assert!(matches!(outcome, RetireOutcome::Replaced(_)));
}

const REFRESH_TOKEN: &str = "the-provider's-refresh-token";

fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

fn tokens(byte: u8) -> SealedTokens {
    SealedTokens::new(Arc::new(key(byte).into()))
}

fn sealed_token() -> SealedToken {
    tokens(1).seal(session(7), Refresh, &SecretText::new(REFRESH_TOKEN)).unwrap()
}

/// The error of opening a sealed token; checks that it holds nothing of the token.
fn unopened(seal: &SealedTokens, session: SessionId, sealed: &str) -> SealError {
    cause(&seal.open(session, Refresh, &SealedToken(sealed.to_owned())).unwrap_err(), sealed)
}

fn cause(error: &mintgate_domain::ports::SealError, sealed: &str) -> SealError {
    let text = chain(error).to_string();
    assert!(!text.contains("refresh-token") && !text.contains(sealed.get(..9).unwrap_or("?")));
    error.0.source().and_then(|source| source.downcast_ref::<SealError>()).unwrap().clone()
}

#[test]
fn a_sealed_token_opens_for_its_session_on_every_replica() {
    let longest = "é".repeat(4096);
    for text in [REFRESH_TOKEN, "", "0.AX\u{0}\n{}", &longest] {
        for kind in [Refresh, Id, Access] {
            let sealed = tokens(1).seal(session(7), kind, &SecretText::new(text)).unwrap();
            assert_eq!(tokens(1).open(session(7), kind, &sealed).unwrap().expose(), text);
        }
    }
}

#[test]
fn case_45_a_sealed_token_names_its_session_and_hides_its_content() {
    let SealedToken(sealed) = sealed_token();
    let parts: Vec<&str> = sealed.split('.').collect();
    let [header, "", iv, ciphertext, tag] = parts.as_slice() else { panic!("{sealed}") };
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let expected = json!({
        "alg": "dir", "enc": "A256GCM", "kid": key(1).name(),
        "purpose": "provider-refresh-token", "session": session(7).to_string(),
    });
    assert_eq!(header, expected);
    assert_eq!((iv.len(), tag.len()), (16, 22));
    let ciphertext = URL_SAFE_NO_PAD.decode(ciphertext).unwrap();
    assert_eq!(ciphertext.len(), REFRESH_TOKEN.len());
    assert!(!ciphertext.windows(4).any(|window| REFRESH_TOKEN.as_bytes().starts_with(window)));
}

#[test]
fn the_same_token_is_never_sealed_the_same_way_twice() {
    let mut ivs: Vec<String> =
        (0..100).map(|_| sealed_token().0.split('.').nth(2).unwrap().to_owned()).collect();
    ivs.sort();
    ivs.dedup();
    assert_eq!(ivs.len(), 100);
}

#[test]
fn a_token_of_another_session_is_refused() {
    let SealedToken(sealed) = sealed_token();
    let error = unopened(&tokens(1), session(8), &sealed);
    assert_eq!(error, SealError::OtherRow);
    // Changing the session in the header does not help.
    let (header, rest) = sealed.split_once('.').unwrap();
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let header = header.replace(&session(7).to_string(), &session(8).to_string());
    let moved = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
    let error = unopened(&tokens(1), session(8), &moved);
    assert!(matches!(error, SealError::Changed(_)), "{error}");
}

#[test]
fn the_error_for_a_token_under_another_key_names_both_keys() {
    let SealedToken(sealed) = sealed_token();
    let error = unopened(&tokens(2), session(7), &sealed);
    let names = [key(1).name().to_owned(), key(2).name().to_owned()];
    let [sealed_under, configured] = names;
    assert_eq!(error, SealError::OtherKey { sealed_under, configured });
    let (header, rest) = sealed.split_once('.').unwrap();
    let header = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let renamed = URL_SAFE_NO_PAD.encode(header.replace(key(1).name(), key(2).name()));
    let error = unopened(&tokens(2), session(7), &format!("{renamed}.{rest}"));
    assert!(matches!(error, SealError::Changed(_)), "{error}");
}

#[test]
fn a_sealed_token_that_was_changed_is_refused() {
    let SealedToken(sealed) = sealed_token();
    let parts: Vec<&str> = sealed.split('.').collect();
    let [header, _, iv, ciphertext, tag] = parts.as_slice() else { panic!("no compact JWE") };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let mut changed = Vec::new();
    // Every bit of the initialization vector, the ciphertext and the tag.
    for (number, part) in parts.iter().enumerate().skip(2) {
        for bit in 0..decode(part).len() * 8 {
            let mut bytes = decode(part);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
            parts[number] = URL_SAFE_NO_PAD.encode(bytes);
            changed.push(parts.join("."));
        }
    }
    for bytes in 0..16 {
        let cut = URL_SAFE_NO_PAD.encode(&decode(tag)[..bytes]);
        changed.push(format!("{header}..{iv}.{ciphertext}.{cut}"));
    }
    let decoded = String::from_utf8(decode(header)).unwrap();
    for (from, to) in [
        ("A256GCM", "A128GCM"),
        ("A256GCM", "A256CBC-HS512"),
        ("\"dir\"", "\"A256KW\""),
        ("\"dir\"", "\"none\""),
        ("\"dir\"", "[\"dir\"]"),
        ("provider-refresh-token", "something-else"),
        ("\"purpose\"", "\"purposes\""),
        ("{", "{\"cty\":\"jwk+json\","),
        ("{", "{\"zip\":\"DEF\","),
        ("{", "{\"crit\":[\"x\"],\"x\":1,"),
        ("{", "{\"alg\":\"none\","),
        ("{", "{ "),
        ("{", "["),
    ] {
        assert!(decoded.contains(from), "{decoded}");
        let header = URL_SAFE_NO_PAD.encode(decoded.replacen(from, to, 1));
        changed.push(format!("{header}..{iv}.{ciphertext}.{tag}"));
    }
    changed.extend([
        String::new(),
        "....".to_owned(),
        REFRESH_TOKEN.to_owned(),
        format!("{header}..{iv}.{ciphertext}"),
        format!("{header}..{iv}.{ciphertext}.{tag}."),
        format!("{header}..{iv}..{tag}"),
        format!("{header}...{ciphertext}.{tag}"),
        format!("{header}.AAAA.{iv}.{ciphertext}.{tag}"),
        format!("..{iv}.{ciphertext}.{tag}"),
        format!("{sealed}="),
        format!(" {sealed}"),
    ]);
    for forged in changed {
        let opened = tokens(1).open(session(7), Refresh, &SealedToken(forged.clone()));
        assert!(opened.is_err(), "{forged}");
    }
    assert_eq!(
        tokens(1).open(session(7), Refresh, &sealed_token()).unwrap().expose(),
        REFRESH_TOKEN
    );
}

#[tokio::test]
async fn a_sealed_key_does_not_open_as_a_token_nor_a_sealed_token_as_a_key() {
    let world = sealed_world().await;
    for record in world.repo.store.list_keys().await.unwrap() {
        let error = unopened(&tokens(1), session(7), record.material.expose());
        assert!(matches!(error, SealError::Changed(_)), "{error}");
    }
    let SealedToken(sealed) = sealed_token();
    world.repo.forge(move |records| records[0].material = SecretText::new(sealed.clone()));
    assert!(matches!(why(refusal(&world).await), SealError::Changed(_)));
    // A sealed token whose content is a key is refused as well.
    let plain = made_jwk(mintgate_signer_jose::Algorithm::Es256).await;
    let SealedToken(sealed) = tokens(1).seal(session(7), Refresh, &SecretText::new(plain)).unwrap();
    world.repo.forge(move |records| records[0].material = SecretText::new(sealed.clone()));
    assert!(matches!(why(refusal(&world).await), SealError::Changed(_)));
}

#[test]
fn a_token_of_another_kind_is_refused() {
    for (kind, other) in [(Refresh, Id), (Id, Access), (Access, Refresh), (Access, Id)] {
        let sealed = tokens(1).seal(session(7), kind, &SecretText::new(REFRESH_TOKEN)).unwrap();
        let error = tokens(1).open(session(7), other, &sealed).unwrap_err();
        assert_eq!(cause(&error, &sealed.0), SealError::OtherRow);
    }
}

#[test]
fn a_token_that_is_too_long_is_neither_sealed_nor_opened() {
    let seal = tokens(1);
    for (kind, limit) in [(Refresh, 8 * 1024), (Id, 16 * 1024), (Access, 16 * 1024)] {
        let fits = SecretText::new("x".repeat(limit));
        let sealed = seal.seal(session(7), kind, &fits).unwrap();
        assert_eq!(seal.open(session(7), kind, &sealed).unwrap(), fits);
        let long = SecretText::new("x".repeat(limit + 1));
        let error = cause(&seal.seal(session(7), kind, &long).unwrap_err(), long.expose());
        assert_eq!(error, SealError::TooLong(limit));
        let padded = SealedToken(format!("{}{}", sealed.0, "A".repeat(limit)));
        let error = cause(&seal.open(session(7), kind, &padded).unwrap_err(), &padded.0);
        assert_eq!(error, SealError::TooLong(limit / 2 * 3));
    }
}

#[test]
fn the_debug_output_of_a_token_seal_holds_no_key() {
    let shown = format!("{:?}", tokens(7));
    assert!(shown.contains(key(7).name()) && !shown.contains("7, 7"), "{shown}");
}
