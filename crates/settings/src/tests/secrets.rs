//! No secret in any output.

use super::{
    CLIENT, EC_KEY, Mistake, PROVIDER, load, mistakes, openid, quoted, refusal, with_provider,
};
use crate::{Settings, StoreUrl};

const SECRET: &str = "correct-horse-battery";

/// A valid `keys.encryption_key`; [`SECRET`] is too short for one.
const ENCRYPTION_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

const APPLE: &str = "[[providers]]\nid = \"apple\"\npreset = \"apple\"\nteam_id = \"T\"\n\
                     client_key_id = \"K\"\n";

/// A line of the key that `APPLE` has.
fn key_line() -> &'static str {
    EC_KEY.lines().nth(1).unwrap()
}

/// A secret, well placed, in every key that takes one.
fn secretive(dir: &std::path::Path) -> String {
    let key = dir.join("key");
    std::fs::write(&key, format!("{SECRET}\r\n")).unwrap();
    format!(
        "[store]\nurl = \"postgres://mint:{SECRET}@db/mint?sslmode=require&password={SECRET}\"\n\
         [keys]\naccess_key = \"{SECRET}\"\nrefresh_key_file = \"{}\"\n\
         encryption_key = \"{ENCRYPTION_KEY}\"\n\
         [roles.lookup]\nurl = \"https://users.example.com\"\ntoken = \"{SECRET}\"\n\
         {PROVIDER}client_secret = \"{SECRET}\"\n\
         {APPLE}{CLIENT}client_key = {}\n",
        key.display(),
        quoted(EC_KEY),
    )
}

#[test]
fn secrets_are_in_the_settings_but_in_nothing_printed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings::from_toml(&secretive(dir.path())).unwrap();
    let StoreUrl::Postgres(url) = &settings.store.url else { panic!("postgres") };
    assert!(url.expose().contains(SECRET));
    assert_eq!(settings.keys.access_key.as_ref().unwrap().expose(), SECRET);
    assert_eq!(settings.keys.refresh_key.as_ref().unwrap().expose(), SECRET);
    assert!(settings.keys.encryption_key.is_some());
    let lookup = settings.roles.lookup.as_ref().unwrap();
    assert_eq!(lookup.token.as_ref().unwrap().expose(), SECRET);
    assert_eq!(openid(&settings.providers[0]).client_secret.as_ref().unwrap().expose(), SECRET);

    let printed = settings.print();
    for secret in [SECRET, ENCRYPTION_KEY, key_line()] {
        assert!(
            !printed.contains(secret) && !format!("{settings:?}").contains(secret),
            "{printed}"
        );
    }
    assert!(printed.contains("encryption_key = \"***\""), "{printed}");
    assert!(printed.contains("url = \"postgres://mint:***@db/mint?sslmode=require&password=***\""));
    assert!(printed.contains("client_secret = \"***\""));
    assert!(printed.contains("client_key = \"***\"") && printed.contains("token = \"***\""));
    assert!(printed.contains("/key\"  # mintgate.toml:5"), "{printed}");
}

#[test]
fn secrets_are_in_no_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let good = secretive(dir.path());
    let url = format!("postgres://mint:{SECRET}@db");
    for bad in [
        // Wrong in themselves, beside another mistake, misspelt, of the wrong type, in the wrong place.
        good.replace("sslmode=require", "sslmode=on"),
        good.replace("@db/", "@db:x/"),
        good.replace("postgres://", "postgrs://"),
        good.replace("postgres://", "postgres:/"),
        good.replace("id = \"corp\"", "id = \"Corp\""),
        good.replace("client_secret", "client_secrt"),
        good.replace("access_key", "acces_key"),
        good.replace("encryption_key", "encription_key"),
        good.replace("encryption_key = \"00", "encryption_key = \""),
        good.replace("encryption_key =", "encryption_key_file ="),
        good.replace("[keys]", "[kays]"),
        good.replace(
            &format!("access_key = \"{SECRET}\""),
            &format!("access_key = [\"{SECRET}\"]"),
        ),
        good.replace("client_secret =", "client_secret_file ="),
        good.replace("client_secret =", "client_secret_file = ["),
        good.replace("client_secret =", "client_secret"),
        good.replace("client_key =", "client_ky ="),
        good.replace("client_key =", "client_key_file ="),
        good.replace("client_key =", "client_secret ="),
        good.replace("client_key =", "client_key_id ="),
        good.replace("BEGIN PRIVATE", "BEGIN PUBLIC"),
        good.replace("preset = \"apple\"", "preset = \"google\""),
        good.replace("[roles.lookup]", "[roles.look]"),
        good.replace("token =", "tokn ="),
        good.replace("token = \"", "token = \"Bearer "),
        good.replace("token =", "token_file ="),
        good.replace("issuer = \"https://", &format!("issuer = \"https://ada:{SECRET}@")),
        with_provider(&format!("[server]\npublic_url = \"{url}\"")),
        with_provider(&format!("[cors]\nallowed_origins = [\"{url}\"]")),
        with_provider(&format!("[tokens]\nextra_claims = {{ iss = \"{url}\" }}")),
        format!("client_secret = \"{SECRET}\n"),
    ] {
        let error = Settings::from_toml(&bad).unwrap_err();
        for secret in [SECRET, &ENCRYPTION_KEY[2..], key_line()] {
            assert!(!error.to_string().contains(secret), "{error}");
            assert!(!format!("{error:?}").contains(secret), "{error:?}");
        }
    }
}

