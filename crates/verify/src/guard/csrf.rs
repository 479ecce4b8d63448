//! Whether a request with a cookie was sent by a page that may do so.

use super::Denied;
use super::head::Head;

/// Refuses a request that can change something, is authorized by a cookie, and was sent by a page of a foreign
/// origin. A client that is no browser sends neither `Origin` nor `Sec-Fetch-Site`, and passes.
pub(super) fn check(head: &Head<'_>, allowed: &[String]) -> Result<(), Denied> {
    // Browsers let any page open a websocket, with the user's cookies.
    let is_safe = matches!(head.method, "GET" | "HEAD" | "OPTIONS") && !head.is_upgrade;
    // A page cannot set this header: it is what the browser says.
    let same_origin = head.fetch_site == Some(b"same-origin");
    if is_safe || same_origin {
        return Ok(());
    }
    match head.origin[..] {
        [] if head.fetch_site != Some(b"cross-site") => Ok(()),
        [origin] if is_allowed(origin, allowed) || is_own(origin, head.host) => Ok(()),
        _ => Err(Denied::ForeignOrigin),
    }
}

fn is_allowed(origin: &[u8], allowed: &[String]) -> bool {
    allowed.iter().any(|each| each.as_bytes() == origin)
}

/// Whether the origin is that of the host that the request was sent to. One without https is so on this host only: elsewhere, anybody
/// on the network can serve a page of it.
fn is_own(origin: &[u8], host: Option<&str>) -> bool {
    let (Ok(origin), Some(host)) = (std::str::from_utf8(origin), host) else { return false };
    if let Some(origin) = origin.strip_prefix("https://") {
        return origin.eq_ignore_ascii_case(host.strip_suffix(":443").unwrap_or(host));
    }
    let Some(origin) = origin.strip_prefix("http://") else { return false };
    let name = origin.rsplit_once(':').map_or(origin, |(name, _)| name);
    let is_loopback = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    is_loopback && origin.eq_ignore_ascii_case(host)
}
