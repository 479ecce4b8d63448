//! What lies underneath an error.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::excerpt;

/// The reason of an error: a sentence for the log, and the error it was made from, if there is one.
///
/// Every error of a port carries one as its [`source`](Error::source). `Display` prints the sentence
/// alone; [`chain`] joins all levels where an error is logged. Neither is ever sent to a client, and
/// neither may hold a code, a token, a secret or a value of a stored row.
///
/// Nothing may be decided by the sentence, so all causes compare as equal: two errors are equal if
/// they are of one kind.
///
/// ```
/// use mintgate_domain::ports::StoreError;
/// use mintgate_domain::{Cause, chain};
///
/// let io = std::io::Error::other("connection reset");
/// let error = StoreError::Unavailable(Cause::from_error("the pool has no connection", io));
/// let text = chain(&error).to_string();
/// assert!(text.ends_with(": the pool has no connection: connection reset"));
/// assert_eq!(error, StoreError::Unavailable("another sentence".into()));
/// ```
#[derive(Clone)]
pub struct Cause {
    text: Cow<'static, str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Cause {
    /// A reason that no other error stands behind.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), source: None }
    }

    /// A reason that is a text from outside: an excerpt of it, in quotation marks.
    pub fn quoting(text: &str) -> Self {
        Self::new(format!("{:?}", excerpt(text)))
    }

    /// A reason with the error that it was made from.
    pub fn from_error(
        text: impl Into<Cow<'static, str>>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self { text: text.into(), source: Some(Arc::new(source)) }
    }
}

impl From<&'static str> for Cause {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl PartialEq for Cause {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Cause {}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", chain(self).to_string())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// An error with everything underneath it, on one line, for the log. A level that repeats the one
/// above it is left out.
pub fn chain(error: &dyn Error) -> impl fmt::Display + '_ {
    fmt::from_fn(move |f| {
        let mut above = error.to_string();
        f.write_str(&above)?;
        let mut below = error.source();
        while let Some(error) = below {
            let text = error.to_string();
            if text != above {
                write!(f, ": {text}")?;
            }
            above = text;
            below = error.source();
        }
        Ok(())
    })
}
