use std::fs;
use std::path::Path;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509Name};

use super::*;

const DAY: i64 = 86_400;

/// A certificate and its key.
struct Made {
    certificate: X509,
    key: PKey<Private>,
}

impl Made {
    /// For a name, and valid from and until so many days after 1970.
    fn new(name: &str, (from, until): (i64, i64)) -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut subject = X509Name::builder().unwrap();
        subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
        let subject = subject.build();
        let mut made = X509::builder().unwrap();
        made.set_version(2).unwrap();
        made.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
        made.set_subject_name(&subject).unwrap();
        made.set_issuer_name(&subject).unwrap();
        made.set_pubkey(&key).unwrap();
        made.set_not_before(&Asn1Time::from_unix(from * DAY).unwrap()).unwrap();
        made.set_not_after(&Asn1Time::from_unix(until * DAY).unwrap()).unwrap();
        let mut names = SubjectAlternativeName::new();
        let names = names.dns(name).ip("192.0.2.7").build(&made.x509v3_context(None, None));
        made.append_extension(names.unwrap()).unwrap();
        made.sign(&key, MessageDigest::sha256()).unwrap();
        Self { certificate: made.build(), key }
    }

    fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap()
    }

    fn key_pem(&self) -> String {
        String::from_utf8(self.key.private_key_to_pem_pkcs8().unwrap()).unwrap()
    }
}

/// Files for a certificate and a key, in a directory of their own.
struct Scene {
    dir: tempfile::TempDir,
    files: PairFiles,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (certificates, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let files = PairFiles { certificates, key, client_authorities: None, http2: true };
        Self { dir, files }
    }

    fn write_certificate(&self, text: &str) {
        fs::write(&self.files.certificates, text).unwrap();
    }

    fn write_key(&self, text: &str) {
        fs::write(&self.files.key, text).unwrap();
    }

    fn write(&self, made: &Made) {
        self.write_certificate(&made.pem());
        self.write_key(&made.key_pem());
    }

    /// Presents what the files hold, at this time.
    fn open(&self, now: i64) -> Served {
        Served::open(self.files.clone(), move || now, |_| ()).unwrap()
    }

    fn error(&self) -> PairError {
        self.files.read().err().expect("nothing that can be presented")
    }
}

fn is_presented(served: &Served, made: &Made) -> bool {
    let other = Scene::new();
    other.write(made);
    served.pair().is_same_as(&other.files.read().unwrap())
}

#[test]
fn a_certificate_and_its_key_are_read_also_from_one_file() {
    let (scene, made) = (Scene::new(), Made::new("a.example", (0, 100)));
    scene.write(&made);
    let validity = scene.files.read().unwrap().validity();
    assert_eq!((validity.from, validity.until), (0, 100 * DAY));
    let one = scene.dir.path().join("both.pem");
    fs::write(&one, format!("{}{}", made.key_pem(), made.pem())).unwrap();
    let files = PairFiles { certificates: one.clone(), key: one, ..scene.files.clone() };
    assert!(files.read().unwrap().is_same_as(&scene.files.read().unwrap()));
}

#[test]
fn what_cannot_be_presented_is_refused_with_the_file_at_fault_and_no_secret() {
    let scene = Scene::new();
    let [one, other] = ["a.example"; 2].map(|name| Made::new(name, (0, 100)));
    let encrypted = one.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret");
    let encrypted = String::from_utf8(encrypted.unwrap()).unwrap();
    let PairFiles { certificates, key, .. } = scene.files.clone();
    assert!(matches!(scene.error(), PairError::CertificatesUnreadable(..)));
    scene.write_certificate("");
    assert!(matches!(scene.error(), PairError::KeyUnreadable(..)));
    for (certificate, private, expected) in [
        ("", one.key_pem(), PairError::NoCertificate(certificates.clone())),
        (&one.key_pem()[..], one.key_pem(), PairError::NoCertificate(certificates.clone())),
        (&one.pem(), String::new(), PairError::NoKey(key.clone())),
        (&one.pem(), one.pem(), PairError::NoKey(key.clone())),
        (&one.pem(), encrypted, PairError::NoKey(key.clone())),
        (&one.pem(), other.key_pem(), PairError::OtherKey(certificates, key)),
    ] {
        scene.write_certificate(certificate);
        scene.write_key(&private);
        let error = scene.error();
        assert_eq!(error, expected);
        assert!(!error.to_string().contains("BEGIN"), "{error}");
    }
}

