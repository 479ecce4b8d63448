//! What the line of a request says, and what becomes of the service when its log cannot be written:
//! nothing.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::process::Process;
use crate::common::{Options, Store, TestService, bare, log};
use mintgate_testkit::Collector;
use mintgate_testkit::http::RequestBuilder;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

/// Makes so many lines that all the buffers in between are full after a few thousand requests.
const TRACE: &str = "[log]\nfilter = \"trace\"";

fn dropped_lines(metrics: &str) -> u64 {
    let series = "mintgate_log_lines_dropped_total ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(series));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
}

/// Sends requests, all of which are answered, until lines have been dropped.
async fn until_lines_are_dropped(process: &Process) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let url = format!("http://{}/.well-known/jwks.json", process.public);
    for requests in 1..=20_000 {
        let answer = client.get(&url).send().await.expect("an answer in time");
        assert_eq!(answer.status(), StatusCode::OK);
        if requests % 50 == 0 && dropped_lines(&process.ops("/metrics").await.unwrap().1) > 0 {
            assert_eq!(process.ops("/health/ready").await.unwrap().0, StatusCode::OK);
            return;
        }
    }
    panic!("no line has been dropped");
}

#[tokio::test]
async fn the_line_of_a_refusal_names_the_callers_network_the_fields_at_fault_and_what_was_refused()
{
    log::keep();
    let options = Options { server: "trusted_proxies = [\"127.0.0.0/8\"]", ..Options::default() };
    let service = TestService::start_with(Store::Sqlite, options).await;
    let with = |field: &str, value: &str| {
        let mut body = bare("code");
        body[field] = json!(value);
        service.post(&body)
    };
    let foreign = || service.post(&bare("code")).header("origin", "https://page.example\t.com");
    let cases: [(RequestBuilder, &[&str]); 6] = [
        (with("authCode", ""), &["authCode must"]),
        (with("codeVerifier", "short"), &["codeVerifier must"]),
        (
            with("redirectUri", "https://elsewhere.example/cb"),
            &["\"https://elsewhere.example/cb\""],
        ),
        (with("provider", &"x".repeat(64)), &["not configured", "xxxx"]),
        (with("iss", "https://another.example"), &["iss is \"https://another.example\""]),
        (foreign(), &["\"https://page.example.com\""]),
    ];
    for (request, said) in cases {
        let answer = request.header("x-forwarded-for", "198.51.100.7").send().await.unwrap();
        assert!(answer.status().is_client_error());
        let line = log::line(answer.headers()["x-request-id"].to_str().unwrap());
        assert_eq!(line["network"], "198.51.100.0/24", "{line}");
        let reason = line["reason"].as_str().unwrap();
        assert!(said.iter().all(|part| reason.contains(part)), "{said:?} {line}");
        assert!(!reason.contains(char::is_control), "{line}");
    }
    let keys = service.client.get(service.url("/.well-known/jwks.json"));
    let answer = keys.header("x-forwarded-for", "2001:db8:1:2::3").send().await.unwrap();
    let line = log::line(answer.headers()["x-request-id"].to_str().unwrap());
    assert_eq!(line["network"], "2001:db8:1::/48", "{line}");
}

#[tokio::test]
async fn traces_arrive_at_the_collector_under_the_id_that_the_log_line_has() {
    let collector = Collector::start(true).await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let output = Stdio::from(log.reopen().unwrap());
    let more = format!("[telemetry]\notlp_endpoint = \"http://{}\"", collector.address);
    let mut process = Process::start(&more, "", |command: &mut Command| {
        command.stdout(output);
    })
    .await;
    let strangers = "4bf92f3577b34da6a3ce929d0e0e4736";
    let url = format!("http://{}/api/v1/auth/refresh", process.public);
    let request = reqwest::Client::new().post(url).header("x-request-id", "request-0001");
    let traceparent = format!("00-{strangers}-00f067aa0ba902b7-01");
    let answer = request.header("traceparent", traceparent).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    process.signal("TERM");
    assert_eq!(process.exit_code(10).await, Some(0));

    let text = std::fs::read_to_string(log.path()).unwrap();
    let line = text.lines().find(|line| line.contains("request-0001")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["caller_trace_id"], strangers);
    let trace_id = line["trace_id"].as_str().unwrap();
    assert_ne!(trace_id, strangers);
    // The last spans are sent before the process ends.
    let sent: Vec<u8> = collector.posted().into_iter().flat_map(|posted| posted.body).collect();
    let has = |bytes: &[u8]| sent.windows(bytes.len()).any(|window| window == bytes);
    let binary = |hex: &str| u128::from_str_radix(hex, 16).unwrap().to_be_bytes();
    assert!(has(&binary(trace_id)) && has(&binary(strangers)));
    assert!(has(b"POST /api/v1/auth/refresh"));
}

