//! `mintgate keys`: lists, rotates and retires the signing keys, whether or not the service runs.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use mintgate_domain::model::{KeyId, KeyUse};
use mintgate_domain::ports::{Clock, NoMetrics};
use mintgate_signer_jose::{Algorithm, KeyInfo, KeyRing, KeyState, RetireOutcome};

use super::{KeyLocation, explained, rfc_3339};
use crate::settings::{KeyRingSettings, KeySettings};
use crate::store::Store;
use crate::system::SystemClock;

/// What can be done with the signing keys.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum KeysCommand {
    /// Show every key: what it signs, its state, and when it signs.
    List,
    /// Let the next key take over. Tokens signed by the key before it stay valid.
    Rotate {
        /// Which tokens the key signs.
        #[arg(long = "use", value_name = "USE", default_value = "access")]
        key_use: RotatedUse,
    },
    /// Remove a key at once. Everything it has signed is refused from then on.
    Retire {
        /// The KID of the key in `mintgate keys list`.
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Remove the key, and not only say what that would do.
        #[arg(long)]
        emergency: bool,
    },
}

/// The uses of a key on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RotatedUse {
    /// The key that signs access tokens.
    Access,
    /// The key that signs refresh tokens.
    Refresh,
}

impl KeysCommand {
    /// Runs the command. Answers the lines to print, which never hold key material.
    ///
    /// # Errors
    /// If the keys or their storage cannot be used, if there is no such key or it is given in the
    /// configuration, or if a key is to be retired without `--emergency`.
    pub async fn run(&self, settings: &KeyRingSettings) -> anyhow::Result<String> {
        self.run_by(settings, Arc::new(SystemClock::new())).await
    }

