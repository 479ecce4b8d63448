//! The signing keys: there, rotated, and the same ones in every process.

use std::time::Duration;

use mintgate_domain::model::{KeyUse, LiveReplica, ReplicaId, Timestamp, key_dispute};
use mintgate_settings::{KeyLocation, KeySettings, Settings, StoreUrl};
use mintgate_signer_jose::{KeyInfo, KeyRing, KeyState};

use crate::finding::Finding;

/// How much later than `keys.rotate_after_days` a rotation may come.
const ROTATION_MARGIN: Duration = Duration::from_hours(24);
/// The age at which a key is old where nothing rotates it.
const OLD: Duration = Duration::from_hours(400 * 24);
/// This command among the processes on the store; theirs are random.
const THIS: ReplicaId = *b"mintgate doctor\0";

/// The findings about the keys that a configuration names.
pub(crate) fn judge(
    settings: &Settings,
    ring: &anyhow::Result<std::sync::Arc<KeyRing>>,
    replicas: &[LiveReplica],
    now: Timestamp,
) -> Vec<Finding> {
    let ring = match ring {
        Err(error) => {
            let own = vec![unreadable(&settings.keys, &format!("{error:#}"))];
            return own.into_iter().chain(among(replicas)).collect();
        }
        Ok(ring) => ring,
    };
    let keys = ring.keys();
    let mut findings = vec![readable(&keys)];
    for key_use in KeyUse::ALL {
        let current =
            keys.iter().find(|key| key.key_use == key_use && key.state == KeyState::Current);
        findings.extend(current.map(|key| age(key, &settings.keys, now)));
    }
    findings.push(sharing(settings, ring, replicas));
    findings
}

fn unreadable(keys: &KeySettings, reason: &str) -> Finding {
    const CHECK: &str = "keys.readable";
    if let Some(KeyLocation::Directory(path)) = keys.location()
        && !path.is_dir()
    {
        return Finding::cannot_be_told(
            CHECK,
            format!("there is no directory {} (keys.dir)", path.display()),
            "the service makes it when it starts for the first time",
            "if the service has run already, run this in its working directory, with its configuration \
             and as its user",
        );
    }
    Finding::wrong(
        CHECK,
        format!("the signing keys cannot be used: {reason}"),
        "the service does not start, or is not ready",
        "restore the keys or the key that encrypts them (keys.encryption_key); `mintgate keys list` shows \
         what can be read",
    )
}

fn readable(keys: &[KeyInfo]) -> Finding {
    if keys.is_empty() {
        return Finding::cannot_be_told(
            "keys.readable",
            "there are no signing keys yet",
            "the service makes them when it starts for the first time",
            "start the service and run this again",
        );
    }
    Finding::good("keys.readable", format!("{} signing keys can be used", keys.len()))
}

fn age(key: &KeyInfo, settings: &KeySettings, now: Timestamp) -> Finding {
    const CHECK: &str = "keys.age";
    let use_name = key.key_use.name();
    if key.number.is_none() {
        return Finding::cannot_be_told(
            CHECK,
            format!("the {use_name} key is given in the configuration"),
            "Mintgate does not know when it was made, and never rotates it",
            format!("exchange it once a year, or leave keys.{use_name}_key out"),
        )
        .about(use_name);
    }
    let began = key.activates_at.unwrap_or(key.created_at);
    let seconds = now.as_unix().saturating_sub(began.as_unix());
    let signs_for = Duration::from_secs(seconds.try_into().unwrap_or_default());
    let days = signs_for.as_secs() / 86_400;
    let what = format!("the {use_name} key {} has signed for {days} days", key.id);
    let finding = match settings.rotate_every {
        Some(every) if signs_for > every + settings.publish_ahead + ROTATION_MARGIN => {
            let every = every.as_secs() / 86_400;
            Finding::wrong(
                CHECK,
                format!("{what}, and is to be rotated every {every}"),
                "no process rotates the keys: the service does not run, cannot write them, or has another \
                 configuration",
                "look into the log of the service for the reason, or run `mintgate keys rotate`",
            )
        }
        None if signs_for > OLD => Finding::wrong(
            CHECK,
            format!("{what}, and nothing rotates it"),
            "whoever has come by it can sign tokens for as long as it is used",
            format!("run `mintgate keys rotate --use {use_name}`, or set keys.rotate_after_days"),
        ),
        _ => Finding::good(CHECK, what),
    };
    finding.about(use_name)
}

/// Whether the processes that live have the keys of this configuration, and of one another.
fn sharing(settings: &Settings, ring: &KeyRing, replicas: &[LiveReplica]) -> Finding {
    const CHECK: &str = "keys.shared";
    if let Some(finding) = among(replicas) {
        return finding;
    }
    let own = LiveReplica {
        id: THIS,
        name: "this command".to_owned(),
        access: ring.key_set(KeyUse::Access),
        refresh: ring.key_set(KeyUse::Refresh),
        silent_for: Duration::ZERO,
    };
    let live: Vec<_> = replicas.iter().cloned().chain([own]).collect();
    if ring.is_loaded()
        && let Some(dispute) = key_dispute(&THIS, &live)
    {
        return Finding::wrong(
            CHECK,
            format!("{} has other signing keys than this configuration", dispute.with.name),
            "a service with this configuration would refuse what the other has signed, and is not ready",
            "run this with the configuration of the service; give all processes the same \
             keys.encryption_key, or the same keys.access_key and keys.refresh_key",
        );
    }
    let is_private = matches!(settings.keys.location(), Some(KeyLocation::Directory(_)));
    if is_private && replicas.len() < 2 && matches!(settings.store.url, StoreUrl::Postgres(_)) {
        return Finding::cannot_be_told(
            CHECK,
            format!("the keys are in the directory {} (keys.dir)", settings.keys.dir.display()),
            "a second process on this store with a directory of its own is refused at its start",
            "before there is a second one, set keys.encryption_key and run `mintgate keys adopt`, which moves the \
             keys into the store",
        );
    }
    Finding::good(
        CHECK,
        format!("{} process(es) run on the store, with the same keys", replicas.len()),
    )
}

/// What is wrong between the processes that live, if anything is.
fn among(replicas: &[LiveReplica]) -> Option<Finding> {
    let disputes = replicas.iter().filter_map(|one| Some((one, key_dispute(&one.id, replicas)?)));
    let (one, dispute) = disputes.into_iter().find(|(_, dispute)| dispute.gives_way)?;
    Some(Finding::wrong(
        "keys.shared",
        format!("{} and {} have different signing keys", dispute.with.name, one.name),
        "each refuses what the other has signed: people are signed out at random, and the one that came \
         later is not ready",
        "give both the same keys.encryption_key, or the same keys.access_key and keys.refresh_key; stop \
         both, and start them again",
    ))
}
