//! A command-line program that signs in with Mintgate: `sign-in [--port PORT] [--no-browser]`, `who`, `sign-out`.

mod api;
mod kept;
mod login;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use api::{Api, Failure};
use kept::Kept;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            // EX_TEMPFAIL of sysexits.h: try again later.
            ExitCode::from(if matches!(failure, Failure::Unavailable(_)) { 75 } else { 1 })
        }
    }
}

fn run() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let api = Api::new(&setting("MINTGATE_URL", "http://127.0.0.1:8080"));
    let kept = Kept::at(file()?);
    match arguments.first().map(String::as_str) {
        Some("sign-in") => {
            let port = arguments.iter().position(|it| it == "--port");
            let port = port.and_then(|it| arguments.get(it + 1)).map_or(Ok(0), |it| it.parse());
            let port =
                port.map_err(|_| Failure::Other("--port: a number up to 65535".to_owned()))?;
            let opens = !arguments.iter().any(|it| it == "--no-browser");
            let tokens = login::sign_in(&api, &setting("MINTGATE_PROVIDER", "mock"), port, opens)?;
            kept.lock()?.replace(&tokens.refresh_token)?;
            println!("signed in as {}", api.me(&tokens.access_token)?);
        }
        Some("who") => {
            let access = refreshed(&api, &kept)?;
            println!("signed in as {}", api.me(&access)?);
        }
        Some("sign-out") => {
            let kept = kept.lock()?;
            if let Some(token) = kept.token()? {
                api.log_out(&token)?;
            }
            kept.remove()?;
            println!("signed out");
        }
        _ => {
            return Err(Failure::Other(
                "usage: sign-in [--port PORT] [--no-browser], who, or sign-out".to_owned(),
            ));
        }
    }
    Ok(())
}

/// A new access token. Each refresh token is good for one refresh, so its successor is kept before anything else happens,
/// and other processes of this program wait meanwhile.
fn refreshed(api: &Api, kept: &Kept) -> Result<String, Failure> {
    let kept = kept.lock()?;
    let token = kept.token()?.ok_or(Failure::SignedOut)?;
    match api.refresh(&token) {
        Ok(tokens) => {
            kept.replace(&tokens.refresh_token)?;
            Ok(tokens.access_token)
        }
        Err(Failure::SignedOut) => {
            kept.remove()?;
            Err(Failure::SignedOut)
        }
        Err(other) => Err(other),
    }
}

fn setting(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn file() -> Result<PathBuf, Failure> {
    if let Some(file) = env::var_os("MINTGATE_TOKEN_FILE") {
        return Ok(file.into());
    }
    let home =
        env::home_dir().ok_or_else(|| Failure::Other("set MINTGATE_TOKEN_FILE".to_owned()))?;
    Ok(home.join(".mintgate-example"))
}
