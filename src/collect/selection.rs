//! What a read selects, less what the tenant refuses.
//!
//! Must never know: how a request is sent.

use crate::graph::Error;

/// A select list that shrinks when the tenant refuses some of it.
#[derive(Debug, Clone)]
pub struct Selection {
    names: Vec<&'static str>,
    top: Option<u32>,
    guarded: &'static [&'static str],
    /// Whether the whole list may be dropped at last.
    optional: bool,
    refused: Vec<String>,
}

impl Selection {
    /// Selects `names`, of which the `guarded` need more than the collection's own permission. `optional`: without
    /// `$select` the answer is still worth having.
    pub fn new(
        names: impl IntoIterator<Item = &'static str>,
        guarded: &'static [&'static str],
        optional: bool,
    ) -> Self {
        Selection { names: names.into_iter().collect(), top: None, guarded, optional, refused: Vec::new() }
    }

    /// With pages of `top` elements, unless the service takes no such wish.
    pub fn paged(mut self, top: Option<u32>) -> Self {
        self.top = top;
        self
    }

    /// What a page is asked to hold.
    pub fn top(&self) -> Option<u32> {
        self.top
    }

    /// Leaves out what is known to be refused.
    pub fn without(mut self, refused: &[String]) -> Self {
        let is_known = |name: &&'static str| refused.iter().any(|refused| refused == name);
        let (gone, left): (Vec<_>, Vec<_>) = self.names.into_iter().partition(is_known);
        self.names = left;
        self.refused.extend(gone.into_iter().map(str::to_owned));
        self
    }

    /// What is selected now.
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// What was left out.
    pub fn refused(&self) -> &[String] {
        &self.refused
    }

    /// Leaves out what `error` is about. `false` where it is about nothing here: then it stands.
    pub fn give_in(&mut self, error: &Error) -> bool {
        let dropped: Vec<&'static str> = match error {
            Error::Refused { properties, .. } if !properties.is_empty() => properties.clone(),
            Error::Refused { refusal, .. } if refusal.status == 400 => self.guarded.to_vec(),
            Error::Forbidden { .. } | Error::Licence { .. } => self.guarded.to_vec(),
            _ => return false,
        };
        let (gone, left): (Vec<_>, Vec<_>) = self.names.iter().partition(|name| dropped.contains(name));
        self.names = left;
        self.refused.extend(gone.iter().map(|name: &&str| (*name).to_owned()));
        if !gone.is_empty() {
            return true;
        }
        let last = self.optional && !self.names.is_empty() && matches!(error, Error::Refused { .. });
        if last {
            self.names.clear();
            self.refused.push("$select".to_owned());
        }
        last || is_refused(error) && self.top.take().is_some()
    }
}

fn is_refused(error: &Error) -> bool {
    matches!(error, Error::Refused { refusal, properties } if refusal.status == 400 && properties.is_empty())
}

/// `path` with `$select` and `$top`.
pub fn address(path: &str, select: &[&str], top: Option<u32>) -> String {
    let mut options = Vec::new();
    if !select.is_empty() {
        options.push(format!("$select={}", select.join(",")));
    }
    options.extend(top.map(|top| format!("$top={top}")));
    let joint = if path.contains('?') { '&' } else { '?' };
    match options.is_empty() {
        true => path.to_owned(),
        false => format!("{path}{joint}{}", options.join("&")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Refusal;

    fn refused(properties: &[&'static str]) -> Error {
        let refusal = Refusal { status: 400, code: "BadRequest".to_owned(), request_id: None };
        Error::Refused { refusal, properties: properties.to_vec() }
    }

    #[test]
    fn it_gives_in_to_each_refusal_once() {
        let mut selection = Selection::new(["id", "a", "b", "c"], &["c"], false);
        assert!(selection.give_in(&refused(&["a"])));
        assert!(!selection.clone().give_in(&refused(&["a"])), "named again although it is gone");
        assert!(selection.give_in(&Error::Forbidden { permission: "p", refusal: Refusal::default() }));
        assert_eq!((selection.names(), selection.refused()), (&["id", "b"][..], &["a".to_owned(), "c".to_owned()][..]));
        assert!(!selection.give_in(&refused(&[])));
        assert!(!selection.give_in(&Error::TimeLimit));
    }

    #[test]
    fn an_optional_list_goes_at_last() {
        let mut selection = Selection::new(["id", "a"], &[], true);
        assert!(selection.give_in(&refused(&[])));
        assert_eq!((selection.names(), selection.refused()), (&[][..], &["$select".to_owned()][..]));
        assert!(!selection.give_in(&refused(&[])));
    }

    #[test]
    fn the_size_of_pages_goes_when_nothing_else_is_left() {
        let mut selection = Selection::new(["id", "a"], &["a"], false).paged(Some(999));
        assert!(selection.give_in(&refused(&[])));
        assert_eq!((selection.names(), selection.top()), (&["id"][..], Some(999)));
        assert!(selection.give_in(&refused(&[])));
        assert_eq!((selection.top(), selection.refused()), (None, &["a".to_owned()][..]), "that is no property");
        assert!(!selection.give_in(&refused(&[])));
    }

    #[test]
    fn addresses() {
        assert_eq!(address("/v1.0/users", &["id", "mail"], Some(999)), "/v1.0/users?$select=id,mail&$top=999");
        assert_eq!(address("/v1.0/domains", &[], None), "/v1.0/domains");
    }
}
