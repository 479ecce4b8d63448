//! `Idempotency-Key`: reads the header, and lets requests of one key wait for each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use mintgate_domain::model::IdempotencyKey;
use mintgate_domain::{FieldError, TokenHash};
use tokio::sync::OwnedMutexGuard;

use crate::error::{ApiError, ErrorKind};

const HEADER: &str = "Idempotency-Key";
const MIN_CHARACTERS: usize = 16;
const MAX_CHARACTERS: usize = 255;

/// What the request is known by, if it wants to be: the header's value as it is, quotes included,
/// and its body as it is.
///
/// # Errors
/// `INVALID_REQUEST`
pub(crate) fn key(headers: &HeaderMap, body: &[u8]) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = headers.get_all(HEADER);
    let Some(value) = values.next() else { return Ok(None) };
    let broken = |rule: &str| Err(ApiError::invalid(vec![FieldError::new(HEADER, rule)]));
    if values.next().is_some() {
        return broken("must not be given twice");
    }
    let value = value.as_bytes();
    if !(MIN_CHARACTERS..=MAX_CHARACTERS).contains(&value.len())
        || !value.iter().all(u8::is_ascii_graphic)
    {
        return broken("must have 16 to 255 visible ASCII characters");
    }
    Ok(Some(IdempotencyKey { key: TokenHash::of_bytes(value), body: TokenHash::of_bytes(body) }))
}

/// Lets the requests of one key in one after another, so that the second finds what the first did.
///
/// It spans this process. Between replicas the store decides which of two opens the session.
#[derive(Debug, Default, Clone)]
pub(crate) struct Turns(Arc<Mutex<HashMap<TokenHash, Line>>>);

#[derive(Debug, Default)]
struct Line {
    door: Arc<tokio::sync::Mutex<()>>,
    /// Those waiting and the one inside.
    present: usize,
}

/// The right to go on; the next may when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    // Opened before the place is left: fields are dropped in this order.
    _inside: OwnedMutexGuard<()>,
    _place: Place,
}

/// A place in the line of a key, which is forgotten with the last.
#[derive(Debug)]
struct Place {
    turns: Turns,
    key: TokenHash,
}

impl Turns {
    /// Waits for its turn.
    ///
    /// # Errors
    /// `OVERLOADED` if it does not come in time.
    pub(crate) async fn wait(&self, key: TokenHash, timeout: Duration) -> Result<Turn, ApiError> {
        let door = {
            let mut lines = self.lock();
            let line = lines.entry(key).or_default();
            line.present += 1;
            Arc::clone(&line.door)
        };
        let place = Place { turns: self.clone(), key };
        match tokio::time::timeout(timeout, door.lock_owned()).await {
            Ok(inside) => Ok(Turn { _inside: inside, _place: place }),
            Err(_) => Err(ApiError::new(ErrorKind::OVERLOADED)
                .with_detail("another request of the same idempotency key takes too long")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenHash, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.turns.lock();
        if let Some(line) = lines.get_mut(&self.key) {
            line.present -= 1;
            if line.present == 0 {
                lines.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let name = HeaderName::from_static("idempotency-key");
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_key_of_16_to_255_visible_characters_is_taken_as_it_is() {
        assert_eq!(key(&headers(&[]), b"body").unwrap(), None);
        for good in ["k".repeat(16), "~".repeat(255), "\"8e03978e-40d5-43dd\"".to_owned()] {
            let taken = key(&headers(&[&good]), b"body").unwrap().unwrap();
            let (expected, body) = (TokenHash::of(&good), TokenHash::of("body"));
            assert_eq!(taken, IdempotencyKey { key: expected, body }, "{good}");
        }
    }

    #[test]
    fn any_other_key_is_refused_by_the_headers_name() {
        let (short, long) = ("k".repeat(15), "k".repeat(256));
        let good = "k".repeat(16);
        for bad in [
            &[short.as_str()][..],
            &[long.as_str()],
            &["with a space inside"],
            &["with-an-ümlaut-in-it"],
            &[""],
            &[good.as_str(), good.as_str()],
        ] {
            let error = key(&headers(bad), b"").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::INVALID_REQUEST);
            assert_eq!(error.fields()[0].field, "Idempotency-Key", "{bad:?}");
        }
    }

    fn waits(future: Pin<&mut impl Future>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn one_key_is_worked_on_once_at_a_time_and_another_beside_it() {
        let turns = Turns::default();
        let first = turns.wait(TokenHash::of("a"), LONG).await.unwrap();
        let _other = turns.wait(TokenHash::of("b"), LONG).await.unwrap();
        let mut second = pin!(turns.wait(TokenHash::of("a"), LONG));
        assert!(waits(second.as_mut()));
        drop(first);
        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn waiting_has_an_end() {
        let turns = Turns::default();
        let _first = turns.wait(TokenHash::of("a"), LONG).await.unwrap();
        let late = turns.wait(TokenHash::of("a"), Duration::ZERO).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::OVERLOADED);
    }

    #[tokio::test]
    async fn a_key_that_nobody_uses_is_forgotten() {
        let turns = Turns::default();
        let first = turns.wait(TokenHash::of("a"), LONG).await.unwrap();
        {
            let mut gone = pin!(turns.wait(TokenHash::of("a"), LONG));
            assert!(waits(gone.as_mut()));
            assert_eq!(turns.lock()[&TokenHash::of("a")].present, 2);
        }
        assert_eq!(turns.lock()[&TokenHash::of("a")].present, 1);
        drop(first);
        assert!(turns.lock().is_empty());
    }
}
