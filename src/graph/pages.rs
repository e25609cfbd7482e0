//! Walking from page to page, without walking in circles.
//!
//! Must never know: what is on a page.

use std::collections::HashSet;

use super::error::Error;
use super::reader::Reader;
use super::request::Request;
use super::response::Response;
use super::wire::Page;
use crate::hash::Hash;

/// The pages of one list or feed, in order. Ends after the page without a next link.
#[derive(Debug)]
pub struct Pages<'r> {
    reader: &'r Reader,
    next: Option<Request>,
    seen: HashSet<Hash>,
    pages: u64,
}

impl<'r> Pages<'r> {
    /// The walk that begins with `request`.
    pub(super) fn from(reader: &'r Reader, request: Request) -> Self {
        Pages { reader, next: Some(request), seen: HashSet::new(), pages: 0 }
    }

    /// The walk on from the first page, which answered `request` already and ended with the link `next`.
    ///
    /// # Errors
    /// [`Error::ForeignLink`], [`Error::Loop`].
    pub(super) fn after(reader: &'r Reader, request: &Request, next: Option<String>) -> Result<Self, Error> {
        let seen = HashSet::from([Hash::of(request.address.as_bytes())]);
        let mut pages = Pages { reader, next: None, seen, pages: 1 };
        pages.follow(request, next)?;
        Ok(pages)
    }

    fn follow(&mut self, request: &Request, link: Option<String>) -> Result<(), Error> {
        let Some(link) = link else { return Ok(()) };
        if !self.seen.insert(Hash::of(link.as_bytes())) {
            return Err(Error::Loop { pages: self.pages });
        }
        self.reader.resolve(&link)?;
        self.next = Some(request.at(&link));
        Ok(())
    }

    /// Reads the next page; `None` after the last.
    ///
    /// # Errors
    /// See [`Error`]; after one, the walk is over. [`Error::Loop`] where a next link comes for the second time or there
    /// are more pages than allowed, [`Error::ForeignLink`] where one leads elsewhere.
    pub async fn next<T>(
        &mut self,
        mut take: impl for<'a> FnMut(&Response, Page<'a>) -> T,
    ) -> Result<Option<T>, Error> {
        let Some(request) = self.next.take() else { return Ok(None) };
        if self.pages >= self.reader.limits().pages {
            return Err(Error::Loop { pages: self.pages });
        }
        let first = self.seen.is_empty();
        if first {
            self.seen.insert(Hash::of(request.address.as_bytes()));
        }
        let (_, (link, taken)) = self
            .reader
            .page(&request, |response, mut page| {
                let link = page.next.take();
                (link, take(response, page))
            })
            .await?;
        self.pages += 1;
        self.follow(&request, link)?;
        Ok(Some(taken))
    }

    /// Pages read so far, one that came in a batch included.
    pub fn read(&self) -> u64 {
        self.pages
    }
}
