//! The manifests in deploy/kubernetes and the configuration beside them fit together.

use super::guides::with_files;
use crate::{Settings, StoreUrl, Warning};

const CONFIGURATION: &str = include_str!("../../../../deploy/kubernetes/mintgate.toml");
const DEPLOYMENT: &str = include_str!("../../../../deploy/kubernetes/deployment.yaml");
const MIGRATION: &str = include_str!("../../../../deploy/kubernetes/migrate.yaml");
const AVAILABILITY: &str = include_str!("../../../../deploy/kubernetes/availability.yaml");
const COMPOSE: &str = include_str!("../../../../docker-compose.yml");

/// What Postgres allows by default (`max_connections`), without those for administrators.
const CONNECTIONS: u64 = 97;
/// What requests in flight may take after the drain, in seconds.
const FINISHING: u64 = 10;

/// The only values of a key in a manifest, which must be the same wherever it is.
fn value<'a>(manifest: &'a str, key: &str) -> &'a str {
    let start = format!("{key}:");
    let lines = manifest.lines().map(str::trim_start).map(|line| line.trim_start_matches("- "));
    let values = lines.filter_map(|line| line.strip_prefix(&start));
    let mut values = values.map(|value| value.split('#').next().unwrap_or_default().trim());
    let first = values.next().unwrap_or_else(|| panic!("no {key}"));
    assert!(values.all(|other| other == first), "{key} has several values");
    first
}

fn number(manifest: &str, key: &str) -> u64 {
    value(manifest, key).parse().unwrap_or_else(|error| panic!("{key}: {error}"))
}

fn settings() -> Settings {
    let dir = tempfile::tempdir().unwrap();
    let text = with_files(CONFIGURATION, dir.path());
    Settings::from_toml(&text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_configuration_is_accepted_without_a_warning() {
    let settings = settings();
    assert_eq!(settings.warnings(), Vec::<Warning>::new());
    assert!(matches!(settings.store.url, StoreUrl::Postgres(_)));
}

#[test]
fn a_pod_has_longer_to_end_than_the_service_takes() {
    let drain = settings().server.drain.as_secs();
    assert!(drain > 0);
    assert!(drain + FINISHING < number(DEPLOYMENT, "terminationGracePeriodSeconds"));

    let drain = number(COMPOSE, "MINTGATE__SERVER__DRAIN_SECS");
    let patience = value(COMPOSE, "stop_grace_period").strip_suffix('s').unwrap();
    assert!(drain + FINISHING < patience.parse().unwrap());
}

#[test]
fn the_most_processes_have_no_more_connections_than_postgres_allows() {
    let each = u64::from(settings().store.pool_size) + 1;
    let most = number(AVAILABILITY, "maxReplicas") + number(DEPLOYMENT, "maxSurge");
    assert!(most * each <= CONNECTIONS);
    assert!(CONFIGURATION.contains(&format!("that is {} connections", most * each)));
}

#[test]
fn what_is_mounted_and_opened_is_what_the_configuration_names() {
    let settings = settings();
    let port = |name: &str| format!("{{name: {name}, containerPort: ");
    assert!(DEPLOYMENT.contains(&format!("{}{}}}", port("http"), settings.server.listen.port())));
    assert!(DEPLOYMENT.contains(&format!("{}{}}}", port("ops"), settings.ops.listen.port())));
    assert_eq!(
        value(DEPLOYMENT, "prometheus.io/port").trim_matches('"'),
        settings.ops.listen.port().to_string()
    );
    let secrets = CONFIGURATION.lines().filter_map(|line| line.split_once("_file = \""));
    let directories: Vec<_> = secrets.filter_map(|(_, path)| path.rsplit_once('/')).collect();
    assert_eq!(directories.len(), 3);
    for manifest in [DEPLOYMENT, MIGRATION] {
        for (directory, _) in &directories {
            assert!(manifest.contains(&format!("mountPath: {directory},")), "{directory}");
        }
        // The group of the pod may read them, and nobody else.
        assert_eq!(value(manifest, "defaultMode"), "0440");
        for line in ["runAsNonRoot: true", "readOnlyRootFilesystem: true"] {
            assert!(manifest.contains(line), "{line}");
        }
    }
}