#[test]
fn files_that_cannot_hold_a_certificate_are_not_read() {
    let scene = Scene::new();
    scene.write_key("");
    fs::create_dir(&scene.files.certificates).unwrap();
    assert!(matches!(scene.error(), PairError::CertificatesUnreadable(..)));
    let files = PairFiles { certificates: Path::new("/dev/zero").into(), ..scene.files.clone() };
    assert!(matches!(files.read(), Err(PairError::CertificatesUnreadable(..))));
    fs::remove_dir(&scene.files.certificates).unwrap();
    scene.write_certificate(&"x".repeat((1 << 20) + 1));
    assert!(matches!(scene.error(), PairError::CertificatesUnreadable(..)));
}

#[test]
fn another_pair_is_presented_once_both_halves_are_there() {
    let scene = Scene::new();
    let [one, two] = ["a.example"; 2].map(|name| Made::new(name, (0, 100)));
    scene.write(&one);
    let served = scene.open(DAY);
    scene.write_certificate(&two.pem());
    served.look();
    assert!(is_presented(&served, &one) && !served.status().is_current);
    scene.write_key(&two.key_pem());
    served.look();
    assert!(is_presented(&served, &two) && served.status().is_current);

    fs::remove_file(&scene.files.key).unwrap();
    served.look();
    assert!(is_presented(&served, &two) && !served.status().is_current);
    scene.write_key(&two.key_pem());
    served.look();
    assert!(served.status().is_current, "what is presented is what the files hold again");
}

#[test]
fn a_certificate_out_of_date_replaces_no_other_and_is_presented_where_there_is_none() {
    let scene = Scene::new();
    let [old, good, early] = [(0, 9), (0, 20), (11, 20)].map(|it| Made::new("a.example", it));
    scene.write(&old);
    let served = scene.open(10 * DAY);
    assert!(served.read().is_ok(), "nothing else would be presented");
    scene.write(&good);
    served.look();
    for other in [&old, &early] {
        scene.write(other);
        served.look();
        assert!(matches!(served.read(), Err(PairError::OutOfDate(..))));
        assert!(is_presented(&served, &good) && !served.status().is_current);
    }
    assert_eq!(served.status().validity.until, 20 * DAY);
}

#[test]
fn a_certificate_is_for_its_names_alone() {
    let (scene, made) = (Scene::new(), Made::new("*.a.example", (0, 100)));
    scene.write(&made);
    let pair = scene.files.read().unwrap();
    for (host, expected) in [
        ("auth.a.example", true),
        ("AUTH.a.example", true),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("[2001:db8::7]", false),
        ("a.example", false),
        ("x.auth.a.example", false),
        ("auth.b.example", false),
    ] {
        assert_eq!(pair.is_for(host).unwrap(), expected, "{host}");
    }
}

#[test]
fn authorities_of_clients_are_read_with_the_pair_and_replaced_with_it() {
    let mut scene = Scene::new();
    let [own, one, other] = ["a.example"; 3].map(|name| Made::new(name, (0, 100)));
    scene.write(&own);
    let plain = scene.files.read().unwrap();
    let authorities = scene.dir.path().join("clients.pem");
    scene.files.client_authorities = Some(authorities.clone());
    assert!(matches!(scene.error(), PairError::AuthoritiesUnreadable(..)));
    for nothing in ["", "no certificate"] {
        fs::write(&authorities, nothing).unwrap();
        assert_eq!(scene.error(), PairError::NoAuthority(authorities.clone()));
    }
    fs::write(&authorities, one.pem()).unwrap();
    let served = scene.open(DAY);
    assert!(!served.pair().is_same_as(&plain));
    let client = |pair: &Pair| ClientCertificate {
        name: "ops".to_owned(),
        valid_until: 2 * DAY,
        authorities: pair.authorities.clone(),
    };
    let shown = client(&served.pair());
    assert!(served.accepts(&shown));
    fs::write(&authorities, other.pem()).unwrap();
    served.look();
    assert!(!served.accepts(&shown), "its authority is gone");
    let expired = ClientCertificate { valid_until: DAY - 1, ..client(&served.pair()) };
    assert!(!served.accepts(&expired) && served.accepts(&client(&served.pair())));
}
