//! A word that breaks off what hasn't begun to commit.
//!
//! Must never know: who stops it, and why.

use tokio::sync::watch;

/// Hears when work is to stop. One without a [`Stopper`] never does.
#[derive(Debug, Clone, Default)]
pub struct Stop(Option<watch::Receiver<bool>>);

/// Says stop, once and for all.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// A stopper and what hears it.
    pub fn new() -> (Stopper, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), Stop(Some(receiver)))
    }

    /// Asks everybody who hears to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether it was asked for.
    pub fn is_requested(&self) -> bool {
        self.0.as_ref().is_some_and(|receiver| *receiver.borrow())
    }

    /// Completes once it is asked for.
    pub async fn requested(&self) {
        let Some(receiver) = &self.0 else { return std::future::pending().await };
        let mut receiver = receiver.clone();
        // A stopper that is gone can't stop anything any more.
        if receiver.wait_for(|stop| *stop).await.is_err() {
            std::future::pending().await
        }
    }
}
