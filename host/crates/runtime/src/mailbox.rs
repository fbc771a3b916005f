//! What waits for an extension, bounded in number and bytes, and how the host knows that nothing is under way any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use glasshouse_model::limits;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};

use crate::extension::{CallError, Event, Reply};
use crate::job::EmbedderCall;
use crate::trigger::Trigger;

/// Bytes of payloads that wait in one mailbox: two of the largest, or many of usual size.
const MAILBOX_BYTES: usize = 2 * limits::PAYLOAD_BYTES;

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

/// How many messages may wait, which can be changed while some do.
struct Places {
    free: Semaphore,
    /// How many there are.
    all: AtomicUsize,
    /// Those of them that are to go as soon as what waits there was taken out.
    owed: AtomicUsize,
}

impl Places {
    fn new(all: usize) -> Self {
        Self { free: Semaphore::new(all), all: AtomicUsize::new(all), owed: AtomicUsize::new(0) }
    }

    /// Places in which a message waits.
    fn taken(&self) -> usize {
        let (all, owed) = (self.all.load(Ordering::Relaxed), self.owed.load(Ordering::Relaxed));
        (all + owed).saturating_sub(self.free.available_permits())
    }

    /// Whether there was a place that is owed, which is now paid for.
    fn pay(&self) -> bool {
        self.owed.load(Ordering::Relaxed) > 0
            && self.owed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |owed| owed.checked_sub(1)).is_ok()
    }

    /// A message was taken out.
    fn free_one(&self) {
        if !self.pay() {
            self.free.add_permits(1);
        }
    }

    /// Makes it so many. Of two at once, one has to wait for the other. Where there are fewer, none that waits is turned away.
    fn set(&self, all: usize) {
        let before = self.all.swap(all, Ordering::SeqCst);
        self.owed.fetch_add(before.saturating_sub(all), Ordering::SeqCst);
        for _ in before..all {
            self.free_one();
        }
        while self.owed.load(Ordering::SeqCst) > 0 && self.free.forget_permits(1) == 1 {
            if !self.pay() {
                // What was taken out meanwhile has paid for it.
                self.free.add_permits(1);
            }
        }
    }
}

/// The sending end of an extension's mailbox.
pub(crate) struct Mailbox {
    /// Bounded by its places.
    sender: mpsc::UnboundedSender<Message>,
    places: Arc<Places>,
    room: Arc<Semaphore>,
    traffic: Arc<Traffic>,
}

/// The other end.
pub(crate) struct Receiver {
    messages: mpsc::UnboundedReceiver<Message>,
    places: Arc<Places>,
}

impl Receiver {
    /// The next message, when there is one; `None` once it is closed and empty. May be cancelled.
    pub(crate) async fn recv(&mut self) -> Option<Message> {
        let message = self.messages.recv().await?;
        self.places.free_one();
        Some(message)
    }

    /// Takes no more messages. Those that wait can still be received.
    pub(crate) fn close(&mut self) {
        self.places.free.close();
        self.messages.close();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.close();
    }
}

