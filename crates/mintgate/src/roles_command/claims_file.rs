//! A file of claims: one JSON object, read by the rules for a provider's claims.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
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
    if bytes.len() as u64 > MAX_BYTES {
        bail!("the claims in {name} are longer than 1 MiB");
    }
    parse(&bytes).with_context(|| format!("the claims in {name}"))
}

fn read_bounded(source: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> anyhow::Result<BTreeMap<String, ClaimValue>> {
    // What every compact JWS begins with: {" in base64url.
    if bytes.trim_ascii().starts_with(b"eyJ") {
        bail!("this is a token; write what is in its payload, the part between the dots, decoded");
    }
    parse_claims(bytes).map_err(|error| anyhow!("the text {error}"))
}