#[tokio::test]
async fn a_collector_that_is_gone_or_never_answers_delays_nothing_and_its_spans_are_counted() {
    let silent = Collector::start(false).await;
    for address in [silent.address.to_string(), "127.0.0.1:9".to_owned()] {
        let more = format!("[telemetry]\notlp_endpoint = \"http://{address}\"");
        let mut process = Process::start(&more, "", |_| ()).await;
        let url = format!("http://{}/.well-known/jwks.json", process.public);
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        // More than what waits, so that some are dropped before the collector is given up.
        for _ in 0..20 {
            let all = (0..500).map(|_| client.get(&url).send());
            for answer in futures_util::future::join_all(all).await {
                assert_eq!(answer.unwrap().status(), StatusCode::OK);
            }
        }
        let series = "mintgate_trace_spans_dropped_total ";
        let metrics = process.ops("/metrics").await.unwrap().1;
        let dropped = metrics.lines().find_map(|line| line.strip_prefix(series)).unwrap();
        assert!(dropped.parse::<u64>().unwrap() > 0, "{dropped}");
        process.signal("TERM");
        assert_eq!(process.exit_code(10).await, Some(0));
    }
}

fn to_a_pipe(command: &mut Command) {
    command.stdout(Stdio::piped());
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_stops_nothing_and_does_not_keep_the_process_from_ending() {
    let mut process = Process::start(TRACE, "", to_a_pipe).await;
    until_lines_are_dropped(&process).await;
    process.signal("TERM");
    assert_eq!(process.exit_code(10).await, Some(0));
}

#[tokio::test]
async fn a_pipe_that_is_read_again_gets_the_number_of_lines_that_were_dropped() {
    let mut process = Process::start(TRACE, "", to_a_pipe).await;
    until_lines_are_dropped(&process).await;
    let pipe = BufReader::new(process.child.stdout.take().unwrap());
    let (report, mut reported) = tokio::sync::watch::channel(0);
    let reading = std::thread::spawn(move || {
        for line in pipe.lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).expect("JSON");
            report.send_modify(|lines| *lines += line["dropped"].as_u64().unwrap_or(0));
        }
    });
    // It reports them when it has written all that waited.
    let dropped = dropped_lines(&process.ops("/metrics").await.unwrap().1);
    let all_reported = reported.wait_for(|lines| *lines >= dropped);
    timeout(Duration::from_secs(20), all_reported).await.expect("in time").unwrap();
    process.signal("TERM");
    assert_eq!(process.exit_code(10).await, Some(0));
    reading.join().unwrap();
}

#[tokio::test]
async fn a_full_disk_under_the_log_stops_nothing() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let to_full = |command: &mut Command| {
        command.stdout(full()).stderr(full());
    };
    let mut process = Process::start("", "", to_full).await;
    until_lines_are_dropped(&process).await;
    process.signal("TERM");
    assert_eq!(process.exit_code(10).await, Some(0));
}

#[tokio::test]
async fn a_closed_pipe_under_the_log_stops_nothing() {
    let to_pipes = |command: &mut Command| {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    };
    let mut process = Process::start("", "", to_pipes).await;
    drop((process.child.stdout.take(), process.child.stderr.take()));
    until_lines_are_dropped(&process).await;
    process.signal("TERM");
    assert_eq!(process.exit_code(10).await, Some(0));
}