impl Mailbox {
    /// A mailbox in which so many messages may wait, 1 at least.
    pub(crate) fn new(messages: usize, traffic: Arc<Traffic>) -> (Self, Receiver) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let places = Arc::new(Places::new(messages.max(1)));
        let receiver = Receiver { messages: receiver, places: Arc::clone(&places) };
        (Self { sender, places, room: Arc::new(Semaphore::new(MAILBOX_BYTES)), traffic }, receiver)
    }

    /// Lets so many messages wait from now on, 1 at least; those that wait already stay. One at a time may do so.
    pub(crate) fn set_messages(&self, messages: usize) {
        self.places.set(messages.max(1));
    }

    /// Messages that wait in it.
    pub(crate) fn waiting(&self) -> usize {
        self.places.taken()
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
        // Given back by whoever takes the message out.
        match self.places.free.try_acquire() {
            Ok(place) => place.forget(),
            Err(TryAcquireError::Closed) => return Err(Refused::Closed),
            // Whoever came before waits as well, so that a place that is free is nobody's.
            Err(TryAcquireError::NoPermits) => self.places.free.acquire().await.map_err(|_| Refused::Closed)?.forget(),
        }
        let message = Message { work, queued_at, _room: room, under_way };
        self.sender.send(message).map_err(|_| Refused::Closed)
    }

    /// Queues if there is room now.
    pub(crate) fn try_send(&self, work: Work, queued_at: u64) -> Result<(), Refused> {
        let under_way = self.traffic.enter(work.is_from_outside())?;
        let bytes = permits(&work);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes).map_err(|_| Refused::Full)?;
        match self.places.free.try_acquire() {
            Ok(place) => place.forget(),
            Err(TryAcquireError::NoPermits) => return Err(Refused::Full),
            Err(TryAcquireError::Closed) => return Err(Refused::Closed),
        }
        let message = Message { work, queued_at, _room: room, under_way };
        self.sender.send(message).map_err(|_| Refused::Closed)
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

    #[tokio::test]
    async fn a_mailbox_is_full_by_bytes_before_it_is_full_by_number() {
        let (mailbox, mut receiver) = Mailbox::new(100, Arc::default());
        let largest = limits::PAYLOAD_BYTES;
        assert!(mailbox.try_send(event(largest), 0).is_ok());
        assert!(mailbox.try_send(event(largest), 0).is_ok());
        assert!(matches!(mailbox.try_send(event(1), 0), Err(Refused::Full)));
        assert!(receiver.recv().await.is_some());
        assert!(mailbox.try_send(event(1), 0).is_ok());
    }

    #[tokio::test]
    async fn how_many_may_wait_can_be_changed_while_some_do() {
        let (mailbox, mut receiver) = Mailbox::new(4, Arc::default());
        let is_full = || matches!(mailbox.try_send(event(1), 0), Err(Refused::Full));
        (0..3).for_each(|_| assert!(mailbox.try_send(event(1), 0).is_ok()));
        mailbox.set_messages(1);
        for waiting in [3, 2, 1] {
            assert_eq!(mailbox.waiting(), waiting, "none of those that wait is turned away");
            assert!(is_full());
            assert!(receiver.recv().await.is_some());
        }
        assert!(mailbox.try_send(event(1), 0).is_ok() && is_full(), "one may wait now");
        mailbox.set_messages(3);
        assert!(mailbox.try_send(event(1), 0).is_ok());
        assert_eq!(mailbox.waiting(), 2);
        // Less and more again while more wait than may.
        for messages in [1, 2, 1, 3] {
            mailbox.set_messages(messages);
        }
        assert!(mailbox.try_send(event(1), 0).is_ok() && is_full());
        assert_eq!(mailbox.waiting(), 3);
    }

    #[tokio::test]
    async fn whoever_waits_for_room_goes_on_when_more_may_wait_and_is_told_of_the_end() {
        let (mailbox, mut receiver) = Mailbox::new(1, Arc::default());
        assert!(mailbox.try_send(event(1), 0).is_ok());
        let mut sending = std::pin::pin!(mailbox.send(event(1), 0));
        assert!(is_waiting(sending.as_mut()).await);
        mailbox.set_messages(2);
        assert!(sending.await.is_ok());
        let mut sending = std::pin::pin!(mailbox.send(event(1), 0));
        assert!(is_waiting(sending.as_mut()).await);
        receiver.close();
        assert!(matches!(sending.await, Err(Refused::Closed)));
        assert!(receiver.recv().await.is_some() && receiver.recv().await.is_some() && receiver.recv().await.is_none());
    }

    /// Whether something goes on waiting.
    async fn is_waiting(mut waiting: std::pin::Pin<&mut impl Future>) -> bool {
        std::future::poll_fn(|task| std::task::Poll::Ready(waiting.as_mut().poll(task).is_pending())).await
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
