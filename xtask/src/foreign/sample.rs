//! A provider that is a library, with a sample server in `xtask/foreign/NAME`, and the walk through it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mintgate_testkit::free_addresses;
use rustix::process::Signal;
use serde_json::Value;
use url::Url;

use super::browser::End;
use super::site::{SignedIn, Site};
use super::{AFTER_LOGOUT, PASSWORD, START_LIMIT, configure, explained, fetch, step};
use crate::http::{client, send};
use crate::process::Process;
use crate::rig::{Binaries, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI};

/// Who can sign in at each.
const PERSON: &str = "alice";

/// A sample server. Its environment tells it who its client is; it makes its signing key at its start.
pub(super) struct Sample {
    /// Its folder in `xtask/foreign`, and its id in the configuration of the service.
    pub(super) name: &'static str,
    /// The commands that fetch and build it, in a copy of its folder.
    pub(super) prepared_by: &'static [&'static [&'static str]],
    /// The program that starts it, and its arguments; a program in the copy begins with a dot.
    pub(super) started_by: (&'static str, &'static [&'static str]),
    /// The lines that the service needs beside issuer, client and redirect URIs.
    pub(super) configured: &'static str,
    /// Whether a restart forgets all sessions and refresh tokens.
    pub(super) forgets: bool,
    pub(super) has_back_channel_logout: bool,
    pub(super) has_rp_initiated_logout: bool,
}

/// Where a sample server runs.
struct Place<'a> {
    home: PathBuf,
    dir: &'a Path,
    address: SocketAddr,
    /// The URL of the service.
    service: String,
}

impl Sample {
    pub(super) async fn run(&self, binaries: &Binaries) -> Result<()> {
        let home = step("it is fetched and built", fetch::prepared(self)).await?;
        let dir = tempfile::Builder::new().prefix("mintgate-foreign-").tempdir()?;
        let [public, ops, address] = free_addresses();
        let place = Place { home, dir: dir.path(), address, service: format!("http://{public}") };
        let lines = format!(
            "issuer = \"{}\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"{CLIENT_SECRET}\"\n{}",
            place.issuer(),
            self.configured
        );
        let mut service = configure(binaries, dir.path(), [public, ops], self.name, &lines)?;
        let mut process = Some(step("it starts", self.start(&place)).await?);
        step("mintgate starts", async {
            service.migrate().await?;
            service.start().await
        })
        .await?;
        let site = Site { service: &service, provider: self.name };
        let walked = self.walk(&site, &place, &mut process).await;
        let log = std::fs::read(self.log(&place))?;
        explained(walked, &service, &String::from_utf8_lossy(&log))
    }

    async fn walk(
        &self,
        site: &Site<'_>,
        place: &Place<'_>,
        process: &mut Option<Process>,
    ) -> Result<()> {
        let mut session = step("a login", site.sign_in(PERSON)).await?;
        step("a refresh that asks the provider again", site.recheck(&mut session)).await?;
        step("a restart with another signing key, and a login", async {
            // The address must be free.
            drop(process.take());
            *process = Some(self.start(place).await?);
            site.sign_in(PERSON).await
        })
        .await?;
        if self.forgets {
            let name = "a session that the provider no longer knows ends at the next refresh";
            step(name, site.ended(&mut session)).await?;
        } else {
            let name = "an older session goes on, with the new key";
            step(name, site.recheck(&mut session)).await?;
        }
        if self.has_back_channel_logout {
            let session = site.sign_in(PERSON).await?;
            let name = "a sign-out at the provider ends the session here";
            step(name, self.sign_out_there(site, place, session)).await?;
        }
        if self.has_rp_initiated_logout {
            let session = site.sign_in(PERSON).await?;
            let name = "a sign-out here is one at the provider too";
            step(name, site.sign_out(session, PERSON)).await?;
        }
        Ok(())
    }

    /// Has the person open the provider's page for signing out, which this service has not sent them to.
    async fn sign_out_there(
        &self,
        site: &Site<'_>,
        place: &Place<'_>,
        mut session: SignedIn,
    ) -> Result<()> {
        let document: Value = send(client()?.get(place.document())).await?.json()?;
        let page = document["end_session_endpoint"].as_str().context("no end_session_endpoint")?;
        let end = session.browser.visit(&Url::parse(page)?, PERSON).await?;
        ensure!(matches!(end, End::Page), "the browser is sent away");
        site.ended_by_itself(&session).await
    }

    fn log(&self, place: &Place<'_>) -> PathBuf {
        place.dir.join(format!("{}.log", self.name))
    }

    async fn start(&self, place: &Place<'_>) -> Result<Process> {
        let (program, arguments) = self.started_by;
        let program =
            if program.starts_with('.') { place.home.join(program) } else { program.into() };
        let back_channel =
            format!("{}/api/v1/auth/backchannel-logout/{}", place.service, self.name);
        let mut command = Command::new(program);
        command.current_dir(&place.home).args(arguments);
        command.env("ISSUER", place.issuer()).env("PORT", place.address.port().to_string());
        command.env("DATA", place.dir).env("CLIENT_ID", CLIENT_ID);
        command.env("CLIENT_SECRET", CLIENT_SECRET).env("REDIRECT_URI", REDIRECT_URI);
        command.env("AFTER_LOGOUT", AFTER_LOGOUT).env("BACKCHANNEL_LOGOUT", back_channel);
        command.env("PASSWORD", PASSWORD).env("NO_PROXY", "*");
        let mut process =
            Process::logged(self.name, &mut command, &self.log(place))?.stopped_by(Signal::TERM);
        let client = client()?;
        let ready = || async { send(client.get(place.document())).await?.expect_status(200) };
        process.ready(START_LIMIT, ready).await?;
        Ok(process)
    }
}

impl Place<'_> {
    fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    fn document(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer())
    }
}
