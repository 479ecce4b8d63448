//! Keys, claims, replicas and fakes that several tests share.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintgate_domain::model::{
    AccessClaims, AccessGrant, ClaimValue, KeyId, KeyRecord, KeyUse, ProviderId, RefreshClaims,
    Role, SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::{
    Clock, Housekeeping, KeyRepo, StoreError, SweepStep, Swept, TokenSigner, TokenVerifier,
    VerifiedAccess, VerifiedRefresh, VerifyError,
};
use mintgate_domain::{PresentedToken, SecretText, chain};
use mintgate_signer_jose::{
    AccessTokenType, Algorithm, FixedKeys, JoseTokens, KeyInfo, KeyRing, KeyRingConfig,
    KeyRingError, KeySeal, KeyState, SigningKey, StoredKeys, TokensConfig,
};
use mintgate_testkit::{ManualClock, MemoryStore};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use serde_json::json;
use uuid::Uuid;

pub(crate) const ISSUER: &str = "https://auth.example.com";
pub(crate) const AUDIENCE: &str = "https://api.example.com";

pub(crate) fn ec_pem(curve: Nid) -> String {
    let key = EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap();
    text(PKey::from_ec_key(key).unwrap().private_key_to_pem_pkcs8().unwrap())
}

pub(crate) fn rsa_pem(bits: u32) -> String {
    let key = Rsa::generate(bits).unwrap();
    text(PKey::from_rsa(key).unwrap().private_key_to_pem_pkcs8().unwrap())
}

pub(crate) fn ed25519_pem() -> String {
    text(PKey::generate_ed25519().unwrap().private_key_to_pem_pkcs8().unwrap())
}

pub(crate) fn oct_jwk(bytes: &[u8]) -> String {
    json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(bytes)}).to_string()
}

pub(crate) fn text(pem: Vec<u8>) -> String {
    String::from_utf8(pem).unwrap()
}

/// A new key as an operator would configure it.
pub(crate) fn key_text(algorithm: Algorithm) -> String {
    match algorithm {
        Algorithm::Es256 => ec_pem(Nid::X9_62_PRIME256V1),
        Algorithm::Es384 => ec_pem(Nid::SECP384R1),
        Algorithm::EdDsa => ed25519_pem(),
        Algorithm::Rs256 | Algorithm::Ps256 => rsa_pem(2048),
        Algorithm::Hs256 => {
            let mut secret = [0; 32];
            openssl::rand::rand_bytes(&mut secret).unwrap();
            oct_jwk(&secret)
        }
    }
}

pub(crate) fn read(text: &str, algorithm: Algorithm) -> SigningKey {
    SigningKey::from_text(&SecretText::new(text), algorithm).unwrap()
}

/// The text of the error that refuses a key.
pub(crate) fn refusal(text: &str, algorithm: Algorithm) -> String {
    chain(&SigningKey::from_text(&SecretText::new(text), algorithm).unwrap_err()).to_string()
}

pub(crate) fn fresh(algorithm: Algorithm) -> SigningKey {
    read(&key_text(algorithm), algorithm)
}

pub(crate) fn tokens_config() -> TokensConfig {
    TokensConfig {
        issuer: ISSUER.to_owned(),
        audience: vec![AUDIENCE.to_owned()],
        client_id: "mintgate".to_owned(),
    }
}

/// A ring of these two keys and no others.
pub(crate) fn fixed_ring(access: SigningKey, refresh: SigningKey) -> Result<KeyRing, KeyRingError> {
    let fixed = FixedKeys { access: Some(access), refresh: Some(refresh) };
    let clock = Arc::new(ManualClock::default());
    KeyRing::new(ring_config(), None, fixed, clock)
}

/// Tokens of these two keys and no others.
pub(crate) fn fixed(access: SigningKey, refresh: SigningKey) -> JoseTokens {
    let ring = fixed_ring(access, refresh).unwrap();
    JoseTokens::new(tokens_config(), Arc::new(ring)).unwrap()
}

pub(crate) const PUBLISH_AHEAD: Duration = Duration::from_mins(6);
pub(crate) const ACCESS_TTL: Duration = Duration::from_hours(1);
pub(crate) const REFRESH_TTL: Duration = Duration::from_hours(720);

pub(crate) fn ring_config() -> KeyRingConfig {
    KeyRingConfig {
        access: Algorithm::Es256,
        refresh: Algorithm::Hs256,
        access_type: AccessTokenType::AtJwt,
        publish_ahead: PUBLISH_AHEAD,
        rotate_every: None,
        access_ttl: ACCESS_TTL,
        refresh_ttl: REFRESH_TTL,
    }
}

/// A repository that counts readings, fails on request, and alters what it returns.
#[derive(Default)]
pub(crate) struct FakeKeyRepo {
    pub(crate) store: MemoryStore,
    pub(crate) lists: AtomicUsize,
    /// While this is set, every call fails.
    pub(crate) down: Mutex<bool>,
    /// Applied to the records of every reading.
    forge: Mutex<Option<Forge>>,
}

