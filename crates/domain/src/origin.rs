//! Whose request is being carried out, as far as the audit log wants to know.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::model::{AuditEvent, ClientInfo};

/// Where a request came from. It follows the work on the request as a tracing span does, so that nothing
/// between the HTTP adapter and the audit log has to hand it on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The id of the request, which its answer names. The caller may have chosen it.
    pub request_id: Option<Arc<str>>,
    /// Our own id of the request's trace.
    pub trace_id: Option<Arc<str>>,
    /// The user agent and the network of the caller.
    pub client: ClientInfo,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Origin>>> = const { RefCell::new(None) };
}

impl Origin {
    /// The origin of what this thread is doing now; `None` if it is no request's work.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.with_borrow(Option::clone)
    }

    /// Adds what is known of the origin to an event that has nothing of the kind.
    pub fn complete(&self, event: &mut AuditEvent) {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        event.request_id = event.request_id.take().or_else(|| text(&self.request_id));
        event.trace_id = event.trace_id.take().or_else(|| text(&self.trace_id));
        let personal = &mut event.personal;
        personal.network = personal.network.take().or_else(|| self.client.ip_prefix.clone());
        personal.user_agent = personal.user_agent.take().or_else(|| self.client.user_agent.clone());
    }

    /// Runs `work` as that of a request from this origin. A task that `work` spawns is not part of it,
    /// unless it is given [`Origin::current`] in the same way.
    pub fn scope<F: Future>(origin: Option<Arc<Self>>, work: F) -> impl Future<Output = F::Output> {
        Scoped { origin, work: Box::pin(work) }
    }
}

struct Scoped<F> {
    origin: Option<Arc<Origin>>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = Restored(CURRENT.replace(self.origin.clone()));
        let polled = self.work.as_mut().poll(context);
        drop(before);
        polled
    }
}

/// What was current before, and is again when this is dropped, also by a panic.
struct Restored(Option<Arc<Origin>>);

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(id: &str) -> Arc<Origin> {
        Arc::new(Origin { request_id: Some(id.into()), ..Origin::default() })
    }

    fn current_id() -> Option<String> {
        Origin::current()?.request_id.as_deref().map(str::to_owned)
    }

    #[tokio::test]
    async fn an_origin_follows_its_work_alone() {
        let inner = Origin::scope(Some(origin("inner")), async {
            tokio::task::yield_now().await;
            current_id()
        });
        let outer = Origin::scope(Some(origin("outer")), async {
            let before = current_id();
            let within = inner.await;
            (before, within, current_id())
        });
        let other = Origin::scope(Some(origin("other")), async {
            tokio::task::yield_now().await;
            current_id()
        });
        let (outer, other) = tokio::join!(outer, other);
        let name = |id: &str| Some(id.to_owned());
        assert_eq!(outer, (name("outer"), name("inner"), name("outer")));
        assert_eq!(other, name("other"));
        assert_eq!(current_id(), None);
    }

    #[tokio::test]
    async fn a_panic_leaves_no_origin_behind() {
        let work = Origin::scope(Some(origin("a")), async { panic!("a fault") });
        assert!(tokio::spawn(work).await.is_err());
        assert_eq!(current_id(), None);
    }
}
