//! A connection whose other end has to take what is written, or is given up.
//!
//! Must never know: what is written.
//!
//! A client that asks and reads nothing fills its window and then ours; without a bound it would hold its connection for good. The
//! bound is real time, whatever a clock says that a test moves.

use std::future::{Pending, pending};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Timeout, timeout};

/// A stream that fails once nothing that is written gets any further for a while.
pub(super) struct Patient<S> {
    stream: S,
    within: Duration,
    /// While something waits: what ends with patience.
    waiting: Option<Pin<Box<Timeout<Pending<()>>>>>,
}

impl<S> Patient<S> {
    pub fn new(stream: S, within: Duration) -> Patient<S> {
        Patient { stream, within, waiting: None }
    }

    /// What came of writing; an error where it has been waiting for too long.
    fn judge<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let within = self.within;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(timeout(within, pending())));
        let _ = ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nobody takes what is written")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(context, result)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// Somebody asks for much and reads nothing: writing fails. Somebody who reads slowly, longer than that in all, gets everything.
    #[tokio::test]
    async fn who_reads_nothing_is_given_up_and_who_reads_slowly_is_not() {
        let within = Duration::from_millis(200);
        let (near, _far) = duplex(16);
        let failed = Patient::new(near, within).write_all(&[7; 1000]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        let (near, mut far) = duplex(16);
        let mut near = Patient::new(near, within);
        let sent = async {
            near.write_all(&[7; 160]).await.unwrap();
            near.shutdown().await.unwrap();
        };
        let read = async {
            let (mut all, mut ticks) = (Vec::new(), tokio::time::interval(within / 4));
            loop {
                ticks.tick().await;
                let mut piece = [0; 16];
                match far.read(&mut piece).await.unwrap() {
                    0 => return all,
                    count => all.extend_from_slice(&piece[..count]),
                }
            }
        };
        let ((), all) = tokio::join!(sent, read);
        assert_eq!(all, [7; 160]);
    }
}
