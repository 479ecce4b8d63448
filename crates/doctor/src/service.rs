//! The service as it runs: what its operations listener says, and what comes of a request to its public
//! address, through whatever is in front of it.

use std::time::Duration;

use mintgate_settings::Settings;
use reqwest::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    COOKIE, HeaderMap, ORIGIN,
};
use reqwest::{Client, Method, RequestBuilder, Response, redirect};
use serde_json::Value;
use url::Url;

use crate::finding::Finding;
use crate::limits;
use crate::operations_listener::OperationsListener;

/// The longest that a request may take, and connecting for it.
const TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes: the metrics of a busy service.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// The value of a cookie that makes a request as large as one with both cookies at their largest.
const COOKIE_BYTES: usize = 8000;
/// The header by which Mintgate's own answers are known.
const REQUEST_ID: &str = "x-request-id";
/// The series that counts callers behind a proxy that is not in `server.trusted_proxies`.
const UNKNOWN_PROXY: &str = "outcome=\"unknown_proxy\"";

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Asks the running service, with an origin whose pages call it.
pub(crate) async fn examine(settings: &Settings, asked: Option<&str>) -> Vec<Finding> {
    let client = Client::builder()
        .user_agent(concat!("mintgate-doctor/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            let what = format!("no request can be made: {error}");
            let (why, fix) = ("the service was not asked", "run this on another machine");
            return vec![Finding::cannot_be_told("service.ready", what, why, fix)];
        }
    };
    let mut findings = operations(settings).await;
    findings.extend(public(&client, settings, asked).await);
    findings
}

async fn send(request: RequestBuilder) -> Result<Answer, String> {
    let answer = request.send().await.map_err(|error| in_short(&error.without_url()))?;
    read(answer).await
}

/// The innermost reason of an error.
fn in_short(error: &(dyn std::error::Error + 'static)) -> String {
    let innermost = std::iter::successors(Some(error), |error| (*error).source()).last();
    let text = innermost.map_or_else(String::new, ToString::to_string);
    text.chars().take(300).collect()
}

async fn read(mut answer: Response) -> Result<Answer, String> {
    let failed = |error: reqwest::Error| in_short(&error.without_url());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY_BYTES {
            return Err(format!("the answer is longer than {MAX_BODY_BYTES} bytes"));
        }
    }
    Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body })
}

async fn operations(settings: &Settings) -> Vec<Finding> {
    const READY: &str = "service.ready";
    let listener = OperationsListener::of(&settings.ops, TIMEOUT);
    let get = async |path: &str| {
        let listener = listener.as_ref().map_err(ToString::to_string)?;
        let asked = listener.ask(|client, origin| client.get(format!("{origin}{path}"))).await;
        read(asked.map_err(|error| in_short(&*error))?).await
    };
    let answer = match get("/health/ready").await {
        Ok(answer) => answer,
        Err(error) => {
            let unknown = Finding::cannot_be_told(
                READY,
                format!("no service answers at {} (ops.listen): {error}", settings.ops.listen),
                "what a running service knows of itself is not looked at",
                "start it, or run this on its machine or in its container",
            );
            return vec![unknown, limits::file_descriptors(settings, None)];
        }
    };
    let mut findings = vec![readiness(&answer)];
    let metrics = get("/metrics").await.ok();
    let metrics = metrics.map(|metrics| String::from_utf8_lossy(&metrics.body).into_owned());
    let number = |name: &str| number(metrics.as_deref()?, name);
    let of_service = number("process_max_fds").zip(number("process_open_fds"));
    findings.push(limits::file_descriptors(settings, of_service));
    findings.extend(metrics.as_deref().and_then(unknown_proxies));
    findings
}

fn readiness(answer: &Answer) -> Finding {
    const CHECK: &str = "service.ready";
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match (answer.status, &body["reason"]) {
        (200, _) => Finding::good(CHECK, "the service is ready"),
        (503, Value::String(reason)) => Finding::wrong(
            CHECK,
            format!("the service is not ready: {reason}"),
            "a balancer sends it no requests",
            "do what the reason says",
        ),
        (status, _) => Finding::wrong(
            CHECK,
            format!("something else than Mintgate answers at ops.listen, with status {status}"),
            "health checks and metrics do not reach the service",
            "see which program listens there, and give one of them another port",
        ),
    }
}

/// The value of a series without labels.
fn number(metrics: &str, name: &str) -> Option<u64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.split('.').next()?.parse().ok()
}

fn unknown_proxies(metrics: &str) -> Option<Finding> {
    let series = metrics.lines().filter(|line| line.contains(UNKNOWN_PROXY));
    let seen = series.filter(|line| !line.ends_with(" 0")).count();
    (seen > 0).then(|| {
        Finding::wrong(
            "proxy.unknown",
            "requests came from a machine nearby with X-Forwarded-For, which is not in server.trusted_proxies",
            "the callers behind it are not limited, and sessions and the audit log show its address alone",
            "add its network to server.trusted_proxies if it is your proxy; the log names its address (peer)",
        )
    })
}