    async fn run_by(
        &self,
        settings: &KeyRingSettings,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<String> {
        let keys = &settings.keys;
        if let Some(KeyLocation::Directory(path)) = KeyLocation::of(keys) {
            // The service makes the directory. If it is missing, this command runs with another
            // configuration or working directory than the service, which would not use its keys.
            ensure!(
                path.is_dir(),
                "keys.dir: there is no directory {}; run this with the configuration, in the \
                 working directory, and as the user that the service runs with",
                path.display()
            );
        }
        let store = Store::open(&settings.store, Arc::new(NoMetrics), Arc::clone(&clock))?;
        let ring = super::open(&settings.keys, &settings.tokens, &store, Arc::clone(&clock))?;
        ring.load().await.map_err(|error| explained(error, keys))?;
        match self {
            Self::List if ring.keys().is_empty() => {
                Ok("There are no keys yet; the service makes them when it starts.\n".to_owned())
            }
            Self::List => Ok(table(&ring.keys())),
            Self::Rotate { key_use: RotatedUse::Access } => {
                rotate(&ring, KeyUse::Access, keys, &*clock).await
            }
            Self::Rotate { key_use: RotatedUse::Refresh } => {
                rotate(&ring, KeyUse::Refresh, keys, &*clock).await
            }
            Self::Retire { kid, emergency } => {
                retire(&ring, &KeyId::new(kid.as_str()), *emergency, keys).await
            }
        }
    }
}

async fn rotate(
    ring: &KeyRing,
    key_use: KeyUse,
    settings: &KeySettings,
    clock: &dyn Clock,
) -> anyhow::Result<String> {
    let is_current = |key: &KeyInfo| key.key_use == key_use && key.state == KeyState::Current;
    let before = ring.keys().into_iter().find(is_current);
    let next = ring.rotate(key_use).await.map_err(|error| explained(error, settings))?;
    let (kid, name) = (&next.id, key_use.name());
    let at = next.activates_at.context("the key has no activation time")?;
    let activation = if at <= clock.now().into() {
        format!("The {name} key {kid} signs from now on.\n")
    } else {
        format!(
            "The {name} key {kid} signs from {} on.\n\
             Not at once: the key was published at {}, and whoever verifies tokens has to know a \
             key before it signs (keys.publish_ahead_secs = {}).\n",
            rfc_3339(at),
            rfc_3339(next.created_at),
            settings.publish_ahead.as_secs()
        )
    };
    let superseded = match before {
        Some(before) if next.state == KeyState::Current && before.id != next.id => {
            format!("Tokens that {} has signed stay valid.\n", before.id)
        }
        _ => String::new(),
    };
    Ok(activation + &superseded + &reload_notice(settings))
}

async fn retire(
    ring: &KeyRing,
    id: &KeyId,
    emergency: bool,
    settings: &KeySettings,
) -> anyhow::Result<String> {
    let Some(key) = ring.keys().into_iter().find(|key| key.id == *id) else {
        return Err(unknown_key(ring, id));
    };
    let name = key.key_use.name();
    if !emergency && key.number.is_some() {
        bail!(
            "this removes the {name} key {id} at once, and is for a key that somebody else may \
             have. {}\nTo replace a key in the usual way, use `mintgate keys rotate`: nobody \
             notices that. If this is an emergency, add --emergency.",
            consequences(&key)
        );
    }
    let successor = match ring.retire(id).await.map_err(|error| explained(error, settings))? {
        RetireOutcome::Replaced(next) => format!("{} signs in its place from now on.\n", next.id),
        RetireOutcome::Removed => String::new(),
        RetireOutcome::Unknown => return Err(unknown_key(ring, id)),
    };
    let (consequences, notice) = (consequences(&key), reload_notice(settings));
    Ok(format!("The {name} key {id} is removed.\n{successor}{consequences}\n{notice}"))
}

fn reload_notice(settings: &KeySettings) -> String {
    let secs = settings.reload.as_secs();
    format!("Running services notice within {secs} s (keys.reload_secs); no restart is needed.\n")
}

fn unknown_key(ring: &KeyRing, id: &KeyId) -> anyhow::Error {
    let keys = ring.keys();
    if keys.is_empty() {
        return anyhow::anyhow!("there is no key {id}, and no other either");
    }
    anyhow::anyhow!("there is no key {id}; there are\n{}", table(&keys).trim_end())
}

/// What the removal of a key means for the tokens that it has signed.
fn consequences(key: &KeyInfo) -> String {
    const VERIFIERS: &str = " Services that verify tokens with the JWKS go on accepting them until \
                             they fetch it again, which they may put off for 300 s.";
    match (key.key_use, key.state) {
        (_, KeyState::Next) => "It has not signed anything yet.".to_owned(),
        (_, KeyState::Unusable) => {
            "This version does not know its algorithm and refuses what it has signed already; \
             versions that know the algorithm then refuse it as well."
                .to_owned()
        }
        (KeyUse::Refresh, _) => {
            "Every refresh token it has signed is refused: everybody who is signed in with one \
             must sign in again."
                .to_owned()
        }
        (KeyUse::Access, _) => {
            let is_published = key.algorithm != Some(Algorithm::Hs256);
            "Every access token it has signed is refused; clients get another by refreshing, \
             nobody has to sign in again."
                .to_owned()
                + if is_published { VERIFIERS } else { "" }
        }
    }
}

/// The keys as lines with aligned columns.
fn table(keys: &[KeyInfo]) -> String {
    let header = ["USE", "KID", "ALGORITHM", "STATE", "CREATED", "SIGNS"].map(str::to_owned);
    let rows: Vec<_> =
        std::iter::once(header).chain(keys.iter().map(|key| row(key, keys))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(key: &KeyInfo, keys: &[KeyInfo]) -> [String; 6] {
    let configured = key.number.is_none();
    [
        key.key_use.name().to_owned(),
        key.id.to_string(),
        key.algorithm.map_or("unknown", Algorithm::name).to_owned(),
        key.state.name().to_owned(),
        if configured { "(configured)".to_owned() } else { rfc_3339(key.created_at) },
        if configured { "always".to_owned() } else { signs(key, keys) },
    ]
}

/// When a stored key signs.
fn signs(key: &KeyInfo, keys: &[KeyInfo]) -> String {
    let at = |word: &str, at| format!("{word} {}", rfc_3339(at));
    match key.state {
        KeyState::Next => key.activates_at.map_or("stands by".to_owned(), |time| at("from", time)),
        KeyState::Current => key.activates_at.map(|time| at("since", time)).unwrap_or_default(),
        KeyState::Former => {
            let later = keys.iter().filter(|other| {
                other.key_use == key.key_use
                    && other.number > key.number
                    && other.state != KeyState::Unusable
            });
            let until = later.filter_map(|other| other.activates_at).min();
            until.map(|time| at("until", time)).unwrap_or_default()
        }
        KeyState::Unusable => "not with this version".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;
    use mintgate_testkit::ManualClock;

    use super::super::tests::{ENCRYPTION_KEY, FIXED_ACCESS_KEY, FIXED_REFRESH_KEY, TestKeys};
    use super::*;
    use crate::settings::Settings;

    /// What a service that has just started for the first time leaves behind.
    async fn started(keys: &TestKeys, clock: &Arc<ManualClock>) -> Settings {
        let settings = keys.settings("");
        keys.started_ring(&settings, clock).await;
        settings
    }

    async fn run(command: KeysCommand, settings: &Settings, clock: &Arc<ManualClock>) -> String {
        command
            .run_by(&settings.key_ring(), clock.clone())
            .await
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn refusal(
        command: KeysCommand,
        settings: &Settings,
        clock: &Arc<ManualClock>,
    ) -> String {
        let error = command.run_by(&settings.key_ring(), clock.clone()).await.unwrap_err();
        format!("{error:#}")
    }

    /// The rows of the table, in cells; without the header.
    async fn list(settings: &Settings, clock: &Arc<ManualClock>) -> Vec<Vec<String>> {
        let text = run(KeysCommand::List, settings, clock).await;
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(header, ["USE", "KID", "ALGORITHM", "STATE", "CREATED", "SIGNS"]);
        let cells = |line: &str| {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.map(str::to_owned).collect()
        };
        lines.map(cells).collect()
    }

    fn rotate(key_use: RotatedUse) -> KeysCommand {
        KeysCommand::Rotate { key_use }
    }

    fn retire(kid: &str, emergency: bool) -> KeysCommand {
        KeysCommand::Retire { kid: kid.to_owned(), emergency }
    }

    async fn list_tells_every_key(keys: TestKeys) {
        let clock = Arc::new(ManualClock::default());
        let settings = started(&keys, &clock).await;
        let rows = list(&settings, &clock).await;
        let now = "2026-01-01T00:00:00Z";
        let expected = [
            ["access", "ES256", "current", now, "since 2026-01-01T00:00:00Z"],
            ["access", "ES256", "next", now, "stands by"],
            ["refresh", "HS256", "current", now, "since 2026-01-01T00:00:00Z"],
            ["refresh", "HS256", "next", now, "stands by"],
        ];
        assert_eq!(rows.len(), expected.len());
        for (row, [key_use, algorithm, state, created, signs]) in rows.iter().zip(expected) {
            assert_eq!(*row, [key_use, &row[1], algorithm, state, created, signs]);
        }
    }

    async fn rotate_waits_until_the_next_key_has_been_published_long_enough(keys: TestKeys) {
        let clock = Arc::new(ManualClock::default());
        let settings = started(&keys, &clock).await;
        let before = list(&settings, &clock).await;
        clock.advance(Duration::from_mins(1));
        let text = run(rotate(RotatedUse::Access), &settings, &clock).await;
        assert_eq!(
            text,
            format!(
                "The access key {} signs from 2026-01-01T00:10:00Z on.\n\
                 Not at once: the key was published at 2026-01-01T00:00:00Z, and whoever verifies \
                 tokens has to know a key before it signs (keys.publish_ahead_secs = 600).\n\
                 Running services notice within 10 s (keys.reload_secs); no restart is needed.\n",
                before[1][1]
            )
        );
        let rows = list(&settings, &clock).await;
        assert_eq!(rows[0][5], "since 2026-01-01T00:00:00Z");
        assert_eq!(rows[1][5], "from 2026-01-01T00:10:00Z");
        // Asked again, it is the same one.
        assert_eq!(run(rotate(RotatedUse::Access), &settings, &clock).await, text);
        clock.advance(Duration::from_mins(10));
        let rows = list(&settings, &clock).await;
        assert_eq!((&*rows[0][3], &*rows[0][5]), ("former", "until 2026-01-01T00:10:00Z"));
        assert_eq!((&*rows[1][3], &*rows[1][5]), ("current", "since 2026-01-01T00:10:00Z"));
    }

    async fn rotate_is_at_once_where_the_next_key_is_known_already(keys: TestKeys) {
        let clock = Arc::new(ManualClock::default());
        let settings = started(&keys, &clock).await;
        let before = list(&settings, &clock).await;
        clock.advance(Duration::from_mins(10));
        let text = run(rotate(RotatedUse::Refresh), &settings, &clock).await;
        assert_eq!(
            text,
            format!(
                "The refresh key {} signs from now on.\nTokens that {} has signed stay valid.\n\
                 Running services notice within 10 s (keys.reload_secs); no restart is needed.\n",
                before[3][1], before[2][1]
            )
        );
        let states: Vec<_> =
            list(&settings, &clock).await.into_iter().map(|row| row[3].clone()).collect();
        assert_eq!(states, ["current", "next", "former", "current", "next"]);
    }

    async fn retire_without_emergency_says_what_it_would_do_and_does_nothing(keys: TestKeys) {
        let clock = Arc::new(ManualClock::default());
        let settings = started(&keys, &clock).await;
        let before = list(&settings, &clock).await;
        for (kid, words) in [
            (&before[0][1], "clients get another by refreshing"),
            (&before[1][1], "It has not signed anything yet."),
            (&before[2][1], "must sign in again"),
        ] {
            let text = refusal(retire(kid, false), &settings, &clock).await;
            assert!(text.contains(words) && text.contains("add --emergency"), "{text}");
        }
        assert_eq!(list(&settings, &clock).await, before);
    }

    async fn retire_removes_a_key_and_the_next_one_signs(keys: TestKeys) {
        let clock = Arc::new(ManualClock::default());
        let settings = started(&keys, &clock).await;
        let before = list(&settings, &clock).await;
        let (retired, next) = (&before[2][1], &before[3][1]);
        let text = run(retire(retired, true), &settings, &clock).await;
        assert_eq!(
            text,
            format!(
                "The refresh key {retired} is removed.\n{next} signs in its place from now on.\n\
                 Every refresh token it has signed is refused: everybody who is signed in with one \
                 must sign in again.\n\
                 Running services notice within 10 s (keys.reload_secs); no restart is needed.\n"
            )
        );
        let rows = list(&settings, &clock).await;
        assert!(rows.iter().all(|row| row[1] != *retired));
        assert_eq!((&rows[2][1], &*rows[2][3]), (next, "current"));
        assert_eq!(rows[3][3], "next");

        // The one that stands by leaves no gap either.
        let stands_by = &rows[1][1];
        let text = run(retire(stands_by, true), &settings, &clock).await;
        assert!(text.contains("It has not signed anything yet."), "{text}");
        let after = list(&settings, &clock).await;
        assert_eq!((after.len(), &after[0], &*after[1][3]), (4, &rows[0], "next"));
        assert!(after[1][1] != *stands_by);
    }

    async fn an_unknown_key_is_told_with_the_known_ones(keys: TestKeys) {
        let clock = Arc::new(ManualClock::default());
        let settings = started(&keys, &clock).await;
        let rows = list(&settings, &clock).await;
        for emergency in [false, true] {
            let text = refusal(retire("nobody", emergency), &settings, &clock).await;
            assert!(text.starts_with("there is no key nobody; there are\nUSE "), "{text}");
            assert!(rows.iter().all(|row| text.contains(&row[1])), "{text}");
        }
        assert_eq!(list(&settings, &clock).await, rows);
    }

    async fn nothing_that_is_said_holds_key_material(keys: TestKeys) {
        let clock = Arc::new(ManualClock::default());
        let settings = started(&keys, &clock).await;
        let secrets = keys.secrets(&settings).await;
        assert!(secrets.len() >= 4);
        let kids: Vec<_> =
            list(&settings, &clock).await.into_iter().map(|row| row[1].clone()).collect();
        let mut said = run(KeysCommand::List, &settings, &clock).await;
        said += &run(rotate(RotatedUse::Access), &settings, &clock).await;
        said += &refusal(retire(&kids[0], false), &settings, &clock).await;
        said += &refusal(retire("nobody", true), &settings, &clock).await;
        said += &run(retire(&kids[0], true), &settings, &clock).await;
        for secret in secrets.iter().map(String::as_str).chain([ENCRYPTION_KEY]) {
            assert!(!said.contains(secret), "{said}");
        }
    }

    macro_rules! in_both_places {
        ($($name:ident),+ $(,)?) => {
            mod in_a_directory {
                use super::*;
                $(#[tokio::test] async fn $name() { super::$name(TestKeys::in_directory().await).await; })+
            }
            mod in_a_store {
                use super::*;
                $(#[tokio::test] async fn $name() { super::$name(TestKeys::in_store().await).await; })+
            }
        };
    }

    in_both_places!(
        list_tells_every_key,
        rotate_waits_until_the_next_key_has_been_published_long_enough,
        rotate_is_at_once_where_the_next_key_is_known_already,
        retire_without_emergency_says_what_it_would_do_and_does_nothing,
        retire_removes_a_key_and_the_next_one_signs,
        an_unknown_key_is_told_with_the_known_ones,
        nothing_that_is_said_holds_key_material,
    );

    #[tokio::test]
    async fn a_key_of_the_configuration_is_listed_and_not_changed() {
        let clock = Arc::new(ManualClock::default());
        let keys = TestKeys::in_directory().await;
        started(&keys, &clock).await;
        let settings = keys.settings(&format!("access_key = '''{FIXED_ACCESS_KEY}'''"));
        let rows = list(&settings, &clock).await;
        assert_eq!(
            rows[0],
            ["access", "fixed-access", "ES256", "current", "(configured)", "always"]
        );
        assert_eq!((&*rows[1][0], rows.len()), ("refresh", 3));
        for command in [
            rotate(RotatedUse::Access),
            retire("fixed-access", true),
            retire("fixed-access", false),
        ] {
            let text = refusal(command, &settings, &clock).await;
            assert!(text.contains("the access key is given in the configuration"), "{text}");
        }
        let text = run(rotate(RotatedUse::Refresh), &settings, &clock).await;
        assert!(text.starts_with("The refresh key "), "{text}");
    }

    #[tokio::test]
    async fn a_key_of_an_unknown_algorithm_is_listed_as_unknown_and_can_be_retired() {
        let clock = Arc::new(ManualClock::default());
        let keys = TestKeys::in_directory().await;
        let settings = started(&keys, &clock).await;
        let before = list(&settings, &clock).await;
        keys.make_algorithm_unknown("access-1.jwk");
        let rows = list(&settings, &clock).await;
        let kid = &before[0][1];
        let (created, signs) = ("2026-01-01T00:00:00Z", "not with this version");
        assert_eq!(rows[0], ["access", kid, "unknown", "unusable", created, signs]);
        assert_eq!(rows[1..], before[1..]);

        let text = refusal(retire(kid, false), &settings, &clock).await;
        assert!(text.contains("This version does not know its algorithm"), "{text}");
        let text = run(retire(kid, true), &settings, &clock).await;
        assert!(text.starts_with(&format!("The access key {kid} is removed.\nThis version")));
        let states: Vec<_> =
            list(&settings, &clock).await.into_iter().map(|row| row[3].clone()).collect();
        assert_eq!(states, ["current", "next", "current", "next"]);
    }

    #[tokio::test]
    async fn keys_that_are_all_configured_need_neither_directory_nor_store() {
        let clock = Arc::new(ManualClock::default());
        let keys = TestKeys::in_directory().await;
        let settings = keys.settings(&format!(
            "access_key = '''{FIXED_ACCESS_KEY}'''\nrefresh_key = '''{FIXED_REFRESH_KEY}'''"
        ));
        assert_eq!(list(&settings, &clock).await.len(), 2);
        assert!(!keys.directory().exists());
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_an_error_and_is_not_made() {
        let clock = Arc::new(ManualClock::default());
        let keys = TestKeys::in_directory().await;
        let settings = keys.settings("");
        for command in [KeysCommand::List, rotate(RotatedUse::Access), retire("x", true)] {
            let text = refusal(command, &settings, &clock).await;
            assert!(text.starts_with("keys.dir: there is no directory "), "{text}");
        }
        assert!(!keys.directory().exists());
    }

    #[tokio::test]
    async fn a_store_without_its_schema_is_an_error_that_says_what_to_do() {
        let clock = Arc::new(ManualClock::default());
        let keys = TestKeys::in_store_without_schema();
        let text = refusal(KeysCommand::List, &keys.settings(""), &clock).await;
        assert!(text.contains("mintgate migrate"), "{text}");
    }

    #[derive(clap::Parser)]
    struct Cli {
        #[command(subcommand)]
        command: KeysCommand,
    }

    #[test]
    fn a_kid_may_begin_with_a_hyphen() {
        for line in
            [["keys", "retire", "-a_B", "--emergency"], ["keys", "retire", "--emergency", "--x-"]]
        {
            let KeysCommand::Retire { kid, emergency } = Cli::parse_from(line).command else {
                panic!("{line:?}")
            };
            assert!(emergency && ["-a_B", "--x-"].contains(&kid.as_str()), "{line:?} {kid}");
        }
    }
}
