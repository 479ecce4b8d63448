//! A file of claims: one JSON object, read by the rules for a provider's claims.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use mintgate_domain::model::ClaimValue;

use crate::json::parse_object;

/// The longest file, in bytes; no provider's claims are longer.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a person's claims from a file, or from `stdin` for `-`: the payload of an ID token, or the answer of
/// a userinfo endpoint, of at most 1 MiB.
///
/// # Errors
/// [`ClaimsFileError`]
pub fn read_claims_file(
    path: &Path,
    stdin: impl Read,
) -> Result<BTreeMap<String, ClaimValue>, ClaimsFileError> {
    let (name, bytes) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), read_bounded(stdin))
    } else {
        (path.display().to_string(), File::open(path).and_then(read_bounded))
    };
    match bytes {
        Ok(bytes) => parse(&bytes).map_err(|source| ClaimsFileError::NoClaims { name, source }),
        Err(source) => Err(ClaimsFileError::Unreadable { name, source }),
    }
}

/// Why a file gave no claims.
#[derive(Debug, thiserror::Error)]
pub enum ClaimsFileError {
    /// The file cannot be read.
    #[error("the claims cannot be read from {name}")]
    Unreadable {
        /// The file's name, or `standard input`.
        name: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The content of the file is not a set of claims.
    #[error("the claims in {name}")]
    NoClaims {
        /// The file's name, or `standard input`.
        name: String,
        /// What it holds instead.
        source: NoClaims,
    },
}

fn read_bounded(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why a text is not a set of claims; the message contains nothing of the text.
#[derive(Debug, PartialEq, Eq)]
pub enum NoClaims {
    /// The text is longer than 1 MiB.
    TooLong,
    /// The text is a whole token.
    Token,
    /// The text is no JSON object, or one that the strict reader refuses.
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
    parse_object(bytes).map_err(NoClaims::Json)
}
