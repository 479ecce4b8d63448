//! A file of claims: one JSON object, read by the rules for a provider's claims.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context as _;
use mintgate_domain::model::ClaimValue;
use mintgate_identity_openid::parse_claims;

/// The longest file, in bytes; no provider's claims are longer.
const MAX_BYTES: u64 = 1 << 20;

/// Reads claims from a file, or from `stdin` for `-`.
pub(super) fn read(path: &Path, stdin: impl Read) -> anyhow::Result<BTreeMap<String, ClaimValue>> {
    let (name, bytes) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), read_bounded(stdin))
    } else {
        (path.display().to_string(), File::open(path).and_then(read_bounded))
    };
    let bytes = bytes.with_context(|| format!("the claims cannot be read from {name}"))?;
    parse(&bytes).with_context(|| format!("the claims in {name}"))
}

fn read_bounded(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why a text is no person's claims; none of it is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoClaims {
    TooLong,
    /// The text is a whole token.
    Token,
    Json(mintgate_strict_json::Error),
}

impl std::error::Error for NoClaims {}

impl fmt::Display for NoClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the text is longer than {} MiB", MAX_BYTES >> 20),
            Self::Token => f.write_str(
                "this is a token; write what is in its payload, the part between the dots, decoded",
            ),
            Self::Json(error) => write!(f, "the text {error}"),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, ClaimValue>, NoClaims> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(NoClaims::TooLong);
    }
    // What every compact JWS begins with: {" in base64url.
    if bytes.trim_ascii().starts_with(b"eyJ") {
        return Err(NoClaims::Token);
    }
    parse_claims(bytes).map_err(NoClaims::Json)
}
