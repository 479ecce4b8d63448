//! `GET /admin/v1/overview`: how this process is, for the console.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use mintgate_admin::json::date;
use mintgate_domain::ErrorCode;
use mintgate_domain::model::Actor;
use mintgate_domain::ports::{CircuitState, ConfigurationFile, Counts, ListedKey};
use serde::Serialize;
use utoipa::ToSchema;

use super::history::{History, Minute};
use super::{Desk, answer};
use crate::error::ApiError;
use crate::operations::Operations;
use crate::refusals::Refusal;

/// Answers how this process is.
pub(super) async fn show(
    desk: Desk,
    operations: Data<dyn Operations>,
    history: Data<History>,
) -> Result<HttpResponse, ApiError> {
    let api = &*desk.api;
    let configuration = api.configuration.clone();
    // Reads the file.
    let file = web::block(move || configuration.file()).await;
    let file =
        file.map_err(|error| ApiError::new(ErrorCode::InternalError).because(error.to_string()))?;
    let counts = api.counts.counts();
    let minutes = history.until_now(&counts);
    let refusals = Arc::clone(&api.public.load().refusals);
    let body = OverviewBody {
        at: date(api.clock.now().into()),
        token: OverviewTokenBody {
            name: desk.operator.name.clone(),
            kind: match desk.operator.actor {
                Actor::ClientCertificate(_) => "certificate",
                _ => "token",
            },
            scope: if desk.operator.may_write { "write" } else { "read" },
        },
        version: env!("CARGO_PKG_VERSION"),
        not_ready: operations.not_ready().await,
        providers: ProviderBody::all(&counts, SignIns::by_provider(&minutes)),
        keys: api.keys.list().into_iter().map(KeyBody::from).collect(),
        configuration: ConfigurationBody::new(api.configuration.hash(), file),
        audit_log: AuditLogBody::from(&counts),
        minutes: minutes.iter().map(MinuteBody::from).collect(),
        refusal_counts: refusals.counts(),
        refusals: refusals.last().into_iter().map(SeenRefusalBody::from).collect(),
    };
    Ok(answer(&body))
}

/// How this process is. Numbers are of this process alone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OverviewBody {
    /// The time of this answer.
    at: String,
    /// The token, or the client certificate, that asked.
    token: OverviewTokenBody,
    /// What runs.
    version: &'static str,
    /// Why the process should not be sent requests; null if it is ready.
    #[schema(required)]
    not_ready: Option<String>,
    providers: Vec<ProviderBody>,
    keys: Vec<KeyBody>,
    configuration: ConfigurationBody,
    audit_log: AuditLogBody,
    /// The last hour, the present minute last.
    minutes: Vec<MinuteBody>,
    /// How many refusals there were since the start, by error code.
    refusal_counts: BTreeMap<&'static str, u64>,
    /// The last refusals of each error code, the newest first.
    refusals: Vec<SeenRefusalBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct OverviewTokenBody {
    name: String,
    /// `token` or `certificate`.
    kind: &'static str,
    /// `read` or `write`.
    scope: &'static str,
}

/// A configured provider, and its last hour.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProviderBody {
    id: String,
    /// `closed`: asked as usual. `half_open`: one call to try. `open`: not asked, because it failed.
    circuit: &'static str,
    /// Sign-ins that succeeded in the last hour.
    signed_in: u64,
    /// Requests for tokens that did not, in the last hour.
    not_signed_in: u64,
}

impl ProviderBody {
    fn all(counts: &Counts, mut sign_ins: BTreeMap<String, SignIns>) -> Vec<Self> {
        let body = counts.circuits.iter().map(|(id, circuit)| {
            let SignIns { signed_in, not_signed_in } = sign_ins.remove(id).unwrap_or_default();
            let circuit = match circuit {
                CircuitState::Closed => "closed",
                CircuitState::HalfOpen => "half_open",
                CircuitState::Open => "open",
            };
            Self { id: id.clone(), circuit, signed_in, not_signed_in }
        });
        body.collect()
    }
}

/// Sign-ins in the last hour.
#[derive(Default)]
struct SignIns {
    signed_in: u64,
    not_signed_in: u64,
}