async fn public(client: &Client, settings: &Settings, asked: Option<&str>) -> Vec<Finding> {
    const CHECK: &str = "service.public_url";
    let url = &settings.server.public_url;
    let at = |path: &str| format!("{}{path}", url.as_str().trim_end_matches('/'));
    let addresses = addresses(url).await;
    let answer = match send(client.get(at("/.well-known/openid-configuration"))).await {
        Ok(answer) => answer,
        Err(error) => {
            return vec![Finding::cannot_be_told(
                CHECK,
                format!("{url} does not answer here ({addresses}): {error}"),
                "the name may lead elsewhere from outside, through a router or proxy that this machine does not \
                 pass",
                format!(
                    "try `curl -i {}` where the browsers are, and compare the addresses that the name has there",
                    at("/.well-known/openid-configuration")
                ),
            )];
        }
    };
    let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let is_ours = document["issuer"] == settings.tokens.issuer.as_str();
    if !is_ours || !answer.headers.contains_key(REQUEST_ID) {
        let named = document["issuer"].as_str().map_or("no issuer".to_owned(), |issuer| {
            format!("the issuer {}", issuer.chars().take(200).collect::<String>())
        });
        return vec![Finding::wrong(
            CHECK,
            format!(
                "{url} ({addresses}) answers with status {} and {named}; this service would name the issuer \
                 {} and send X-Request-Id",
                answer.status, settings.tokens.issuer
            ),
            "browsers and verifiers reach something else than this service, or one with another configuration",
            "check what the proxy passes on, and where the name leads; tokens.issuer is by default \
             server.public_url",
        )];
    }
    let mut findings =
        vec![Finding::good(CHECK, format!("the service answers at {url} ({addresses})"))];
    findings.push(long_headers(client.get(at("/api/v1/auth/me"))).await);
    let origins = settings.cors.allowed_origins.iter().map(|origin| origin.as_str().to_owned());
    let origins: Vec<_> = match asked {
        Some(origin) => vec![origin.to_owned()],
        None => origins.filter(|origin| !origin.contains('*')).collect(),
    };
    let allowed =
        |origin: &String| settings.cors.allowed_origins.iter().any(|it| it.allows(origin));
    for origin in origins.into_iter().filter(allowed) {
        let request = client.request(Method::OPTIONS, at("/api/v1/auth/token"));
        findings.push(preflight(request, &origin).await.about(&origin));
    }
    findings
}

/// What a name is looked up to, on this machine.
async fn addresses(url: &Url) -> String {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return "no address".to_owned();
    };
    let host = host.trim_matches(['[', ']']);
    match tokio::time::timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => {
            let mut found: Vec<_> = found.map(|address| address.ip().to_string()).collect();
            found.dedup();
            format!("here {}", found.join(", "))
        }
        Ok(Err(error)) => format!("the name has no address here: {error}"),
        Err(_) => "the name server does not answer here".to_owned(),
    }
}

async fn long_headers(request: RequestBuilder) -> Finding {
    const CHECK: &str = "proxy.request_headers";
    let cookie = format!("mintgate-doctor={}", "x".repeat(COOKIE_BYTES));
    match send(request.header(COOKIE, cookie)).await {
        Ok(answer) if answer.headers.contains_key(REQUEST_ID) => {
            Finding::good(CHECK, "requests with large cookies reach the service")
        }
        Ok(answer) => Finding::wrong(
            CHECK,
            format!(
                "a request with {COOKIE_BYTES} bytes of cookies is answered with status {} by something in front \
                 of the service",
                answer.status
            ),
            "people with many roles or other cookies are locked out",
            "raise the proxy's limit for request headers: `large_client_header_buffers 4 16k` in nginx, \
             `LimitRequestFieldSize 16384` in Apache",
        ),
        Err(error) => Finding::cannot_be_told(
            CHECK,
            format!("a request with {COOKIE_BYTES} bytes of cookies got no answer: {error}"),
            "people with many roles or other cookies may be locked out",
            "look into the log of the proxy",
        ),
    }
}

async fn preflight(request: RequestBuilder, origin: &str) -> Finding {
    const CHECK: &str = "origin.preflight";
    let request = request
        .header(ORIGIN, origin)
        .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(ACCESS_CONTROL_REQUEST_HEADERS, "content-type");
    let answer = match send(request).await {
        Ok(answer) => answer,
        Err(error) => {
            let what = format!("the preflight got no answer: {error}");
            let (why, fix) = ("browsers ask so before they post", "look into the log of the proxy");
            return Finding::cannot_be_told(CHECK, what, why, fix);
        }
    };
    let permitted: Vec<_> = answer.headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect();
    match permitted[..] {
        [one] if one == origin => Finding::good(CHECK, "browsers are told that its pages may call"),
        [] | [_] => Finding::wrong(
            CHECK,
            format!("browsers are not told that its pages may call (status {})", answer.status),
            "they refuse every request of the page, with a CORS error",
            "have the proxy pass OPTIONS, Origin and the Access-Control headers on; if it does, the running \
             service has another configuration: restart it",
        ),
        _ => Finding::wrong(
            CHECK,
            "the permission (Access-Control-Allow-Origin) comes twice",
            "browsers refuse an answer with two of them",
            "remove the proxy's own CORS headers: Mintgate sends the right ones",
        ),
    }
}
