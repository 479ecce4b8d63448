//! A limit on concurrent calls, with a queue that is bounded in length and in time, and shared out among
//! the networks that callers are in.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mintgate_domain::Origin;
use tokio::sync::oneshot;

/// How many callers may wait for each call that may run.
const QUEUE_PER_CALL: usize = 16;

/// The network of the request that a call is made for, as the audit log has it; `None` for work of the
/// service itself.
type Network = Option<String>;

/// Limits how many calls run at once and how many wait.
///
/// The networks whose calls wait take turns, each in the order of its calls. If the queue is full, a call
/// of a network with fewer calls takes the place of the last one of the network with the most. So one
/// network with many calls does not hold up the others.
pub(crate) struct Bulkhead {
    most_running: usize,
    most_waiting: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: usize,
    waiting: usize,
    next_ticket: u64,
    /// The networks with waiting calls; the next one's turn first.
    turns: VecDeque<Network>,
    /// The waiting calls of these networks; never empty.
    queues: HashMap<Network, VecDeque<Ticket>>,
}

struct Ticket {
    number: u64,
    turn: oneshot::Sender<()>,
}

/// Lets a call run until it is dropped.
pub(crate) struct Permit<'a>(&'a Bulkhead);

/// A call in the queue, until it is dropped.
struct Waiting<'a> {
    bulkhead: &'a Bulkhead,
    network: Network,
    number: u64,
    turn: oneshot::Receiver<()>,
}

/// The reason why a call got no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueError {
    /// As many calls wait as may wait.
    Full,
    /// The call waited for the longest time that is allowed.
    TimedOut,
}

impl Bulkhead {
    /// Lets `max_concurrent` calls run at once, at least one, and 16 times as many wait.
    pub(crate) fn new(max_concurrent: usize) -> Self {
        let most_running = max_concurrent.max(1);
        let most_waiting = most_running.saturating_mul(QUEUE_PER_CALL);
        Self { most_running, most_waiting, state: Mutex::default() }
    }

