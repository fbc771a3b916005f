//! What waits for an extension, bounded in number and bytes, and how the host knows that nothing is under way any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::extension::{CallError, Event, Reply};
use crate::sandbox::EmbedderCall;
use crate::trigger::Trigger;

/// Bytes of payloads that wait in one mailbox: two of the largest, or many of usual size.
const MAILBOX_BYTES: usize = 2 * glasshouse_model::limits::PAYLOAD_BYTES;

/// Work for an extension, on its way.
pub(crate) struct Message {
    work: Work,
    queued_at: u64,
    _room: OwnedSemaphorePermit,
    under_way: UnderWay,
}

impl Message {
    /// The work, when it was queued, and what counts it as under way until it is dropped. Its room is free again.
    pub(crate) fn open(self) -> (Work, u64, UnderWay) {
        (self.work, self.queued_at, self.under_way)
    }

    /// Whether whoever waited for its reply does so no more.
    pub(crate) fn is_given_up(&self) -> bool {
        matches!(&self.work, Work::Event { reply: Some(reply), .. } if reply.is_closed())
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all work is events: a box for each would cost more than the room"
)]
pub(crate) enum Work {
    Event { event: Event, trigger: Trigger, reply: Option<oneshot::Sender<Result<Reply, CallError>>> },
    Embedder { name: String, call: EmbedderCall, done: oneshot::Sender<Result<(), CallError>> },
}

impl Work {
    /// Bytes of its payload, and of what is passed along with it.
    fn payload_bytes(&self) -> usize {
        match self {
            Self::Event { event, trigger, .. } => event.payload.len() + trigger.carried.bytes(),
            Self::Embedder { .. } => 0,
        }
    }

    /// Whether it comes from outside of the host, and not from an extension at work.
    fn is_from_outside(&self) -> bool {
        match self {
            Self::Event { trigger, .. } => trigger.is_from_outside(),
            Self::Embedder { .. } => true,
        }
    }
}

/// Why a message was not queued.
#[derive(Clone, Copy)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// The sending end of an extension's mailbox.
pub(crate) struct Mailbox {
    sender: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    traffic: Arc<Traffic>,
}

impl Mailbox {
    pub(crate) fn new(messages: usize, traffic: Arc<Traffic>) -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(messages.max(1));
        (Self { sender, room: Arc::new(Semaphore::new(MAILBOX_BYTES)), traffic }, receiver)
    }

    /// Messages that wait in it.
    pub(crate) fn waiting(&self) -> usize {
        self.sender.max_capacity() - self.sender.capacity()
    }

    /// Bytes of their payloads.
    pub(crate) fn waiting_bytes(&self) -> usize {
        MAILBOX_BYTES.saturating_sub(self.room.available_permits())
    }

    /// Waits for room, and queues. May be cancelled; nothing is queued then.
    pub(crate) async fn send(&self, work: Work, queued_at: u64) -> Result<(), Refused> {
        let under_way = self.traffic.enter(work.is_from_outside())?;
        let bytes = permits(&work);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| Refused::Closed)?;
        let message = Message { work, queued_at, _room: room, under_way };
        self.sender.send(message).await.map_err(|_| Refused::Closed)
    }

    /// Queues if there is room now.
    pub(crate) fn try_send(&self, work: Work, queued_at: u64) -> Result<(), Refused> {
        let under_way = self.traffic.enter(work.is_from_outside())?;
        let bytes = permits(&work);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes).map_err(|_| Refused::Full)?;
        let message = Message { work, queued_at, _room: room, under_way };
        self.sender.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Closed,
        })
    }
}

fn permits(work: &Work) -> u32 {
    work.payload_bytes().min(MAILBOX_BYTES) as u32
}

/// All messages of a host that are queued or worked on.
#[derive(Default)]
pub(crate) struct Traffic {
    under_way: AtomicUsize,
    closed: AtomicBool,
    idle: Notify,
}

/// One message that is queued or worked on.
pub(crate) struct UnderWay(Arc<Traffic>);

impl Traffic {
    /// Lets no more work in from outside; what extensions at work ask of each other still goes.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Waits until nothing is under way. May be cancelled.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }

    fn enter(self: &Arc<Self>, from_outside: bool) -> Result<UnderWay, Refused> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let under_way = UnderWay(Arc::clone(self));
        if from_outside && self.closed.load(Ordering::SeqCst) { Err(Refused::Closed) } else { Ok(under_way) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bytes: usize) -> Work {
        let event = Event { payload: vec![0; bytes], ..Event::default() };
        Work::Event { event, trigger: Trigger::default(), reply: None }
    }

    #[test]
    fn a_mailbox_is_full_by_bytes_before_it_is_full_by_number() {
        let (mailbox, mut receiver) = Mailbox::new(100, Arc::default());
        let largest = glasshouse_model::limits::PAYLOAD_BYTES;
        assert!(mailbox.try_send(event(largest), 0).is_ok());
        assert!(mailbox.try_send(event(largest), 0).is_ok());
        assert!(matches!(mailbox.try_send(event(1), 0), Err(Refused::Full)));
        assert!(receiver.try_recv().is_ok());
        assert!(mailbox.try_send(event(1), 0).is_ok());
    }

    #[tokio::test]
    async fn a_host_is_idle_when_the_last_message_is_done() {
        let traffic = Arc::new(Traffic::default());
        let (mailbox, mut receiver) = Mailbox::new(100, Arc::clone(&traffic));
        assert!(mailbox.try_send(event(1), 0).is_ok());
        traffic.close();
        assert!(matches!(mailbox.try_send(event(1), 0), Err(Refused::Closed)), "outsiders are refused");
        let waiting = tokio::spawn({
            let traffic = Arc::clone(&traffic);
            async move { traffic.idle().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(receiver.recv().await);
        waiting.await.expect("it ends");
    }
}