#[test]
fn secrets_from_the_environment_are_in_no_mistake() {
    for name in [
        "MINTGATE__PROVIDERS__CORP__CLIENT_SECRT",
        "MINTGATE__PROVIDERS__KORP__CLIENT_SECRET",
        "MINTGATE__PROVIDERS__client_secret",
        "MINTGATE__CLIENT_SECRET",
        "MINTGATE__KEYS__ACCES_KEY",
        "MINTGATE__PROVIDERS__CORP__CLIENT_SECRET_FILE",
    ] {
        let error = load(PROVIDER, &[(name, SECRET)]).unwrap_err();
        assert!(!error.to_string().contains(SECRET), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_secret_from_a_file_loses_one_newline_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    for (content, expected) in [("a\n\n", "a\n"), (" a ", " a "), ("a\r\n", "a")] {
        std::fs::write(&path, content).unwrap();
        let text = format!("{PROVIDER}client_secret_file = \"{}\"", path.display());
        let settings = Settings::from_toml(&text).unwrap();
        assert_eq!(
            openid(&settings.providers[0]).client_secret.as_ref().unwrap().expose(),
            expected
        );
    }
    std::fs::write(&path, "\n").unwrap();
    let text = format!("{PROVIDER}client_secret_file = \"{}\"", path.display());
    assert_eq!(refusal(&text).key(), "providers[0].client_secret_file");
}

#[test]
fn a_secret_is_in_the_file_or_in_another_not_in_both() {
    let both = refusal(&format!("{PROVIDER}client_secret = \"x\"\nclient_secret_file = \"/y\""));
    let names = |mistake: &Mistake, names: [&str; 2]| {
        let mut words = mistake.body.split([' ', '.']);
        names.iter().all(|name| words.any(|word| word == *name))
    };
    assert_eq!(both.key(), "providers[0].client_secret_file");
    assert!(names(&both, ["client_secret", "client_secret_file"]), "{both}");
    let error = load(
        PROVIDER,
        &[("MINTGATE__STORE__URL", "sqlite://a.db"), ("MINTGATE__STORE__URL_FILE", "/nonexistent")],
    );
    let both = &mistakes(&error.unwrap_err())[0];
    assert_eq!(both.key(), "store.url_file");
    assert!(names(both, ["url", "url_file"]), "{both}");
}

#[test]
fn a_store_url_in_a_file_takes_the_place_of_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("url");
    std::fs::write(&path, "postgres://mint@db/mint\n").unwrap();
    let text = with_provider(&format!("[store]\nurl_file = \"{}\"", path.display()));
    let settings = Settings::from_toml(&text).unwrap();
    assert!(
        matches!(settings.store.url, StoreUrl::Postgres(url) if url.expose() == "postgres://mint@db/mint")
    );
}

#[test]
fn a_pipe_in_the_place_of_a_secret_file_is_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let text = format!("{PROVIDER}client_secret_file = \"{}\"", pipe.display());
    assert_eq!(refusal(&text).key(), "providers[0].client_secret_file");
}

#[test]
fn the_files_that_secrets_were_read_from_are_known() {
    let files = |text: &str| Settings::from_toml(text).unwrap().secret_files;
    assert!(files(PROVIDER).is_empty());
    let name = std::path::PathBuf::from("mintgate.toml");
    assert_eq!(files(&format!("{PROVIDER}client_secret = \"x\"")), [name]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "x").unwrap();
    assert_eq!(files(&format!("{PROVIDER}client_secret_file = \"{}\"", file.display())), [file]);
}
