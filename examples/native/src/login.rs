//! A login with the system's browser, which comes back to a loopback port (RFC 8252 §7.3) with PKCE (RFC 7636).

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use crate::api::{Api, Failure, Tokens};

/// How long one connection may take to send its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// The longest request line that is read, in bytes.
const MAX_LINE: u64 = 16 * 1024;

/// What the provider sends.
#[derive(Default)]
struct Response {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

pub fn sign_in(api: &Api, provider: &str, port: u16, opens: bool) -> Result<Tokens, Failure> {
    let provider = api.provider(provider)?;
    // Not `localhost`, which may be another machine's address in a hosts file (RFC 8252 §8.3).
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let redirect_uri = format!("http://127.0.0.1:{}/callback", listener.local_addr()?.port());
    let [verifier, state, nonce] = [secret()?, secret()?, secret()?];
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));

    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("response_type", "code").append_pair("client_id", &provider.client_id);
    query
        .append_pair("redirect_uri", &redirect_uri)
        .append_pair("scope", &provider.scopes.join(" "));
    query.append_pair("state", &state).append_pair("nonce", &nonce);
    query.append_pair("code_challenge", &challenge).append_pair("code_challenge_method", "S256");
    query.extend_pairs(&provider.authorization_params);
    let joint = if provider.authorization_endpoint.contains('?') { '&' } else { '?' };
    let url = format!("{}{joint}{}", provider.authorization_endpoint, query.finish());
    println!("sign in at {url}");
    if opens {
        let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        // Whoever has no browser here opens the address by hand.
        let _ = Command::new(program).arg(&url).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    }

    let response = wait_for(&listener, &state)?;
    let Some(code) = response.code else {
        let why = response.error.unwrap_or_default();
        return Err(Failure::Other(format!(
            "the sign-in was not finished: {}",
            why.escape_debug()
        )));
    };
    api.redeem(&json!({
        "provider": provider.id, "authCode": code, "redirectUri": redirect_uri, "codeVerifier": verifier,
        "nonce": nonce, "iss": response.iss, "tokenDelivery": "body",
    }))
}

/// 256 random bits.
fn secret() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::Other("no randomness".to_owned()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Waits for the response that belongs to this login. Whatever else connects (another program, a page that guesses the port, a browser
/// that wants an icon) ends nothing.
fn wait_for(listener: &TcpListener, state: &str) -> Result<Response, Failure> {
    loop {
        let (stream, _) = listener.accept()?;
        match answer(stream, state) {
            Ok(Some(response)) => return Ok(response),
            Ok(None) | Err(_) => {}
        }
    }
}

fn answer(mut stream: TcpStream, state: &str) -> std::io::Result<Option<Response>> {
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    let mut line = String::new();
    std::io::Read::take(BufReader::new(&stream), MAX_LINE).read_line(&mut line)?;
    let target = line.strip_prefix("GET /callback?").and_then(|rest| rest.split(' ').next());
    let mut response = Response::default();
    for (name, value) in form_urlencoded::parse(target.unwrap_or_default().as_bytes()) {
        let place = match &*name {
            "code" => &mut response.code,
            "state" => &mut response.state,
            "iss" => &mut response.iss,
            "error" => &mut response.error,
            _ => continue,
        };
        *place = Some(value.into_owned());
    }
    let is_ours = response.state.as_deref() == Some(state);
    let (status, text) = if is_ours {
        ("200 OK", "You can close this window.")
    } else {
        ("404 Not Found", "Nothing here.")
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nReferrer-Policy: no-referrer\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )?;
    Ok(is_ours.then_some(response))
}
