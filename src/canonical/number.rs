//! Numbers: the form that RFC 8785 prescribes, and whether it still says what was received.
//!
//! Must never know: where a number stands.

/// Appends the ECMAScript form of a JSON number, or returns `false` (and appends nothing) where that form would denote
/// another decimal value than `source` does: integers above 2^53 that no double holds, too many digits, overflow.
pub(super) fn write_number(source: &str, out: &mut Vec<u8>) -> bool {
    let digits = source.strip_prefix('-').unwrap_or(source);
    if digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_digit()) {
        // Up to 15 digits every integer is exact and is its own canonical form; -0 is written 0.
        out.extend_from_slice(if digits == "0" { digits } else { source }.as_bytes());
        return true;
    }
    let Ok(value) = source.parse::<f64>() else { return false };
    if !value.is_finite() {
        return false;
    }
    let mut buffer = ryu_js::Buffer::new();
    let written = buffer.format_finite(value);
    if Decimal::of(written) != Decimal::of(source) {
        return false;
    }
    out.extend_from_slice(written.as_bytes());
    true
}

/// A decimal value as sign, digits without leading or trailing zeros, and the power of ten of the last digit.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i128,
}

impl Decimal {
    fn of(source: &str) -> Option<Decimal> {
        let (negative, rest) = match source.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, source),
        };
        let (mantissa, power) = match rest.find(['e', 'E']) {
            // An exponent of more than 18 digits belongs to zero or to nothing a double can hold.
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i64>().ok()),
            None => (rest, Some(0)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).skip_while(|&b| b == b'0').collect();
        let length = digits.len();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Decimal { negative: false, digits, exponent: 0 });
        }
        let exponent = i128::from(power?) - fraction.len() as i128 + (length - digits.len()) as i128;
        Some(Decimal { negative, digits, exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: Option<&str>) {
        let mut out = Vec::new();
        let passed = write_number(source, &mut out);
        assert_eq!(passed.then(|| String::from_utf8(out).unwrap()).as_deref(), expected, "{source}");
    }

    #[test]
    fn exact_values_pass_in_their_canonical_form() {
        for (source, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("0e999999999999999999999", "0"),
            ("1.0", "1"),
            ("1.50", "1.5"),
            ("1E2", "100"),
            ("-12", "-12"),
            ("0.1", "0.1"),
            ("999999999999999", "999999999999999"),
            ("9007199254740991", "9007199254740991"),
            ("9007199254740992", "9007199254740992"),
            ("9007199254740994", "9007199254740994"),
            ("1e21", "1e+21"),
            ("100000000000000000000", "100000000000000000000"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ] {
            check(source, Some(expected));
        }
    }

    #[test]
    fn values_that_would_change_do_not_pass() {
        for source in [
            "9007199254740993",
            "18446744073709551615",
            "0.1000000000000000055511151231257827",
            "1e400",
            "-1e400",
            "1e-400",
            "1e99999999999999999999999",
            "123456789012345678901234567890",
        ] {
            check(source, None);
        }
    }
}