impl SignIns {
    fn by_provider(minutes: &[Minute]) -> BTreeMap<String, Self> {
        let mut providers = BTreeMap::<String, Self>::new();
        for ((provider, outcome), count) in minutes.iter().flat_map(|minute| &minute.sign_ins) {
            let one = providers.entry(provider.clone()).or_default();
            if outcome == "success" {
                one.signed_in += count;
            } else {
                one.not_signed_in += count;
            }
        }
        providers
    }
}

/// A signing key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct KeyBody {
    kid: String,
    /// `access` or `refresh`: the tokens that it signs.
    r#use: &'static str,
    #[schema(required)]
    algorithm: Option<&'static str>,
    /// `next`, `current`, `former` or `unusable`.
    state: &'static str,
    created_at: String,
}

impl From<ListedKey> for KeyBody {
    fn from(key: ListedKey) -> Self {
        Self {
            kid: key.id.as_str().to_owned(),
            r#use: key.key_use.name(),
            algorithm: key.algorithm,
            state: key.state,
            created_at: date(key.created_at),
        }
    }
}

/// What runs, and whether its file says the same.
#[derive(Debug, Serialize, ToSchema)]
struct ConfigurationBody {
    /// A digest of what runs: the one that the audit log names.
    hash: String,
    /// `same`, `differs`, `unusable`, or `none` where nothing was read from a file or the environment.
    file: &'static str,
    /// The keys whose values differ. Secrets are not compared.
    differing: Vec<String>,
    /// Why the service would not start with the file.
    #[schema(required)]
    mistakes: Option<String>,
}

impl ConfigurationBody {
    fn new(hash: String, file: ConfigurationFile) -> Self {
        let body = |file, differing, mistakes| Self { hash, file, differing, mistakes };
        match file {
            ConfigurationFile::None => body("none", Vec::new(), None),
            ConfigurationFile::Read { differing } if differing.is_empty() => {
                body("same", differing, None)
            }
            ConfigurationFile::Read { differing } => body("differs", differing, None),
            ConfigurationFile::Unusable(mistakes) => body("unusable", Vec::new(), Some(mistakes)),
        }
    }
}

/// The audit log, as of a minute ago.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditLogBody {
    entries: u64,
    #[schema(required)]
    oldest: Option<String>,
    #[schema(required)]
    pruned_at: Option<String>,
    /// Events that wait to be written.
    queued: u64,
    /// Events that were lost since the start.
    dropped: u64,
}

impl From<&Counts> for AuditLogBody {
    fn from(counts: &Counts) -> Self {
        Self {
            entries: counts.audit.entries,
            oldest: counts.audit.oldest.map(date),
            pruned_at: counts.audit.pruned_at.map(date),
            queued: counts.audit_queued,
            dropped: counts.audit_dropped,
        }
    }
}

/// What happened in a minute, by outcome; what did not happen is not in it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MinuteBody {
    from: String,
    sign_ins: BTreeMap<String, u64>,
    refreshes: BTreeMap<String, u64>,
}

impl From<&Minute> for MinuteBody {
    fn from(minute: &Minute) -> Self {
        let mut sign_ins = BTreeMap::new();
        for ((_, outcome), count) in &minute.sign_ins {
            *sign_ins.entry(outcome.clone()).or_default() += count;
        }
        Self { from: date(minute.from), sign_ins, refreshes: minute.refreshes.clone() }
    }
}

/// A request of the public listener that was refused, or failed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SeenRefusalBody {
    at: String,
    method: String,
    route: String,
    status: u16,
    error_code: &'static str,
    /// The real reason, which the caller was not told.
    #[schema(required)]
    reason: Option<String>,
    /// The caller may have chosen it.
    request_id: String,
    #[schema(required)]
    provider: Option<String>,
    #[schema(required)]
    network: Option<String>,
    #[schema(required)]
    user_agent: Option<String>,
}

impl From<Refusal> for SeenRefusalBody {
    fn from(refusal: Refusal) -> Self {
        let Refusal { at, method, route, status, error_code, .. } = refusal;
        Self {
            at: date(at),
            method,
            route,
            status,
            error_code,
            reason: refusal.reason,
            request_id: refusal.request_id,
            provider: refusal.provider,
            network: refusal.network,
            user_agent: refusal.user_agent,
        }
    }
}
