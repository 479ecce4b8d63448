//! How we prove who we are: which keys go with which `client_auth`.

use mintgate_identity_openid::ClientAuthentication;

use super::presets::{least, preset};
use super::{EC_CERTIFICATE, EC_KEY, ED_KEY, dialect, only, openid, quoted, refusal, refused_for};

const ISSUER: &str = "issuer = \"https://idp.example.com\"";

fn text(lines: &str) -> String {
    preset("oidc", &format!("{ISSUER}\n{lines}"))
}

fn authentication(lines: &str) -> ClientAuthentication {
    dialect(&only(&text(lines))).client_authentication.clone()
}

fn refused_with(cases: &[(&str, &str)]) {
    refused_for(cases.iter().map(|(lines, reason)| (text(lines), *reason)));
}

fn key(pem: &str) -> String {
    format!("client_auth = \"private_key_jwt\"\nclient_key = {}", quoted(pem))
}

#[test]
fn every_way_of_client_authentication_can_be_chosen() {
    use ClientAuthentication as Auth;
    assert!(matches!(authentication(""), Auth::Negotiated));
    assert!(matches!(authentication("client_secret = \"x\""), Auth::Negotiated));
    let by =
        |method: &str, lines: &str| authentication(&format!("client_auth = \"{method}\"\n{lines}"));
    assert!(matches!(by("auto", "client_secret = \"x\""), Auth::Negotiated));
    assert!(matches!(by("client_secret_basic", "client_secret = \"x\""), Auth::SecretBasic));
    assert!(matches!(by("client_secret_post", "client_secret = \"x\""), Auth::SecretPost));
    assert!(matches!(by("none", ""), Auth::Public));
    for lines in [
        key(EC_KEY),
        key(ED_KEY),
        format!("{}\nclient_key_alg = \"ES256\"\nclient_key_id = \"k1\"", key(EC_KEY)),
        key(&format!("{EC_KEY}{EC_CERTIFICATE}")),
    ] {
        assert!(matches!(authentication(&lines), Auth::PrivateKeyJwt(_)), "{lines}");
    }
}

#[test]
fn an_algorithm_that_is_not_given_is_the_keys() {
    for (pem, algorithm) in [(EC_KEY, "Es256"), (ED_KEY, "EdDsa")] {
        let printed = format!("{:?}", authentication(&key(pem))).to_lowercase();
        assert!(printed.contains(&algorithm.to_lowercase()), "{printed}");
    }
}

#[test]
fn a_secret_and_a_key_are_where_they_are_used_and_nowhere_else() {
    let ec = key(EC_KEY);
    let unused = ec.replace("private_key_jwt", "auto");
    refused_with(&[
        ("client_auth = \"basic\"", "providers[0].client_auth: client_secret_basic"),
        (
            "client_auth = \"client_secret_basic\"",
            "providers[0].client_secret: add client_secret_file = \"…\"",
        ),
        (
            "client_auth = \"client_secret_post\"",
            "providers[0].client_secret: add client_secret_file = \"…\"",
        ),
        (
            "client_auth = \"none\"\nclient_secret = \"x\"",
            "providers[0].client_secret: there is no secret",
        ),
        (
            "client_auth = \"private_key_jwt\"",
            "providers[0].client_key: add client_key_file = \"…\": our private key",
        ),
        (&format!("{ec}\nclient_secret = \"x\""), "providers[0].client_secret: \"***\""),
        (&unused, "providers[0].client_key: This is for client_auth = \"private_key_jwt\" alone."),
        (
            "client_key_id = \"k\"",
            "providers[0].client_key_id: This is for client_auth = \"private_key_jwt\" alone.",
        ),
        (
            "client_key_alg = \"ES256\"",
            "providers[0].client_key_alg: This is for client_auth = \"private_key_jwt\" alone.",
        ),
        (
            &format!("{ec}\nclient_key_alg = \"RS256\""),
            "providers[0].client_key_alg: The client key does not fit RS256",
        ),
        (
            &format!("{ec}\nclient_key_alg = \"RS265\""),
            "providers[0].client_key_alg: did you mean \"RS256\"?",
        ),
        (&key("x"), "providers[0].client_key: The client key is no private key in PEM"),
        (&key(EC_CERTIFICATE), "providers[0].client_key: The client key is no private key in PEM"),
        (
            &key(&format!("{ED_KEY}{EC_CERTIFICATE}")),
            "providers[0].client_key: no certificate of the client key",
        ),
    ]);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"no key").unwrap();
    let path = file.path().display();
    let lines = format!("client_auth = \"private_key_jwt\"\nclient_key_file = \"{path}\"");
    refused_with(&[(&lines, &format!("providers[0].client_key_file: {path}"))]);
}

#[test]
fn apple_needs_a_p_256_key_its_id_and_a_team() {
    let lines = least("apple");
    let apple = only(&preset("apple", &lines));
    let authentication = &dialect(&apple).client_authentication;
    assert!(matches!(authentication, ClientAuthentication::MintedSecret(_)));
    assert!(openid(&apple).client_secret.is_none());
    for key in ["client_key ", "client_key_id ", "team_id "] {
        let without: Vec<_> = lines.lines().filter(|line| !line.starts_with(key)).collect();
        let mistake = refusal(&preset("apple", &without.join("\n")));
        assert_eq!(mistake.key(), format!("providers[0].{}", key.trim()));
    }
    let other = lines.replace(&quoted(EC_KEY), &quoted(ED_KEY));
    let mistake = refusal(&preset("apple", &other));
    assert_eq!(mistake.key(), "providers[0].client_key");
    assert!(mistake.body.contains("ES256"), "{mistake}");
}
