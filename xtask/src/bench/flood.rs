//! `--flood`: how long refreshes take while one network tries many made-up codes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use mintgate_testkit::free_addresses;
use reqwest::Client;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::load::{CLIENTS, Clients, FORWARDED_FOR};
use super::{PROVIDER, WARM_UP};
use crate::http::{plain_client, send_plain};
use crate::process::tail;
use crate::rig::{Mock, REDIRECT_URI, Service, provider};
use crate::say;

/// How many codes are tried in each measurement.
const CODES: u32 = 10_000;
/// How many of them at once.
const AT_ONCE: u32 = 32;
/// How often each client refreshes its session: far from what the machine can do, and from the limits.
const PACE: Duration = Duration::from_millis(150);

/// Measures refreshes without and with the codes, in turn, on an SQLite store.
pub(super) async fn run(
    program: &Path,
    mock: &Mock,
    dir: &Path,
    (rounds, seconds): (u32, u64),
) -> Result<()> {
    let addresses @ [public, ops] = free_addresses();
    let config = [
        format!("[server]\nlisten = \"{public}\"\npublic_url = \"http://{public}\"\n"),
        // So that the codes and the refreshes come from different networks.
        "trusted_proxies = [\"127.0.0.0/8\"]\n".to_owned(),
        format!("[ops]\nlisten = \"{ops}\"\n"),
        format!("[store]\nurl = \"sqlite://{}\"\n", dir.join("mintgate.db").display()),
        "[keys]\ndir = \"keys\"\n[tokens]\nbody_delivery = true\n".to_owned(),
        provider(PROVIDER, &mock.issuer, &[REDIRECT_URI], ""),
    ];
    let mut service = Service::configure("mintgate", program, dir, &config.concat(), addresses)?;
    service.migrate().await?;
    service.start().await?;
    let measured = measure(&service.base(), mock, rounds, Duration::from_secs(seconds)).await;
    measured.with_context(|| format!("the end of the service's log:\n{}\n", tail(&service.log())))
}

async fn measure(base: &str, mock: &Mock, rounds: u32, span: Duration) -> Result<()> {
    say::line(&format!(
        "flood: {CLIENTS} clients refresh every {PACE:?}; {CODES} codes of one network in {span:?}, \
         {} processors; times in milliseconds",
        std::thread::available_parallelism()?
    ));
    let mut clients = Clients::sign_in(base, &mock.issuer, PROVIDER).await?.naming_callers();
    clients.refresh_times(WARM_UP, PACE).await?;
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let alone = Times::of(clients.refresh_times(span, PACE).await?);
        let codes = tokio::spawn(try_codes(base.to_owned(), span));
        let beside = Times::of(clients.refresh_times(span, PACE).await?);
        let statuses = codes.await??;
        let ratio = beside.p99 / alone.p99;
        let mut line =
            format!("alone {alone}; beside the codes {beside}; p99 {ratio:.2} ×; codes:");
        for (status, count) in statuses {
            let _ = write!(line, " {count} × {status}");
        }
        say::line(&line);
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    say::line(&format!("flood: p99 {:.2} × in the median", ratios[ratios.len() / 2]));
    Ok(())
}

/// Tries codes that nobody has given, evenly over this time; returns how many were answered with which
/// status.
async fn try_codes(base: String, span: Duration) -> Result<BTreeMap<u16, u32>> {
    let (http, started) = (plain_client()?, Instant::now());
    let mut trying = JoinSet::new();
    for first in 0..AT_ONCE {
        let (http, base) = (http.clone(), base.clone());
        trying.spawn(async move {
            let mut statuses = Vec::new();
            for number in (first..CODES).step_by(AT_ONCE as usize) {
                sleep_until(started + span * number / CODES).await;
                statuses.push(try_code(&http, &base, number).await?);
            }
            anyhow::Ok(statuses)
        });
    }
    let mut counts = BTreeMap::new();
    while let Some(statuses) = trying.join_next().await {
        for status in statuses?? {
            *counts.entry(status).or_default() += 1;
        }
    }
    Ok(counts)
}

async fn try_code(http: &Client, base: &str, number: u32) -> Result<u16> {
    let body = json!({
        "provider": PROVIDER, "authCode": format!("made-up-{number}"), "redirectUri": REDIRECT_URI,
    });
    let request = http.post(format!("{base}/api/v1/auth/token")).header(FORWARDED_FOR, "192.0.2.1");
    Ok(send_plain(request.json(&body)).await?.status)
}

/// The middle and the 99th percentile of times, in milliseconds.
struct Times {
    p50: f64,
    p99: f64,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let time = times.get((times.len() * percent).div_ceil(100).saturating_sub(1));
            time.copied().unwrap_or_default().as_secs_f64() * 1e3
        };
        Self { p50: at(50), p99: at(99) }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.2}, p99 {:.2}", self.p50, self.p99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_time_that_so_many_do_not_exceed() {
        let times = Times::of((1..=200).rev().map(Duration::from_millis).collect());
        assert!((times.p50 - 100.0).abs() < 1e-6 && (times.p99 - 198.0).abs() < 1e-6);
    }
}
