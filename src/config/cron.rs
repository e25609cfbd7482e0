//! The form of a crontab line: five fields of numbers, lists, ranges and steps.
//!
//! Must never know: when anything runs.

/// Name, smallest and greatest value of each field.
const FIELDS: [(&str, u32, u32); 5] =
    [("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7)];

/// Checks a line; the error says which field is wrong.
pub(super) fn check(line: &str) -> Result<(), String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("found {} fields", fields.len()));
    }
    for (field, (name, low, high)) in fields.into_iter().zip(FIELDS) {
        let fits = field.split(',').all(|item| is_item(item, low, high));
        if !fits {
            return Err(format!("the {name} is {field:?}, expected numbers from {low} to {high}, *, ranges or steps"));
        }
    }
    Ok(())
}

/// `*`, `N` or `N-M`, with an optional `/step`.
fn is_item(item: &str, low: u32, high: u32) -> bool {
    let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
    let number = |text: &str| text.parse::<u32>().ok().filter(|n| (low..=high).contains(n));
    let fits = match range.split_once('-') {
        _ if range == "*" => true,
        Some((first, last)) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
        None => number(range).is_some(),
    };
    fits && step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_checked_field_by_field() {
        for good in ["0 * * * *", "*/15 0-6,22 1 1-12/2 7", "30 2 * * 1,3,5"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, word) in [
            ("0 * * *", "4 fields"),
            ("60 * * * *", "minute"),
            ("0 5-2 * * *", "hour"),
            ("0 * 0 * *", "day of the month"),
            ("0 * * * mon", "day of the week"),
            ("*/0 * * * *", "minute"),
        ] {
            assert!(check(bad).unwrap_err().contains(word), "{bad}");
        }
    }
}