type Forge = Box<dyn Fn(&mut Vec<KeyRecord>) + Send>;

impl FakeKeyRepo {
    pub(crate) fn set_down(&self, down: bool) {
        *self.down.lock().unwrap() = down;
    }

    pub(crate) fn forge(&self, forge: impl Fn(&mut Vec<KeyRecord>) + Send + 'static) {
        *self.forge.lock().unwrap() = Some(Box::new(forge));
    }

    pub(crate) fn forge_no_more(&self) {
        *self.forge.lock().unwrap() = None;
    }

    pub(crate) fn lists(&self) -> usize {
        self.lists.load(Ordering::Relaxed)
    }

    fn up(&self) -> Result<&MemoryStore, StoreError> {
        if *self.down.lock().unwrap() {
            return Err(StoreError::Unavailable("pulled the plug".into()));
        }
        Ok(&self.store)
    }
}

#[async_trait]
impl KeyRepo for FakeKeyRepo {
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        let mut records = self.up()?.list_keys().await?;
        // As a database does, it lets others run meanwhile.
        tokio::task::yield_now().await;
        if let Some(forge) = &*self.forge.lock().unwrap() {
            forge(&mut records);
        }
        Ok(records)
    }

    async fn add_key(&self, record: &KeyRecord) -> Result<bool, StoreError> {
        self.up()?.add_key(record).await
    }

    async fn activate_key(
        &self,
        key_use: KeyUse,
        id: &KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.up()?.activate_key(key_use, id, at).await
    }

    async fn remove_key(&self, key_use: KeyUse, id: &KeyId) -> Result<bool, StoreError> {
        self.up()?.remove_key(key_use, id).await
    }

    async fn reseal_key(
        &self,
        record: &KeyRecord,
        material: &SecretText,
    ) -> Result<bool, StoreError> {
        self.up()?.reseal_key(record, material).await
    }

    async fn sealing_keys(&self) -> Result<Vec<String>, StoreError> {
        self.up()?.sealing_keys().await
    }

    async fn note_sealing_key(&self, name: &str) -> Result<(), StoreError> {
        self.up()?.note_sealing_key(name).await
    }

    async fn forget_sealing_key(&self, name: &str) -> Result<(), StoreError> {
        self.up()?.forget_sealing_key(name).await
    }
}

/// A store of sessions that knows only which refresh keys they depend on.
#[derive(Default)]
pub(crate) struct Sessions(pub(crate) Mutex<HashSet<KeyId>>);

#[async_trait]
impl Housekeeping for Sessions {
    async fn sweep(&self, _: &SweepStep) -> Result<Swept, StoreError> {
        Ok(Swept::default())
    }

    async fn refresh_key_in_use(&self, id: &KeyId, _: Timestamp) -> Result<bool, StoreError> {
        Ok(self.0.lock().unwrap().contains(id))
    }
}

/// The repository, clock and sessions that replicas share.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) repo: Arc<FakeKeyRepo>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sessions: Arc<Sessions>,
}

impl World {
    /// A replica that has not read the repository yet.
    pub(crate) fn replica(&self, config: KeyRingConfig) -> Replica {
        self.replica_with(config, KeySeal::Plain, FixedKeys::default())
    }

    pub(crate) fn replica_with(
        &self,
        config: KeyRingConfig,
        seal: KeySeal,
        fixed: FixedKeys,
    ) -> Replica {
        let stored = StoredKeys { repo: self.repo.clone(), seal };
        self.replica_of(config, Some(stored), fixed).unwrap()
    }

    pub(crate) fn replica_of(
        &self,
        config: KeyRingConfig,
        stored: Option<StoredKeys>,
        fixed: FixedKeys,
    ) -> Result<Replica, KeyRingError> {
        let ring = Arc::new(KeyRing::new(config, stored, fixed, self.clock.clone())?);
        let tokens = JoseTokens::new(tokens_config(), Arc::clone(&ring)).unwrap();
        Ok(Replica { ring, tokens, sessions: Arc::clone(&self.sessions) })
    }

    /// A replica that has made all missing keys.
    pub(crate) async fn started(&self, config: KeyRingConfig) -> Replica {
        let replica = self.replica(config);
        replica.apply_due_changes().await;
        replica
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

/// One process of the service.
pub(crate) struct Replica {
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) tokens: JoseTokens,
    sessions: Arc<Sessions>,
}

impl Replica {
    /// Applies what is due; the changes as texts such as `added access 1`.
    pub(crate) async fn apply_due_changes(&self) -> Vec<String> {
        use mintgate_signer_jose::KeyChange;
        let changes = self.ring.apply_due_changes(&*self.sessions).await.unwrap();
        let describe = |change: &KeyChange| {
            let verb = match change {
                KeyChange::Added(_) => "added",
                KeyChange::Activated(_) => "activated",
                KeyChange::Removed(_) => "removed",
            };
            let key = change.key();
            format!("{verb} {} {}", key.key_use.name(), key.number.unwrap())
        };
        changes.iter().map(describe).collect()
    }

