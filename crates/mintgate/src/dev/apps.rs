//! The pages of `mintgate dev --app`: a developer's own, served from another port of this machine.

use std::net::SocketAddr;

use anyhow::ensure;
use url::{Host, Url};

use crate::settings;

/// Reads the argument of `--app`.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn origin(text: &str) -> Result<Url, String> {
    let example = "write for example http://localhost:5173";
    let url = Url::parse(text).map_err(|error| format!("{error}; {example}"))?;
    match url.scheme() {
        "http" => {}
        "https" => {
            let why = "a page over https is on another site than this service, which speaks http, so \
                       browsers do not send it the cookies";
            return Err(format!("{why}; serve the page over http"));
        }
        _ => return Err(format!("not the origin of a page; {example}")),
    }
    if !settings::is_loopback(&url) {
        return Err(format!(
            "not on this machine, and `mintgate dev` is for this machine alone; {example}"
        ));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("more than an origin; {example}"));
    }
    Ok(url)
}

/// The pages, and the address at which browsers find this service beside them.
pub(super) struct Apps {
    origins: Vec<String>,
    public_url: String,
}

impl Apps {
    /// Pages and service share one host name, since cookies belong to a name: those of `localhost` are not
    /// sent to `127.0.0.1`.
    pub(super) fn new(apps: &[Url], listen: SocketAddr) -> anyhow::Result<Self> {
        let origins = apps.iter().map(|app| app.origin().ascii_serialization()).collect();
        let Some(host) = apps.first().and_then(Url::host) else {
            return Ok(Self { origins, public_url: format!("http://{listen}") });
        };
        for app in apps {
            ensure!(
                app.host().as_ref() == Some(&host),
                "--app {app}: its host is not {host}, that of the first page. Cookies belong to one host name; \
                 use the same one for all pages"
            );
        }
        let is_served = match host {
            Host::Domain(_) => true,
            Host::Ipv4(address) => listen.ip() == address,
            Host::Ipv6(address) => listen.ip() == address,
        };
        ensure!(
            is_served,
            "--app {}: this service is not at {host} but at {}. Use http://localhost in both places, or --listen {host}:{}",
            apps[0],
            listen.ip(),
            listen.port()
        );
        Ok(Self { origins, public_url: format!("http://{host}:{}", listen.port()) })
    }

    pub(super) fn origins(&self) -> &[String] {
        &self.origins
    }

    pub(super) fn public_url(&self) -> &str {
        &self.public_url
    }

    /// The redirect URI of the sign-in page that this command serves.
    pub(super) fn own_redirect_uri(&self) -> String {
        format!("{}/callback", self.public_url)
    }

    /// Where a login may come back to: the own page first, then `/callback` and `/` of each page.
    pub(super) fn redirect_uris(&self) -> Vec<String> {
        let of_apps = self.origins.iter();
        let of_apps =
            of_apps.flat_map(|origin| [format!("{origin}/callback"), format!("{origin}/")]);
        [self.own_redirect_uri()].into_iter().chain(of_apps).collect()
    }

    /// What a developer pastes into a page; nothing without one.
    pub(super) fn lines(&self, provider: &str) -> String {
        let Some(app) = self.origins.first() else { return String::new() };
        format!(
            r#"
  In the page at {app}:

  const auth = "{}/api/v1/auth";
  const call = (path, method = "GET") => fetch(auth + path, {{ method, credentials: "include" }});
  const me = await call("/me").then((answer) => (answer.ok ? answer.json() : null));
  const signIn = () => location.assign(`${{auth}}/start/{provider}?returnTo=${{encodeURIComponent(location.href)}}`);
  const signOut = () => call("/refresh/logout", "POST").then(() => location.reload());
"#,
            self.public_url
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apps(origins: &[&str], listen: &str) -> Result<Apps, String> {
        let urls = origins.iter().map(|text| origin(text)).collect::<Result<Vec<_>, _>>()?;
        Apps::new(&urls, listen.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_service_is_found_under_the_name_that_the_pages_have() {
        let listen = "127.0.0.1:8080";
        let url = |origins: &[&str]| apps(origins, listen).unwrap().public_url;
        assert_eq!(url(&[]), "http://127.0.0.1:8080");
        assert_eq!(url(&["http://localhost:5173"]), "http://localhost:8080");
        assert_eq!(url(&["http://127.0.0.1:5173/"]), "http://127.0.0.1:8080");
        let two = apps(&["http://localhost:5173", "http://LOCALHOST:3000/"], listen).unwrap();
        assert_eq!(two.origins(), ["http://localhost:5173", "http://localhost:3000"]);
        assert_eq!(two.redirect_uris()[1], "http://localhost:5173/callback");
    }

    #[test]
    fn pages_whose_cookies_would_not_arrive_are_refused_with_what_to_write() {
        for (origins, listen, part) in [
            (&["https://localhost:5173"][..], "127.0.0.1:8080", "serve the page over http"),
            (&["http://192.168.1.20:5173"], "127.0.0.1:8080", "not on this machine"),
            (&["http://localhost:5173/app"], "127.0.0.1:8080", "more than an origin"),
            (&["localhost:5173"], "127.0.0.1:8080", "http://localhost:5173"),
            (&["5173"], "127.0.0.1:8080", "http://localhost:5173"),
            (&["http://localhost:1", "http://127.0.0.1:2"], "127.0.0.1:8080", "one host name"),
            (&["http://[::1]:5173"], "127.0.0.1:8080", "--listen [::1]:8080"),
        ] {
            let message = apps(origins, listen).err().expect("refused");
            assert!(message.contains(part), "{origins:?}: {message}");
        }
    }
}
