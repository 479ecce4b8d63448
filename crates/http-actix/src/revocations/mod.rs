//! `GET /api/v1/auth/revocations`: services that verify access tokens themselves learn which of them to refuse.

mod feed;
mod follower;

use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use mintgate_domain::model::RevocationCursor;
use mintgate_domain::{AuthError, ErrorCode};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::debug_span;
use url::form_urlencoded;
use utoipa::IntoParams;

use crate::basic;
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::ApiError;
use crate::openapi::Operation;
use crate::sessions::uncached;
use crate::validation::{BrokenField, BrokenRule};

pub(crate) use feed::{Feed, FollowedPorts};
use follower::{Follower, OpenStream};

/// The path below that of the API.
pub(crate) const PATH: &str = "revocations";
/// The media type of a statement (RFC 7519 §10.3.1).
pub(crate) const MEDIA_TYPE: &str = "application/jwt";
/// The media type of a stream of statements.
pub(crate) const EVENTS: &str = "text/event-stream";

/// How many messages may wait for a client that does not read.
const WAITING_MESSAGES: usize = 4;

/// The query string of the log of revocations: the place behind which to begin.
#[derive(IntoParams)]
#[expect(dead_code, reason = "describes the query string, which is read by `place`")]
struct RevocationsQuery {
    /// The `cursor` of what was read last; left out or empty at the beginning.
    after: Option<String>,
}

pub(crate) fn operation() -> Operation {
    Operation::new("Back ends", "followRevocations", "Learn which access tokens to refuse")
        .about(
            "Of sessions and users whose access tokens must be refused before they expire. The body is a JWS \
             with the `typ` `revocations+jwt`, signed with a key of the JWKS; with `Accept: \
             text/event-stream` a stream of them, whose `Last-Event-ID` stands for `after`. Not with HS256.",
        )
        .query::<RevocationsQuery>()
        .answers_as(
            StatusCode::OK,
            "What there is behind the cursor.",
            &[MEDIA_TYPE, EVENTS],
            &json!({ "type": "string" }),
        )
        .needs_client()
        .refuses([
            ErrorCode::NotFound,
            ErrorCode::Overloaded,
            ErrorCode::StartAgain,
            ErrorCode::StoreUnavailable,
            ErrorCode::TokenGenerationFailed,
        ])
}

/// Answers what is behind a place of the log: a page of it, or everything as it comes.
pub(crate) async fn show(request: HttpRequest, state: State) -> Result<HttpResponse, ApiError> {
    let client = basic::client(request.headers(), &state)?;
    LogFields::update(&request, |fields| fields.client = Some(client.id.clone()));
    let Some(revocations) = state.use_cases.revocations.clone() else {
        let cause = "access tokens are signed with HS256, so nobody else could verify a statement";
        return Err(ApiError::new(ErrorCode::NotFound).because(cause));
    };
    let is_stream = wants_stream(request.headers());
    let after = place(&request, is_stream)?;
    let stream_place = is_stream.then(|| state.admission.revocation_streams.take()).transpose()?;
    let asking = {
        let (revocations, after) = (Arc::clone(&revocations), after.clone());
        async move { revocations.page(after.as_ref()).await }
    };
    let place = state.admission.introspections.take()?;
    let first = state.run(place, debug_span!("follow_revocations"), asking).await?;
    let Some(place) = stream_place else {
        let statement = revocations.statement(&client.id, after.as_ref(), &first)?;
        state.ports.metrics.revocations_told(first.events.len());
        let mut answer = uncached(HttpResponse::Ok());
        return Ok(answer.content_type(MEDIA_TYPE).body(statement.expose().to_owned()));
    };
    let mut answer = uncached(HttpResponse::Ok());
    // nginx would collect the messages.
    answer.content_type(EVENTS).insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let (sender, receiver) = mpsc::channel(WAITING_MESSAGES);
    let follower = Follower {
        client: client.id,
        revocations,
        feed: Arc::clone(&state.feed),
        ports: state.ports.followed(),
        sender,
        open: OpenStream::new(place, Arc::clone(&state.ports.metrics)),
    };
    state.ports.runtime.spawn(follower.run(after, first));
    let messages = stream::unfold(receiver, |mut receiver| async {
        let message = receiver.recv().await?;
        Some((Ok::<_, actix_web::Error>(message), receiver))
    });
    Ok(answer.streaming(messages))
}

/// Whether the caller names the media type of a stream.
fn wants_stream(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(','));
    ranges.any(|range| {
        let media_type = range.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case(EVENTS)
    })
}

/// The place that the caller names; none for the beginning.
///
/// # Errors
/// `INVALID_REQUEST` for two places, and `START_AGAIN` for what cannot be one.
fn place(request: &HttpRequest, is_stream: bool) -> Result<Option<RevocationCursor>, ApiError> {
    let query = form_urlencoded::parse(request.query_string().as_bytes());
    let mut named = query.filter(|(name, _)| name == "after").map(|(_, value)| value.into_owned());
    let (first, second) = (named.next(), named.next());
    if second.is_some() {
        return Err(ApiError::invalid(vec![BrokenField::new("after", BrokenRule::Twice)]));
    }
    let last = request.headers().get("last-event-id").filter(|_| is_stream);
    let text = match last {
        Some(last) => Some(String::from_utf8_lossy(last.as_bytes()).into_owned()),
        None => first,
    };
    match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => {
            let cursor = RevocationCursor::parse(text);
            Ok(Some(cursor.ok_or(AuthError::NoSuchPlace)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn cursor(text: &str) -> RevocationCursor {
        RevocationCursor::parse(text).unwrap()
    }

    #[test]
    fn the_place_is_that_of_the_query_or_of_the_last_event() {
        let read = |query: &str, last: Option<&'static str>, is_stream| {
            let mut request = TestRequest::with_uri(&format!("/?{query}"));
            if let Some(last) = last {
                request = request.insert_header(("last-event-id", last));
            }
            place(&request.to_http_request(), is_stream).map_err(|error| error.kind().code())
        };
        for nothing in ["", "after=", "other=1"] {
            assert_eq!(read(nothing, None, false), Ok(None), "{nothing}");
        }
        assert_eq!(read("after=a.1&b=2", None, false), Ok(Some(cursor("a.1"))));
        assert_eq!(read("after=a%2E1", None, true), Ok(Some(cursor("a.1"))));
        assert_eq!(read("after=a.1", Some("a.2"), true), Ok(Some(cursor("a.2"))));
        assert_eq!(read("after=a.1", Some("a.2"), false), Ok(Some(cursor("a.1"))));
        assert_eq!(read("after=a.1&after=a.2", None, false), Err("INVALID_REQUEST"));
        for odd in ["after=%20", "after=a%00", &format!("after={}", "a".repeat(300))] {
            assert_eq!(read(odd, None, false), Err("START_AGAIN"), "{odd}");
        }
    }

    #[test]
    fn a_stream_is_for_whoever_names_it() {
        let wants = |accept: &'static str| {
            let request = TestRequest::default().insert_header(("accept", accept));
            wants_stream(request.to_http_request().headers())
        };
        for yes in ["text/event-stream", "Text/Event-Stream;q=0.5", "*/*, text/event-stream"] {
            assert!(wants(yes), "{yes}");
        }
        for no in ["*/*", "application/jwt", "text/*"] {
            assert!(!wants(no), "{no}");
        }
    }
}