    /// The keys of a use as texts such as `1 former`.
    pub(crate) fn states(&self, key_use: KeyUse) -> Vec<String> {
        let describe = |key: KeyInfo| format!("{} {}", key.number.unwrap(), key.state.name());
        self.ring.keys().into_iter().filter(|key| key.key_use == key_use).map(describe).collect()
    }

    pub(crate) fn current(&self, key_use: KeyUse) -> KeyInfo {
        self.only(key_use, KeyState::Current)
    }

    pub(crate) fn next(&self, key_use: KeyUse) -> KeyInfo {
        self.only(key_use, KeyState::Next)
    }

    fn only(&self, key_use: KeyUse, state: KeyState) -> KeyInfo {
        let keys = self.ring.keys().into_iter();
        let mut keys = keys.filter(|key| key.key_use == key_use && key.state == state);
        let key = keys.next().unwrap();
        assert_eq!(keys.next(), None);
        key
    }

    pub(crate) fn access(&self) -> String {
        access_token(&self.tokens)
    }

    pub(crate) fn refresh(&self) -> String {
        refresh_token(&self.tokens)
    }

    pub(crate) async fn verify(&self, token: &str) -> Result<VerifiedAccess, VerifyError> {
        self.tokens.verify_access(&PresentedToken::new(token)).await
    }

    pub(crate) async fn verify_refresh(&self, token: &str) -> Result<VerifiedRefresh, VerifyError> {
        self.tokens.verify_refresh(&PresentedToken::new(token)).await
    }
}

pub(crate) fn access_token(tokens: &JoseTokens) -> String {
    let (provider, grant) = (ProviderId::new("corp"), full_grant());
    tokens.sign_access(&access_claims(&provider, &grant)).unwrap().expose().to_owned()
}

pub(crate) fn refresh_token(tokens: &JoseTokens) -> String {
    let key_id = tokens.refresh_key_id().unwrap();
    tokens.sign_refresh(&refresh_claims(&key_id)).unwrap().expose().to_owned()
}

/// The `kid` of a token.
pub(crate) fn kid(token: &str) -> String {
    let header: serde_json::Value = serde_json::from_str(&opened(token)[0]).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// The stored private JWK of a key that a ring has made.
pub(crate) async fn made_jwk(algorithm: Algorithm) -> String {
    let world = World::default();
    world.started(KeyRingConfig { access: algorithm, ..ring_config() }).await;
    let records = world.repo.store.list_keys().await.unwrap();
    records[0].material.expose().to_owned()
}

/// A grant without optional claims.
pub(crate) fn grant() -> AccessGrant {
    AccessGrant {
        roles: vec![Role::new("user")],
        auth_time: Timestamp::from_unix(1_699_999_990),
        acr: None,
        amr: vec![],
        extra: BTreeMap::new(),
    }
}

pub(crate) fn full_grant() -> AccessGrant {
    let extra = [
        ("tenant".to_owned(), ClaimValue::Integer(7)),
        ("ratio".to_owned(), ClaimValue::Float(0.5)),
        ("name".to_owned(), ClaimValue::Text("A \"B\" é".to_owned())),
    ];
    AccessGrant {
        roles: vec![Role::new("admin"), Role::new("user")],
        acr: Some("mfa".to_owned()),
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        extra: extra.into(),
        ..grant()
    }
}

pub(crate) fn access_claims<'a>(
    provider: &'a ProviderId,
    grant: &'a AccessGrant,
) -> AccessClaims<'a> {
    AccessClaims {
        subject: UserId::from_uuid(Uuid::from_u128(10)),
        session: SessionId::from_uuid(Uuid::from_u128(11)),
        token_id: 12,
        provider,
        epoch: 4,
        grant,
        issued_at: Timestamp::from_unix(1_700_000_000),
        expires_at: Timestamp::from_unix(1_700_003_600),
    }
}

pub(crate) fn refresh_claims(key_id: &KeyId) -> RefreshClaims<'_> {
    RefreshClaims {
        subject: UserId::from_uuid(Uuid::from_u128(10)),
        session: SessionId::from_uuid(Uuid::from_u128(11)),
        generation: 3,
        key_id,
        issued_at: Timestamp::from_unix(1_700_000_000),
        expires_at: Timestamp::from_unix(1_702_592_000),
    }
}

/// The header and the payload of a token, decoded.
pub(crate) fn opened(token: &str) -> [String; 2] {
    let mut parts =
        token.split('.').map(|part| text(URL_SAFE_NO_PAD.decode(part).unwrap_or_default()));
    [parts.next().unwrap(), parts.next().unwrap()]
}
