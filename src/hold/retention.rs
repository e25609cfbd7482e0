//! How long history is kept, by number or by what rules ask for.
//!
//! Must never know: what is kept.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A rule that names a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Its name in the configuration.
    pub name: &'static str,
    /// The period in months.
    pub months: u32,
    /// Where the period stands.
    pub source: &'static str,
}

const fn preset(name: &'static str, months: u32, source: &'static str) -> Preset {
    Preset { name, months, source }
}

/// The rules that name a period, each with the longest that it asks for. Rules without a number (GDPR, NIS2, DORA) have
/// no place here: a person has to decide.
pub const PRESETS: &[Preset] = &[
    preset("sox", 7 * 12, "Regulation S-X 2-06, which companies follow for SOX"),
    preset("hipaa", 6 * 12, "45 CFR 164.316(b)(2)(i)"),
    preset("pci-dss", 12, "PCI DSS 4.0.1, 10.5.1"),
    preset("sec-17a-4", 6 * 12, "17 CFR 240.17a-4"),
    preset("finra", 6 * 12, "FINRA rule 4511"),
    preset("nydfs", 5 * 12, "23 NYCRR 500.6"),
    preset("omb-m-21-31", 30, "OMB M-21-31, 12 months active and 18 months cold"),
    preset("fedramp", 30, "FedRAMP, by OMB M-21-31"),
    preset("cjis", 12, "CJIS Security Policy, AU-11"),
];

/// How long history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Retention {
    months: u32,
}

impl Retention {
    /// So many months, by the calendar.
    pub fn of_months(months: u32) -> Retention {
        Retention { months }
    }

    /// The longest of the presets called `names`, separated by commas; the name that is none as the error.
    pub fn of_presets(names: &str) -> Result<Retention, &str> {
        let mut longest = Retention { months: 0 };
        for name in names.split(',').map(str::trim) {
            let known = PRESETS.iter().find(|preset| preset.name.eq_ignore_ascii_case(name)).ok_or(name)?;
            longest = longest.max(Retention { months: known.months });
        }
        Ok(longest)
    }

    /// In months.
    pub fn months(self) -> u32 {
        self.months
    }

    /// In whole years, rounded up.
    pub fn years(self) -> u64 {
        u64::from(self.months.div_ceil(12))
    }

    /// The instant from which what was created at `created` need not be kept any more: so many months later by the
    /// calendar in UTC, at the same time of day; where that month has no such day, on its last.
    pub fn end(self, created: Timestamp) -> Timestamp {
        let later = created.to_zoned(TimeZone::UTC).checked_add(Span::new().months(self.months));
        later.map_or(Timestamp::MAX, |later| later.timestamp())
    }
}

impl std::fmt::Display for Retention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.months % 12, self.months / 12) {
            (0, 1) => f.write_str("1 year"),
            (0, years) => write!(f, "{years} years"),
            _ => write!(f, "{} months", self.months),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_rules_the_longest_wins() {
        let months = |names| Retention::of_presets(names).map(Retention::months);
        assert_eq!(months("sox"), Ok(84));
        assert_eq!(months("pci-dss, HIPAA ,cjis"), Ok(72));
        assert_eq!(months("fedramp,pci-dss"), Ok(30));
        assert_eq!(months("sox, gdpr"), Err("gdpr"));
        assert_eq!(months(""), Err(""));
        assert_eq!((Retention::of_months(30).to_string(), Retention::of_months(30).years()), ("30 months".into(), 3));
        assert_eq!(Retention::of_months(84).to_string(), "7 years");
    }

    #[test]
    fn the_end_goes_by_the_calendar() {
        let end = |months, created: &str| Retention::of_months(months).end(created.parse().unwrap()).to_string();
        assert_eq!(end(84, "2026-08-31T10:00:00.001Z"), "2033-08-31T10:00:00.001Z");
        assert_eq!(end(12, "2028-02-29T00:00:00Z"), "2029-02-28T00:00:00Z");
        assert_eq!(end(30, "2026-08-31T00:00:00Z"), "2029-02-28T00:00:00Z");
        assert_eq!(Retention::of_months(1200).end(Timestamp::MAX), Timestamp::MAX);
    }
}
