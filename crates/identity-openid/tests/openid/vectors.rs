//! Cases 20 to 22: forgeries after the classes that Project Wycheproof's published vectors test
//! (<https://github.com/C2SP/wycheproof>), made anew with keys of our own: every one of them is signed by
//! whoever holds the genuine private key, so that nothing but the fault itself is wrong with it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_domain::Nonce;
use mintgate_domain::ports::{IdentityProvider, ProviderError};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sha::sha256;
use openssl::sign::{RsaPssSaltlen, Signer};
use serde_json::{Value, json};

use crate::fake::{FakeIdp, KID, merge, sign_jws};
use crate::support::Adapter;

/// Makes the signature of a message.
type Signing = Box<dyn Fn(&[u8]) -> Vec<u8>>;
/// What is changed about a signature or a block, by its name.
type Change = (&'static str, fn(&mut Vec<u8>));
/// What is made of a message, by its name.
type Tail = (&'static str, fn(&[u8]) -> Vec<u8>);

/// A forgery: how its signature is made, or what is wrong with the header or the published key.
struct Vector {
    name: String,
    header: Value,
    jwk: Value,
    sign: Signing,
}

/// The vectors for one genuine key.
struct Vectors {
    algorithms: Vec<String>,
    header: Value,
    jwk: Value,
    control: Signing,
    forgeries: Vec<Vector>,
}

impl Vectors {
    fn new(alg: &str, jwk: &Value, control: impl Fn(&[u8]) -> Vec<u8> + 'static) -> Self {
        let mut jwk = jwk.clone();
        merge(&mut jwk, &json!({ "kid": KID, "use": "sig" }));
        Self {
            algorithms: vec![alg.to_owned()],
            header: json!({ "alg": alg, "kid": KID, "typ": "JWT" }),
            jwk,
            control: Box::new(control),
            forgeries: Vec::new(),
        }
    }

    /// Another way to sign.
    fn signed(&mut self, name: impl Into<String>, sign: impl Fn(&[u8]) -> Vec<u8> + 'static) {
        self.with(name, &json!({}), &json!({}), sign);
    }

    /// Another header, another published key, and a signature.
    fn with(
        &mut self,
        name: impl Into<String>,
        header: &Value,
        jwk: &Value,
        sign: impl Fn(&[u8]) -> Vec<u8> + 'static,
    ) {
        let (mut own_header, mut own_jwk) = (self.header.clone(), self.jwk.clone());
        merge(&mut own_header, header);
        merge(&mut own_jwk, jwk);
        let sign = Box::new(sign);
        self.forgeries.push(Vector { name: name.into(), header: own_header, jwk: own_jwk, sign });
    }

    /// Holds all of them against an adapter that has just accepted the genuine token, posted directly
    /// and through a code.
    async fn refuse(self) {
        let idp = FakeIdp::start("").await;
        let claims = idp.claims(&json!({ "nonce": "n" }));
        let genuine = sign_jws(&self.header, &claims, &self.control);
        let mut published = Value::Null;
        let mut adapter = self.adapter(&idp, &self.jwk, &mut published, &genuine).await;
        for Vector { name, header, jwk, sign } in &self.forgeries {
            if *jwk != published {
                adapter = self.adapter(&idp, jwk, &mut published, &genuine).await;
            }
            let token = sign_jws(header, &claims, sign);
            for (way, result) in attempts(&idp, &adapter, &token).await {
                assert!(
                    matches!(result, Err(ProviderError::IdTokenRefused(_))),
                    "{:?}: {name}, {way}: {result:?}",
                    self.algorithms
                );
            }
        }
        self.adapter(&idp, &self.jwk, &mut Value::Null, &genuine).await;
    }

    /// An adapter that has loaded this key; it takes the genuine token if the key is the genuine one.
    async fn adapter(
        &self,
        idp: &FakeIdp,
        jwk: &Value,
        published: &mut Value,
        genuine: &str,
    ) -> Adapter {
        *published = jwk.clone();
        idp.publish(&json!([jwk]));
        let adapter = Adapter::new(&idp.issuer, |config| {
            config.id_token_algorithms.clone_from(&self.algorithms);
        });
        if *jwk == self.jwk {
            for (way, result) in attempts(idp, &adapter, genuine).await {
                assert!(result.is_ok(), "{:?}: the control, {way}: {result:?}", self.algorithms);
            }
        }
        adapter
    }
}

async fn attempts(
    idp: &FakeIdp,
    adapter: &Adapter,
    token: &str,
) -> [(&'static str, Result<(), ProviderError>); 2] {
    let direct = adapter.verify(token, Some("n")).await.map(|_| ());
    idp.grant(token);
    let tokens = adapter.redeem("some-code", None).await.unwrap();
    let by_code = adapter.provider.verify(&tokens, Some(&Nonce::new("n"))).await.map(|_| ());
    [("posted directly", direct), ("by code", by_code)]
}

fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn number(hex: &str) -> BigNum {
    BigNum::from_hex_str(hex).unwrap()
}

// --- ECDSA ---

const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P256_PRIME: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";

fn ec_key(curve: Nid) -> EcKey<Private> {
    EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()
}

/// The coordinates of its point, of so many bytes.
fn point(key: &EcKey<Private>, length: i32) -> (Vec<u8>, Vec<u8>) {
    let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
    let mut context = BigNumContext::new().unwrap();
    key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context).unwrap();
    (x.to_vec_padded(length).unwrap(), y.to_vec_padded(length).unwrap())
}

fn ec_jwk(crv: &str, (x, y): &(Vec<u8>, Vec<u8>)) -> Value {
    json!({ "kty": "EC", "crv": crv, "x": base64url(x), "y": base64url(y) })
}

fn ecdsa(key: &EcKey<Private>, digest: &[u8]) -> EcdsaSig {
    EcdsaSig::sign(digest, key).unwrap()
}

fn raw(signature: &EcdsaSig, length: i32) -> Vec<u8> {
    let [r, s] = [signature.r(), signature.s()].map(|n| n.to_vec_padded(length).unwrap());
    [r, s].concat()
}

#[tokio::test]
async fn case_20_es256_signatures_at_the_edges_of_their_numbers() {
    let key = ec_key(Nid::X9_62_PRIME256V1);
    let signer = key.clone();
    let good = move |message: &[u8]| raw(&ecdsa(&signer, &sha256(message)), 32);
    let mut vectors = Vectors::new("ES256", &ec_jwk("P-256", &point(&key, 32)), good.clone());
    let edge = |hex: &str, plus: i64| {
        let mut edge = number(hex);
        if plus < 0 {
            edge.sub_word(u32::try_from(-plus).unwrap()).unwrap();
        } else {
            edge.add_word(u32::try_from(plus).unwrap()).unwrap();
        }
        edge.to_vec_padded(32).unwrap()
    };
    let edges = [
        ("0", edge("0", 0)),
        ("1", edge("1", 0)),
        ("n-1", edge(P256_ORDER, -1)),
        ("n", edge(P256_ORDER, 0)),
        ("n+1", edge(P256_ORDER, 1)),
        ("p", edge(P256_PRIME, 0)),
        ("p+1", edge(P256_PRIME, 1)),
        ("2^256-1", vec![0xff; 32]),
    ];
    for (name, value) in &edges {
        for (half, at) in [("r", 0), ("s", 32)] {
            let (good, value) = (good.clone(), value.clone());
            vectors.signed(format!("{half} = {name}"), move |message| {
                let mut signature = good(message);
                signature[at..at + 32].copy_from_slice(&value);
                signature
            });
        }
        for (other, second) in &edges {
            let both = [value.clone(), second.clone()].concat();
            vectors.signed(format!("r = {name}, s = {other}"), move |_| both.clone());
        }
    }
    vectors.refuse().await;
}

#[tokio::test]
async fn case_20_es256_signatures_of_another_form() {
    let key = ec_key(Nid::X9_62_PRIME256V1);
    let signer = key.clone();
    let good = move |message: &[u8]| raw(&ecdsa(&signer, &sha256(message)), 32);
    let mut vectors = Vectors::new("ES256", &ec_jwk("P-256", &point(&key, 32)), good.clone());
    let signer = key.clone();
    vectors.signed("DER", move |m| ecdsa(&signer, &sha256(m)).to_der().unwrap());
    let signer = key.clone();
    vectors.signed("33 bytes each", move |m| raw(&ecdsa(&signer, &sha256(m)), 33));
    let signer = key.clone();
    vectors.signed("of SHA-384", move |m| {
        raw(&ecdsa(&signer, &hash(MessageDigest::sha384(), m).unwrap()), 32)
    });
    let signer = key.clone();
    vectors.signed("of SHA-1", move |m| {
        raw(&ecdsa(&signer, &hash(MessageDigest::sha1(), m).unwrap()), 32)
    });
    let signer = key.clone();
    vectors.signed("of the payload alone", move |m| {
        let dot = m.iter().position(|byte| *byte == b'.').unwrap();
        raw(&ecdsa(&signer, &sha256(&m[dot + 1..])), 32)
    });
    let signer = key.clone();
    vectors.signed("of nothing", move |_| raw(&ecdsa(&signer, &sha256(b"")), 32));
    let changes: [Change; 9] = [
        ("one byte short", |s| s.truncate(s.len() - 1)),
        ("the first byte at the end", |s| s.rotate_left(1)),
        ("one half", |s| s.truncate(32)),
        ("one byte", |s| s.truncate(1)),
        ("a zero after", |s| s.push(0)),
        ("a zero before", |s| s.insert(0, 0)),
        ("twice", |s| s.extend(s.clone())),
        ("halves exchanged", |s| s.rotate_left(32)),
        ("the last bit", |s| s[63] ^= 1),
    ];
    for (name, change) in changes {
        let good = good.clone();
        vectors.signed(name, move |message| {
            let mut signature = good(message);
            change(&mut signature);
            signature
        });
    }
    vectors.refuse().await;
}

#[tokio::test]
async fn an_es256_signature_turned_into_its_twin_is_the_same_token() {
    let key = ec_key(Nid::X9_62_PRIME256V1);
    let idp = FakeIdp::start("").await;
    let mut jwk = ec_jwk("P-256", &point(&key, 32));
    merge(&mut jwk, &json!({ "kid": KID, "use": "sig" }));
    idp.publish(&json!([jwk]));
    let adapter = Adapter::new(&idp.issuer, |config| {
        config.id_token_algorithms = vec!["ES256".to_owned()];
    });
    let header = json!({ "alg": "ES256", "kid": KID });
    let mut signature = None;
    let token = sign_jws(&header, &idp.claims(&json!({})), |message| {
        let made = ecdsa(&key, &sha256(message));
        let bytes = raw(&made, 32);
        signature = Some(made);
        bytes
    });
    let signature = signature.unwrap();
    let mut twin = BigNum::new().unwrap();
    twin.checked_sub(&number(P256_ORDER), signature.s()).unwrap();
    let twin = [signature.r().to_vec_padded(32).unwrap(), twin.to_vec_padded(32).unwrap()].concat();
    let twin = format!("{}.{}", token.rsplit_once('.').unwrap().0, base64url(&twin));
    assert_ne!(token, twin);
    let [token, twin] = [adapter.verify(&token, None).await, adapter.verify(&twin, None).await];
    assert_eq!(token.unwrap().id_token.unwrap().0, twin.unwrap().id_token.unwrap().0);
}

#[tokio::test]
async fn case_22_elliptic_keys_that_are_no_keys_or_others() {
    let key = ec_key(Nid::X9_62_PRIME256V1);
    let signer = key.clone();
    let good = move |message: &[u8]| raw(&ecdsa(&signer, &sha256(message)), 32);
    let (x, y) = point(&key, 32);
    let mut vectors =
        Vectors::new("ES256", &ec_jwk("P-256", &(x.clone(), y.clone())), good.clone());
    vectors.algorithms = ["ES256", "ES384", "RS256", "EdDSA"].map(ToOwned::to_owned).into();
    let mut off = y.clone();
    off[31] ^= 1;
    let prime = number(P256_PRIME).to_vec();
    for (name, change) in [
        ("a point off the curve", json!({ "y": base64url(&off) })),
        ("coordinates exchanged", json!({ "x": base64url(&y), "y": base64url(&x) })),
        ("the point at zero", json!({ "x": base64url(&[0; 32]), "y": base64url(&[0; 32]) })),
        ("x = p", json!({ "x": base64url(&prime) })),
        ("y = p", json!({ "y": base64url(&prime) })),
        ("x too short", json!({ "x": base64url(&x[1..]) })),
        ("x too long", json!({ "x": base64url(&[&[0], &x[..]].concat()) })),
        ("x with everything", json!({ "x": base64url(&[&x[..], &y[..]].concat()), "y": "" })),
        ("no y", json!({ "y": null })),
        ("a compressed point", json!({ "x": base64url(&[&[2], &x[..]].concat()), "y": null })),
        ("crv P-384", json!({ "crv": "P-384" })),
        ("crv secp256k1", json!({ "crv": "secp256k1" })),
        ("crv Ed25519", json!({ "crv": "Ed25519" })),
        ("kty OKP", json!({ "kty": "OKP" })),
        ("kty RSA", json!({ "kty": "RSA" })),
        ("alg ES384", json!({ "alg": "ES384" })),
        ("alg RS256", json!({ "alg": "RS256" })),
        ("use enc", json!({ "use": "enc" })),
    ] {
        vectors.with(name, &json!({}), &change, good.clone());
    }
    for alg in ["ES384", "RS256", "EdDSA"] {
        vectors.with(format!("header {alg}"), &json!({ "alg": alg }), &json!({}), good.clone());
    }
    // Another curve's key, whatever it hashes with.
    let other = ec_key(Nid::SECP384R1);
    let jwk = ec_jwk("P-384", &point(&other, 48));
    for (name, digest) in
        [("SHA-256", MessageDigest::sha256()), ("SHA-384", MessageDigest::sha384())]
    {
        let signer = other.clone();
        vectors.with(format!("a P-384 key with {name}"), &json!({}), &jwk, move |message| {
            raw(&ecdsa(&signer, &hash(digest, message).unwrap()), 48)
        });
    }
    let signer = key.clone();
    vectors.with("ES384 with a P-256 key", &json!({ "alg": "ES384" }), &json!({}), move |m| {
        raw(&ecdsa(&signer, &hash(MessageDigest::sha384(), m).unwrap()), 32)
    });
    let bitcoin = ec_key(Nid::SECP256K1);
    let signer = bitcoin.clone();
    let as_p256 = ec_jwk("P-256", &point(&bitcoin, 32));
    vectors.with("a secp256k1 key as P-256", &json!({}), &as_p256, move |message| {
        raw(&ecdsa(&signer, &sha256(message)), 32)
    });
    vectors.refuse().await;
}

// --- RSA ---

const SHA256_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

fn rsa_key(bits: u32, exponent: u32) -> Rsa<Private> {
    Rsa::generate_with_e(bits, &BigNum::from_u32(exponent).unwrap()).unwrap()
}

fn rsa_jwk(key: &Rsa<Private>) -> Value {
    json!({ "kty": "RSA", "n": base64url(&key.n().to_vec()), "e": base64url(&key.e().to_vec()) })
}

/// The private key applied to a block as it is.
fn rsa_raw(key: &Rsa<Private>, block: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.size() as usize];
    key.private_encrypt(block, &mut signature, Padding::NONE).unwrap();
    signature
}

/// `00 01 FF … FF 00` and what is to follow.
fn padded(size: usize, tail: &[u8]) -> Vec<u8> {
    let mut block = vec![0xff; size];
    block[..2].copy_from_slice(&[0, 1]);
    block[size - tail.len() - 1] = 0;
    block[size - tail.len()..].copy_from_slice(tail);
    block
}

fn digest_info(message: &[u8]) -> Vec<u8> {
    [SHA256_INFO, &sha256(message)].concat()
}

fn pkcs1(key: &Rsa<Private>, digest: MessageDigest, message: &[u8]) -> Vec<u8> {
    let key = PKey::from_rsa(key.clone()).unwrap();
    Signer::new(digest, &key).unwrap().sign_oneshot_to_vec(message).unwrap()
}

fn pss(
    key: &Rsa<Private>,
    digest: MessageDigest,
    mgf1: MessageDigest,
    salt: RsaPssSaltlen,
    message: &[u8],
) -> Vec<u8> {
    let key = PKey::from_rsa(key.clone()).unwrap();
    let mut signer = Signer::new(digest, &key).unwrap();
    signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
    signer.set_rsa_pss_saltlen(salt).unwrap();
    signer.set_rsa_mgf1_md(mgf1).unwrap();
    signer.sign_oneshot_to_vec(message).unwrap()
}

fn rs256_vectors(exponent: u32) -> Vectors {
    let key = rsa_key(2048, exponent);
    let signer = key.clone();
    let mut vectors = Vectors::new("RS256", &rsa_jwk(&key), move |message| {
        rsa_raw(&signer, &padded(256, &digest_info(message)))
    });
    // What follows the padding.
    let tails: [Tail; 14] = [
        ("the hash alone", |m| sha256(m).to_vec()),
        ("NULL missing", |m| {
            let info = [
                0x30, 0x2f, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                0x01, 0x04, 0x20,
            ];
            [&info[..], &sha256(m)].concat()
        }),
        ("NULL of another type", |m| {
            let mut info = digest_info(m);
            info[15] = 0x04;
            info
        }),
        ("parameters in place of NULL", |m| {
            let info = [
                0x30, 0x33, 0x30, 0x0f, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
                0x01, 0x05, 0x02, 0xaa, 0xbb, 0x04, 0x20,
            ];
            [&info[..], &sha256(m)].concat()
        }),
        ("bytes after", |m| [digest_info(m), vec![0xaa; 8]].concat()),
        ("zeros after", |m| [digest_info(m), vec![0; 8]].concat()),
        ("bytes after inside the sequence", |m| {
            let mut info = [digest_info(m), vec![0x05, 0x00]].concat();
            info[1] += 2;
            info
        }),
        ("a length in long form", |m| {
            let mut info = digest_info(m);
            info.splice(1..2, [0x81, 0x31]);
            info
        }),
        ("a length without end", |m| {
            let mut info = [digest_info(m), vec![0, 0]].concat();
            info[1] = 0x80;
            info
        }),
        ("SHA-1's name", |m| {
            let info = [
                0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04,
                0x14,
            ];
            [&info[..], &hash(MessageDigest::sha1(), m).unwrap()].concat()
        }),
        ("SHA-512's name for a hash of SHA-256", |m| {
            let mut info = digest_info(m);
            info[14] = 0x03;
            info
        }),
        ("a shorter hash", |m| {
            let mut info = digest_info(m);
            info.truncate(info.len() - 1);
            (info[1], info[18]) = (0x30, 0x1f);
            info
        }),
        ("another hash", |m| digest_info(&[m, b"x"].concat())),
        ("nothing", |_| Vec::new()),
    ];
    for (name, tail) in tails {
        let key = key.clone();
        vectors.signed(name, move |message| rsa_raw(&key, &padded(256, &tail(message))));
    }
    signed_padding(&mut vectors, &key);
    signed_number(&mut vectors, &key);
    // Another scheme than the header says.
    for (name, digest) in [("RS384", MessageDigest::sha384()), ("RS512", MessageDigest::sha512())] {
        let key = key.clone();
        vectors.signed(name, move |message| pkcs1(&key, digest, message));
    }
    let sha256 = MessageDigest::sha256;
    vectors.signed("PS256", move |message| {
        pss(&key, sha256(), sha256(), RsaPssSaltlen::DIGEST_LENGTH, message)
    });
    vectors
}

/// Blocks that are wrong before the hash.
fn signed_padding(vectors: &mut Vectors, key: &Rsa<Private>) {
    let paddings: [Change; 8] = [
        ("block type 0", |block| block[1] = 0),
        ("block type 2", |block| block[1] = 2),
        ("the first byte 1", |block| block[0] = 1),
        ("a byte of padding that is none", |block| block[100] = 0xfe),
        ("the last byte of padding that is none", |block| block[203] = 0x7f),
        ("no zero after the padding", |block| block[204] = 0xff),
        ("a zero within the padding", |block| block[100] = 0),
        // The whole room after a short padding is the forger's: with e = 3 a cube root fills it.
        ("eight bytes of padding and garbage at the end", |block| {
            block[10] = 0;
            block.copy_within(205.., 11);
            block[62..].fill(0xaa);
        }),
    ];
    for (name, change) in paddings {
        let key = key.clone();
        vectors.signed(name, move |message| {
            let mut block = padded(256, &digest_info(message));
            change(&mut block);
            rsa_raw(&key, &block)
        });
    }
    let signer = key.clone();
    vectors.signed("no padding", move |message| {
        let info = digest_info(message);
        rsa_raw(&signer, &[vec![0; 256 - info.len()], info].concat())
    });
}

/// Signatures that are other numbers, or of another length.
fn signed_number(vectors: &mut Vectors, key: &Rsa<Private>) {
    let modulus = key.n().to_vec();
    let signer = key.clone();
    vectors.signed("the modulus added", move |message| {
        let good = rsa_raw(&signer, &padded(256, &digest_info(message)));
        let mut sum = BigNum::new().unwrap();
        sum.checked_add(&BigNum::from_slice(&good).unwrap(), signer.n()).unwrap();
        sum.to_vec()
    });
    for (name, signature) in [
        ("0", vec![0; 256]),
        ("1", [vec![0; 255], vec![1]].concat()),
        ("the modulus", modulus),
        ("all ones", vec![0xff; 256]),
        ("one byte", vec![1]),
    ] {
        vectors.signed(format!("signature {name}"), move |_| signature.clone());
    }
    let changes: [Change; 5] = [
        ("a zero before", |s| s.insert(0, 0)),
        ("a zero after", |s| s.push(0)),
        ("one byte short", |s| s.truncate(s.len() - 1)),
        ("the last bit", |s| s[255] ^= 1),
        ("twice", |s| s.extend(s.clone())),
    ];
    for (name, change) in changes {
        let key = key.clone();
        vectors.signed(name, move |message| {
            let mut signature = rsa_raw(&key, &padded(256, &digest_info(message)));
            change(&mut signature);
            signature
        });
    }
}

#[tokio::test]
async fn case_20_rs256_signatures_over_blocks_that_only_look_right() {
    rs256_vectors(65537).refuse().await;
}

#[tokio::test]
async fn case_20_rs256_signatures_by_a_key_whose_exponent_is_three() {
    rs256_vectors(3).refuse().await;
}

/// EMSA-PSS (RFC 8017 §9.1.1) for 2048 bits and SHA-256, with what a test wants otherwise.
fn pss_block(message: &[u8], salt: &[u8], trailer: u8, separator: u8, top: u8) -> Vec<u8> {
    let digest = sha256(&[&[0; 8][..], &sha256(message), salt].concat());
    let length = 256 - 32 - 1;
    let mut block = vec![0; length - salt.len() - 1];
    block.push(separator);
    block.extend(salt);
    let mask = (0_u32..).flat_map(|i| sha256(&[&digest[..], &i.to_be_bytes()].concat()));
    for (byte, mask) in block.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    block[0] = block[0] & 0x7f | top;
    block.extend(digest);
    block.push(trailer);
    block
}

#[tokio::test]
async fn case_20_ps256_signatures_with_another_salt_hash_or_block() {
    // A modulus above 7/8 of its length, so that a block with its top bit set is still below it.
    let key = loop {
        let key = rsa_key(2048, 65537);
        if key.n().to_vec()[0] >= 0xe0 {
            break key;
        }
    };
    let sha256 = MessageDigest::sha256;
    let salt = [7; 32];
    let signer = key.clone();
    let mut vectors = Vectors::new("PS256", &rsa_jwk(&key), move |message| {
        rsa_raw(&signer, &pss_block(message, &salt, 0xbc, 1, 0))
    });
    for length in [0, 8, 20, 31, 33, 48, 64, 222] {
        let key = key.clone();
        vectors.signed(format!("a salt of {length} bytes"), move |message| {
            let salt = RsaPssSaltlen::custom(length);
            pss(&key, sha256(), sha256(), salt, message)
        });
    }
    for (name, digest, mgf1) in [
        ("MGF1 with SHA-1", sha256(), MessageDigest::sha1()),
        ("MGF1 with SHA-384", sha256(), MessageDigest::sha384()),
        ("SHA-384", MessageDigest::sha384(), MessageDigest::sha384()),
        ("SHA-512 with a salt of 32", MessageDigest::sha512(), MessageDigest::sha512()),
        ("SHA-1", MessageDigest::sha1(), MessageDigest::sha1()),
    ] {
        let key = key.clone();
        vectors.signed(name, move |message| {
            pss(&key, digest, mgf1, RsaPssSaltlen::custom(32), message)
        });
    }
    for (name, trailer, separator) in [
        ("another trailer", 0xbd, 1),
        ("the trailer of X9.31", 0xcc, 1),
        ("no trailer", 0, 1),
        ("another separator", 0xbc, 2),
        ("no separator", 0xbc, 0),
    ] {
        let key = key.clone();
        vectors.signed(name, move |message| {
            rsa_raw(&key, &pss_block(message, &salt, trailer, separator, 0))
        });
    }
    let signer = key.clone();
    vectors.signed("the top bit set", move |message| {
        // Not every salt makes a block below the modulus.
        let blocks = (0..=u8::MAX).map(|byte| pss_block(message, &[byte; 32], 0xbc, 1, 0x80));
        let block = blocks.into_iter().find(|block| block[0] < 0xe0).expect("one of many");
        rsa_raw(&signer, &block)
    });
    let signer = key.clone();
    vectors.signed("RS256", move |message| pkcs1(&signer, sha256(), message));
    let signer = key.clone();
    vectors.signed("a zero before", move |message| {
        [vec![0], rsa_raw(&signer, &pss_block(message, &salt, 0xbc, 1, 0))].concat()
    });
    vectors.signed("signature 0", |_| vec![0; 256]);
    vectors.refuse().await;
}

#[tokio::test]
async fn case_22_rsa_keys_that_are_too_weak_or_no_keys() {
    let key = rsa_key(2048, 65537);
    let signer = key.clone();
    let good = move |message: &[u8]| pkcs1(&signer, MessageDigest::sha256(), message);
    let mut vectors = Vectors::new("RS256", &rsa_jwk(&key), good.clone());
    vectors.algorithms = ["RS256", "PS256", "ES256", "EdDSA"].map(ToOwned::to_owned).into();
    for bits in [512, 1024, 1536, 2040, 2047] {
        let weak = rsa_key(bits, 65537);
        let jwk = rsa_jwk(&weak);
        vectors.with(format!("{bits} bits"), &json!({}), &jwk, move |message| {
            pkcs1(&weak, MessageDigest::sha256(), message)
        });
    }
    // Zeros in front do not make it longer.
    let weak = rsa_key(1024, 65537);
    let mut jwk = rsa_jwk(&weak);
    jwk["n"] = json!(base64url(&[vec![0; 128], weak.n().to_vec()].concat()));
    vectors.with("1024 bits after as many zeros", &json!({}), &jwk, move |message| {
        pkcs1(&weak, MessageDigest::sha256(), message)
    });
    // With the exponent 1 the block is its own signature: anybody can make one.
    vectors.with("exponent 1", &json!({}), &json!({ "e": "AQ" }), |message| {
        padded(256, &digest_info(message))
    });
    for (name, change) in [
        ("exponent 0", json!({ "e": "AA" })),
        ("no exponent", json!({ "e": null })),
        ("no modulus", json!({ "n": null })),
        ("an empty modulus", json!({ "n": "" })),
        ("kty EC", json!({ "kty": "EC" })),
        ("kty oct", json!({ "kty": "oct", "k": base64url(b"secret") })),
        ("alg RS512", json!({ "alg": "RS512" })),
        ("alg PS256", json!({ "alg": "PS256" })),
        ("alg RSA1_5", json!({ "alg": "RSA1_5" })),
        ("use enc", json!({ "use": "enc" })),
        ("another kid", json!({ "kid": "key-2" })),
    ] {
        vectors.with(name, &json!({}), &change, good.clone());
    }
    for alg in ["PS256", "ES256", "EdDSA"] {
        vectors.with(format!("header {alg}"), &json!({ "alg": alg }), &json!({}), good.clone());
    }
    vectors.refuse().await;
}

// --- Ed25519 ---

/// The order of the group, little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A number plus the order so many times, if 32 bytes can hold it.
fn plus_order(number: &[u8], times: u16) -> Vec<u8> {
    let mut carry = 0;
    let sum: Vec<u8> = number
        .iter()
        .zip(ED25519_ORDER)
        .map(|(byte, order)| {
            let sum = u16::from(*byte) + u16::from(order) * times + carry;
            carry = sum >> 8;
            sum.to_le_bytes()[0]
        })
        .collect();
    assert_eq!(carry, 0);
    sum
}

fn encoding(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    (bytes[0], bytes[31]) = (first, last);
    bytes
}

#[tokio::test]
async fn case_20_eddsa_signatures_that_are_not_the_one() {
    let key = PKey::generate_ed25519().unwrap();
    let x = base64url(&key.raw_public_key().unwrap());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
    let sign = move |message: &[u8]| {
        Signer::new_without_digest(&key).unwrap().sign_oneshot_to_vec(message).unwrap()
    };
    let mut vectors = Vectors::new("EdDSA", &jwk, sign.clone());
    for times in [1, 2, 7] {
        let sign = sign.clone();
        vectors.signed(format!("S + {times} L"), move |message| {
            let mut signature = sign(message);
            let s = plus_order(&signature[32..], times);
            signature[32..].copy_from_slice(&s);
            signature
        });
    }
    let changes: [Change; 13] = [
        ("S = 0", |s| s[32..].fill(0)),
        ("S = L", |s| s[32..].copy_from_slice(&ED25519_ORDER)),
        ("S = 2^256-1", |s| s[32..].fill(0xff)),
        ("a high bit of S", |s| s[63] |= 0x80),
        ("R = the neutral point", |s| s[..32].copy_from_slice(&encoding(1, 0, 0))),
        ("R = p", |s| s[..32].copy_from_slice(&encoding(0xed, 0xff, 0x7f))),
        ("R and S = 0", |s| s.fill(0)),
        ("the sign of R", |s| s[31] ^= 0x80),
        ("the last bit", |s| s[63] ^= 1),
        ("halves exchanged", |s| s.rotate_left(32)),
        ("one byte short", |s| s.truncate(s.len() - 1)),
        ("a zero after", |s| s.push(0)),
        ("R alone", |s| s.truncate(32)),
    ];
    for (name, change) in changes {
        let sign = sign.clone();
        vectors.signed(name, move |message| {
            let mut signature = sign(message);
            change(&mut signature);
            signature
        });
    }
    let other = PKey::generate_ed448().unwrap();
    let ed448 = json!({ "crv": "Ed448", "x": base64url(&other.raw_public_key().unwrap()) });
    vectors.with("an Ed448 key", &json!({}), &ed448, move |message| {
        Signer::new_without_digest(&other).unwrap().sign_oneshot_to_vec(message).unwrap()
    });
    vectors.with("crv X25519", &json!({}), &json!({ "crv": "X25519" }), sign.clone());
    vectors.with("alg ES256", &json!({}), &json!({ "alg": "ES256" }), sign.clone());
    vectors.with("a short key", &json!({}), &json!({ "x": base64url(&[9; 31]) }), sign.clone());
    // Under a key of small order anybody can sign: R the neutral point, S zero.
    for (name, x) in [
        ("order 1", encoding(1, 0, 0)),
        ("order 1, not canonical", encoding(0xee, 0xff, 0x7f)),
        ("order 1, with a sign", encoding(1, 0, 0x80)),
        ("order 2", encoding(0xec, 0xff, 0x7f)),
        ("order 4", encoding(0, 0, 0)),
        ("order 4, with a sign", encoding(0, 0, 0x80)),
    ] {
        let jwk = json!({ "x": base64url(&x) });
        vectors.with(format!("a key of {name}"), &json!({}), &jwk, |_| {
            [encoding(1, 0, 0), [0; 32]].concat()
        });
    }
    vectors.refuse().await;
}