    /// Returns a permit, which allows the call to run until it is dropped. Waits up to `max_wait` for its
    /// turn.
    pub(crate) async fn acquire(&self, max_wait: Duration) -> Result<Permit<'_>, QueueError> {
        let Some(mut waiting) = self.join()? else { return Ok(Permit(self)) };
        match tokio::time::timeout(max_wait, &mut waiting.turn).await {
            Ok(Ok(())) => Ok(Permit(self)),
            Ok(Err(_)) => Err(QueueError::Full),
            Err(_) => Err(QueueError::TimedOut),
        }
    }

    /// Joins the queue; `None` if the call may run at once.
    fn join(&self) -> Result<Option<Waiting<'_>>, QueueError> {
        let mut state = self.lock();
        if state.running < self.most_running {
            state.running += 1;
            return Ok(None);
        }
        let network = Origin::current().and_then(|origin| origin.client.ip_prefix.clone());
        if state.waiting >= self.most_waiting && !state.make_room(&network) {
            return Err(QueueError::Full);
        }
        let (sender, turn) = oneshot::channel();
        let number = state.join(network.clone(), sender);
        Ok(Some(Waiting { bulkhead: self, network, number, turn }))
    }

    /// Lets the next call run in the place of one that has ended.
    fn pass_on(&self) {
        let mut state = self.lock();
        match state.next() {
            // If its caller goes away at this moment, that passes the turn on.
            Some(ticket) => _ = ticket.turn.send(()),
            None => state.running -= 1,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn join(&mut self, network: Network, turn: oneshot::Sender<()>) -> u64 {
        let number = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        if !self.queues.contains_key(&network) {
            self.turns.push_back(network.clone());
        }
        self.queues.entry(network).or_default().push_back(Ticket { number, turn });
        number
    }

    fn next(&mut self) -> Option<Ticket> {
        let network = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&network)?;
        let ticket = queue.pop_front()?;
        self.waiting -= 1;
        if queue.is_empty() {
            self.queues.remove(&network);
        } else {
            self.turns.push_back(network);
        }
        Some(ticket)
    }

    /// Sends the last call of the longest queue away, if that is longer than this network's will be.
    fn make_room(&mut self, network: &Network) -> bool {
        let own = self.queues.get(network).map_or(0, VecDeque::len);
        let longest = self.queues.values_mut().max_by_key(|queue| queue.len());
        let Some(longest) = longest.filter(|queue| queue.len() > own + 1) else { return false };
        longest.pop_back();
        self.waiting -= 1;
        true
    }

    /// Removes a call from the queue; `false` if it is not there any more.
    fn leave(&mut self, network: &Network, number: u64) -> bool {
        let Some(queue) = self.queues.get_mut(network) else { return false };
        let Some(at) = queue.iter().position(|ticket| ticket.number == number) else {
            return false;
        };
        queue.remove(at);
        self.waiting -= 1;
        if queue.is_empty() {
            self.queues.remove(network);
            self.turns.retain(|other| other != network);
        }
        true
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let was_waiting = self.bulkhead.lock().leave(&self.network, self.number);
        // Its turn came, and it did not notice.
        if !was_waiting && self.turn.try_recv().is_ok() {
            self.bulkhead.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::Poll;

    use mintgate_domain::model::ClientInfo;

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    type Acquiring<'a> = Pin<Box<dyn Future<Output = Result<Permit<'a>, QueueError>> + 'a>>;

    async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
    }

    /// Work for a caller of this network.
    fn of<F: Future>(network: &str, work: F) -> impl Future<Output = F::Output> + use<F> {
        let client = ClientInfo { ip_prefix: Some(network.to_owned()), ..ClientInfo::default() };
        Origin::scope(Some(Arc::new(Origin { client, ..Origin::default() })), work)
    }

    /// A call of a network that has begun to wait.
    async fn waiting<'a>(bulkhead: &'a Bulkhead, network: &str) -> Acquiring<'a> {
        let mut call: Acquiring<'_> = Box::pin(of(network, bulkhead.acquire(LONG)));
        assert!(poll_once(&mut call).await.is_pending());
        call
    }

    /// The calls whose turn has come, by their places; their permits are dropped one after the other.
    async fn order(permit: Permit<'_>, mut calls: Vec<Acquiring<'_>>) -> Vec<usize> {
        let mut order = Vec::new();
        drop(permit);
        while order.len() < calls.len() {
            let before = order.len();
            for (place, call) in calls.iter_mut().enumerate() {
                if !order.contains(&place)
                    && let Poll::Ready(permit) = poll_once(call).await
                {
                    order.push(place);
                    drop(permit.unwrap());
                    break;
                }
            }
            assert!(order.len() > before, "{order:?}: nobody's turn came");
        }
        order
    }

    fn assert_idle(bulkhead: &Bulkhead) {
        let state = bulkhead.lock();
        assert_eq!((state.running, state.waiting), (0, 0));
        assert!(state.turns.is_empty() && state.queues.is_empty());
    }

    #[tokio::test]
    async fn networks_take_turns_and_the_calls_of_one_stay_in_order() {
        let bulkhead = Bulkhead::new(1);
        let permit = bulkhead.acquire(LONG).await.unwrap();
        let mut calls = Vec::new();
        for network in ["a", "a", "a", "b", "b", "c"] {
            calls.push(waiting(&bulkhead, network).await);
        }
        assert_eq!(order(permit, calls).await, [0, 3, 5, 1, 4, 2]);
        assert_idle(&bulkhead);
    }

    #[tokio::test]
    async fn in_a_full_queue_the_longest_makes_room_for_the_others() {
        let bulkhead = Bulkhead::new(1);
        let permit = bulkhead.acquire(LONG).await.unwrap();
        let mut crowd = Vec::new();
        for _ in 0..QUEUE_PER_CALL {
            crowd.push(waiting(&bulkhead, "crowd").await);
        }
        let other = waiting(&bulkhead, "other").await;
        let sent_away = crowd.pop().unwrap().await.err();
        assert_eq!(sent_away, Some(QueueError::Full));
        let refused = of("crowd", bulkhead.acquire(LONG)).await.err();
        assert_eq!(refused, Some(QueueError::Full), "the crowd has the longest queue itself");
        crowd.push(other);
        let order = order(permit, crowd).await;
        assert_eq!((order[0], order[1]), (0, QUEUE_PER_CALL - 1), "the other one comes second");
    }

    #[tokio::test]
    async fn a_turn_that_comes_as_its_caller_goes_away_is_passed_on() {
        let bulkhead = Bulkhead::new(1);
        let permit = bulkhead.acquire(LONG).await.unwrap();
        let (gone, mut next) = (waiting(&bulkhead, "a").await, waiting(&bulkhead, "a").await);
        drop(permit);
        assert!(poll_once(&mut next).await.is_pending(), "the turn is the first one's");
        drop(gone);
        let Poll::Ready(permit) = poll_once(&mut next).await else { panic!("the turn is lost") };
        drop(permit.unwrap());
        assert_idle(&bulkhead);
    }

    #[tokio::test]
    async fn who_goes_away_leaves_its_place_in_the_queue() {
        let bulkhead = Bulkhead::new(1);
        let permit = bulkhead.acquire(LONG).await.unwrap();
        drop(waiting(&bulkhead, "a").await);
        drop(permit);
        assert_idle(&bulkhead);
    }
}
