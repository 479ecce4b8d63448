//! Providers behind a forward proxy, with a certificate of a private authority, and with signed userinfo.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use mintgate_testkit::forward_proxy::ForwardProxy;
use mintgate_testkit::tls::{Certificates, Entrance};
use reqwest::Url;
use serde_json::json;

use super::single::Single;
use super::steps::Steps;
use crate::rig::{Binaries, Mock, REDIRECT_URI};

const THROUGH_A_PROXY: &str =
    "logins, refreshes and logouts, with a provider that only a forward proxy reaches";
const PRIVATE_AUTHORITY: &str =
    "logins, refreshes and logouts, with a certificate of a private authority";
const SIGNED_USERINFO: &str = "logins, refreshes and logouts, with signed userinfo";

/// A name that is nowhere in the DNS.
const FAR: &str = "idp.example.com";
const CREDENTIALS: &str = "mint:hunter2-of-the-proxy";

pub(super) async fn walk(steps: &mut Steps, binaries: &Binaries, dir: &Path) -> Result<()> {
    let dir = |name: &str| -> Result<PathBuf> {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    };
    steps.step(THROUGH_A_PROXY, through_a_proxy(binaries, &dir("proxy")?)).await?;
    steps.step(PRIVATE_AUTHORITY, private_authority(binaries, &dir("authority")?)).await?;
    steps.step(SIGNED_USERINFO, signed_userinfo(binaries, &dir("userinfo")?)).await
}

async fn through_a_proxy(binaries: &Binaries, dir: &Path) -> Result<()> {
    let certificates = Certificates::made_for(FAR);
    let entrance = Entrance::open(Some(&certificates)).await;
    let target = format!("{FAR}:443");
    let proxy = ForwardProxy::start(CREDENTIALS, [(target.as_str(), entrance.address)]).await;
    let more = format!("proxy = \"http://{CREDENTIALS}@{}\"\n", proxy.address);
    let issuer = format!("https://{FAR}");
    let single = behind_tls(binaries, dir, &issuer, &certificates, &entrance, &more).await?;
    single.sessions_at_once().await?;
    let (asked, tunnel) = (proxy.asked(), format!("CONNECT {target}"));
    ensure!(asked.contains(&tunnel), "the proxy was not asked");
    ensure!(asked.iter().all(|it| *it == tunnel), "the proxy was asked for {asked:?}");
    Ok(())
}

async fn private_authority(binaries: &Binaries, dir: &Path) -> Result<()> {
    let certificates = Certificates::made_for("localhost");
    let entrance = Entrance::open(Some(&certificates)).await;
    let issuer = format!("https://localhost:{}", entrance.address.port());
    behind_tls(binaries, dir, &issuer, &certificates, &entrance, "").await?.sessions_at_once().await
}

/// A service that trusts the authority, and its provider behind the entrance.
async fn behind_tls(
    binaries: &Binaries,
    dir: &Path,
    issuer: &str,
    certificates: &Certificates,
    entrance: &Entrance,
    more: &str,
) -> Result<Single> {
    let mock = Mock::start_as(binaries, dir, "mock-idp", &[REDIRECT_URI], Some(issuer)).await?;
    let address = Url::parse(&mock.base)?.socket_addrs(|| None)?;
    entrance.lead_to(*address.first().context("the mock has no address")?);
    let authority = dir.join("authority.pem");
    std::fs::write(&authority, &certificates.authority)?;
    let more = format!("ca_file = \"{}\"\n{more}", authority.display());
    Single::start(binaries, dir, &sqlite(dir), mock, &more).await
}

async fn signed_userinfo(binaries: &Binaries, dir: &Path) -> Result<()> {
    let mock = Mock::start(binaries, dir, "mock-idp").await?;
    mock.order(&json!({ "habits": ["signedUserinfo"] })).await?;
    let single = Single::start(binaries, dir, &sqlite(dir), mock, "userinfo = true\n").await?;
    single.sessions_at_once().await?;
    ensure!(single.mock.stats().await?.userinfo > 0, "userinfo was not asked for");
    Ok(())
}

fn sqlite(dir: &Path) -> String {
    format!("sqlite://{}", dir.join("mintgate.db").display())
}
