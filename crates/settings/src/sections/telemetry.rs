//! `[telemetry]`: traces for an OpenTelemetry collector.

use mintgate_config_reader::{Invalid, Section, invalid, key};
use mintgate_domain::SecretText;
use url::Url;

use super::server::network;
use crate::rules;
use crate::types::TelemetrySettings;

/// Reads the section `[telemetry]`.
pub(crate) fn telemetry(s: &mut Section<'_>) -> Option<TelemetrySettings> {
    let otlp_endpoint = s.text(
        key(
            "otlp_endpoint",
            "The address of an OpenTelemetry collector, such as `http://127.0.0.1:4318`. Spans are posted to \
             `/v1/traces` below it, as OTLP in protobuf. A collector that does not answer delays nothing: \
             spans are dropped, and counted in `mintgate_trace_spans_dropped_total`.",
        )
        .optional("no spans are sent"),
        "URL",
        endpoint,
    );
    let otlp_authorization = s.text_or_file(
        key("otlp_authorization", "The header `Authorization` of what is sent to the collector.")
            .secret(),
        "header value",
        header_value,
    );
    let sample_percent = s.number(
        key("sample_percent", "Of a hundred requests, how many are traced.").default(100),
        0..=100,
    );
    let service_name = s.text(
        key("service_name", "The attribute `service.name` of spans.").default("mintgate"),
        "name",
        rules::non_empty,
    );
    let trusted_callers = s.list(
        key(
            "trusted_callers",
            "The networks, in CIDR form, of peers whose `traceparent` is continued: their requests belong to \
             the caller's trace, and are traced if the caller says so. The `traceparent` of any other caller \
             becomes a link, since anybody can send one.",
        )
        .default([]),
        "list of CIDRs",
        network,
    );
    Some(TelemetrySettings {
        otlp_endpoint,
        otlp_authorization,
        sample_percent: sample_percent?,
        service_name: service_name?,
        trusted_callers: trusted_callers?,
    })
}

fn endpoint(text: &str) -> Result<Url, Invalid> {
    let url = rules::absolute_uri(text)?;
    if !matches!(url.scheme(), "http" | "https")
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(invalid(
            "This is not the base address of a collector.",
            "write http:// or https://, the host and the port for OTLP over HTTP, which is 4318 by default",
        ));
    }
    Ok(url)
}

fn header_value(text: &str) -> Result<SecretText, Invalid> {
    if !text.is_empty() && text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Ok(SecretText::new(text));
    }
    Err(invalid(
        "This cannot be the value of a header.",
        "write it as the collector's documentation has it, for example \"Bearer …\"",
    ))
}
