//! The catalogue: every question by its number, those that can't be answered yet with what is missing.
//!
//! Must never know: how any of them is answered.

use super::{
    Ability, Parameter, Question, Span, accounts, applications, exemptions, guards, legacy, lifecycle, policy_history,
    privileged, reach, record, role_holders, settings, sign_in, takeover, uses,
};

/// Every question, by number.
pub const CATALOGUE: &[Question] = &[
    role_holders::AT,
    role_holders::DURING,
    privileged::PERMANENT,
    settings::ACTIVATION,
    privileged::EXCEPTIONS,
    exemptions::BREAK_GLASS,
    takeover::BECOME,
    settings::CUSTOM_ROLES,
    missing(
        9,
        "azure-roles",
        "Which Azure roles at the root or a management group did administrators hold?",
        Span::Instant,
        "Azure role assignments are read from Azure Resource Manager, which isn't captured",
    ),
    accounts::ALL,
    reach::REACHERS,
    reach::REACH,
    reach::CHANGES,
    missing(
        14,
        "review-removals",
        "Were the removals decided in an access review done, and when?",
        Span::Period,
        "access reviews aren't captured",
    ),
    accounts::SAMPLE,
    accounts::INACTIVE,
    reach::TOGETHER,
    lifecycle::LEAVER,
    lifecycle::NEW,
    lifecycle::MOVERS,
    lifecycle::DELETED,
    lifecycle::SAME,
    exemptions::EXEMPTIONS,
    sign_in::POLICIES,
    guards::ADMINISTRATORS,
    policy_history::REPORT_ONLY,
    policy_history::TRUSTED,
    legacy::LEGACY,
    policy_history::PASSWORDS,
    policy_history::DEFAULTS,
    applications::POWER,
    applications::WRITERS,
    applications::CREDENTIALS,
    applications::CREDENTIAL_WRITERS,
    settings::CONSENT,
    applications::NEW,
    takeover::GUESTS,
    settings::DOMAINS,
    settings::CROSS_TENANT,
    missing(
        40,
        "delegated-administrators",
        "Which partners held granular delegated administration (GDAP)?",
        Span::Instant,
        "delegated admin relationships aren't captured",
    ),
    record::COMPLETENESS,
    missing(
        42,
        "unchanged",
        "Show that nothing was changed since a capture, without trusting this tool",
        Span::Instant,
        "`tenure verify --against` checks it here; proofs that stand alone aren't written yet",
    ),
    record::UNSEEN,
    uses::LOOKED,
    uses::ENDED,
    uses::RERUN,
    missing(
        47,
        "restore-plan",
        "What has to be put back to return policies and roles to an earlier state, in what order, and what would lock out?",
        Span::Instant,
        "plans of recovery aren't written yet",
    ),
];

const fn missing(number: u8, name: &'static str, title: &'static str, span: Span, missing: &'static str) -> Question {
    const NONE: &[Parameter] = &[];
    Question {
        number,
        name,
        title,
        description: missing,
        version: 0,
        span,
        parameters: NONE,
        needs: &[],
        ability: Ability::Missing(missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_names_are_words_with_hyphens() {
        for (one, next) in CATALOGUE.iter().zip(&CATALOGUE[1..]) {
            assert!(one.number <= next.number, "{} before {}", one.name, next.name);
        }
        for (place, question) in CATALOGUE.iter().enumerate() {
            assert!(question.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", question.name);
            assert!(!CATALOGUE[place + 1..].iter().any(|other| other.name == question.name), "{}", question.name);
            assert!(question.title.ends_with('?') || question.title.starts_with("Show"), "{}", question.title);
            for parameter in question.parameters {
                assert!(!parameter.description.ends_with('.'), "{}", parameter.name);
            }
        }
    }
}
