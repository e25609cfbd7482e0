//! What a feed's next round starts from: the delta link with its age and with what it tracks.
//!
//! Must never know: where tokens are kept between rounds.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::format_millis;
use crate::hash::Hash;

/// Directory objects' delta tokens live seven days (learn, graph/delta-query-overview).
const LIFE: Duration = Duration::from_secs(7 * 86_400);

/// A delta link and what has to be known to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The link, as received.
    pub link: String,
    /// When it was received.
    pub from: Timestamp,
    /// The fingerprint of everything that this program selects: with another list the feed tracks something else.
    pub selected: String,
    /// What the tenant refused, and the link doesn't track.
    pub refused: Vec<String>,
}

/// The fingerprint of a select list.
pub fn fingerprint(select: &[&str]) -> String {
    Hash::of(select.join(",").as_bytes()).short()
}

impl Token {
    /// One line without the text of any property: `1 <received> <fingerprint> <refused, comma-separated, or -> <link>`.
    pub fn write(&self) -> String {
        let refused = if self.refused.is_empty() { "-".to_owned() } else { self.refused.join(",") };
        format!("1 {} {} {refused} {}", format_millis(self.from), self.selected, self.link)
    }

    /// Reads [`Token::write`]. `None` for anything else: then the feed starts from the beginning, which is always right.
    pub fn read(text: &str) -> Option<Token> {
        let mut parts = text.splitn(5, ' ');
        (parts.next()? == "1").then_some(())?;
        let from = parts.next()?.parse().ok()?;
        let selected = parts.next()?.to_owned();
        let refused = parts.next().map(|refused| match refused {
            "-" => Vec::new(),
            names => names.split(',').map(str::to_owned).collect(),
        })?;
        let link = parts.next().filter(|link| !link.is_empty())?.to_owned();
        Some(Token { link, from, selected, refused })
    }

    /// Whether it can still be used at `now` by a program that selects what `selected` is the fingerprint of.
    pub fn is_usable(&self, now: Timestamp, selected: &str) -> bool {
        let age = Duration::try_from(now.duration_since(self.from)).unwrap_or(Duration::ZERO);
        self.selected == selected && age < LIFE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back_and_age() {
        let token = Token {
            link: "https://graph.microsoft.com/v1.0/users/delta?$deltatoken=a b".to_owned(),
            from: "2026-08-01T00:00:00Z".parse().unwrap(),
            selected: fingerprint(&["id", "mail"]),
            refused: vec!["birthday".to_owned(), "mail".to_owned()],
        };
        assert_eq!(Token::read(&token.write()), Some(token.clone()));
        let none = Token { refused: Vec::new(), ..token.clone() };
        assert_eq!(Token::read(&none.write()), Some(none));
        for text in ["", "x", "1 2 3 4", "https://graph.microsoft.com/v1.0/users/delta?$deltatoken=a"] {
            assert_eq!(Token::read(text), None, "{text}");
        }
        assert!(token.is_usable("2026-08-07T23:59:59Z".parse().unwrap(), &token.selected));
        assert!(token.is_usable("2026-07-01T00:00:00Z".parse().unwrap(), &token.selected));
        assert!(!token.is_usable("2026-08-08T00:00:00Z".parse().unwrap(), &token.selected));
        assert!(!token.is_usable("2026-08-02T00:00:00Z".parse().unwrap(), &fingerprint(&["id"])));
    }
}
