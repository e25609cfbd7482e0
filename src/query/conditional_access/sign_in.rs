//! To which sign-ins a policy applies.
//!
//! Must never know: whom it covers.
//!
//! "Conditions" and "Target resources" (learn.microsoft.com/entra/identity/conditional-access/
//! concept-conditional-access-conditions, …/concept-conditional-access-cloud-apps): a policy applies where all of its conditions
//! do; a condition that isn't configured holds for everything. `Office365` and `MicrosoftAdminPortals` are suites whose
//! members Microsoft changes, so that whether an application is in one depends. Flows: …/concept-authentication-flows.

use super::filter::{self, Device};
use super::place::{self, LocationVariants, Place};
use super::policy::{Choice, Policy};
use super::{Truth, has, is_word};

/// A sign-in, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignIn {
    /// The application, by `appId`.
    pub application: Option<String>,
    /// Whether there is one and nobody knows which: it isn't in the archive as of then.
    pub is_application_lost: bool,
    /// The user action, instead of an application.
    pub action: Option<String>,
    /// The authentication context that is asked for.
    pub context: Option<String>,
    /// The kind of client, as Graph spells it.
    pub client: Option<String>,
    /// The platform, as Graph spells it; `other` for one that Graph has no word for.
    pub platform: Option<String>,
    /// Where it comes from.
    pub place: Place,
    /// The device.
    pub device: Device,
    /// By kind of risk (`userRiskLevels`, …), the level.
    pub risks: Vec<(&'static str, String)>,
    /// How authentication is transferred; `none` where it isn't.
    pub flow: Option<String>,
}

/// Whether a policy applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All of its conditions hold.
    Applies,
    /// One doesn't.
    DoesNotApply,
    /// That depends on what isn't known.
    Depends,
}

impl Outcome {
    /// The word in rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Applies => "applies",
            Outcome::DoesNotApply => "does not apply",
            Outcome::Depends => "depends",
        }
    }
}

/// Whether a policy applies to a sign-in, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicability {
    /// What it comes to.
    pub outcome: Outcome,
    /// The conditions that don't hold.
    pub unmet: Vec<String>,
    /// The conditions of which nobody can say without knowing more.
    pub open: Vec<String>,
}

impl Policy {
    /// Whether this applies to a sign-in of somebody whom it covers.
    pub fn applies(&self, sign_in: &SignIn, locations: &[LocationVariants]) -> Applicability {
        let mut conditions: Vec<(String, Truth)> = vec![
            ("applications".to_owned(), self.resources(sign_in)),
            ("clientAppTypes".to_owned(), self.client(sign_in)),
            ("platforms".to_owned(), platform(&self.platforms, sign_in.platform.as_deref())),
            ("locations".to_owned(), place::fits(&self.locations, &sign_in.place, locations)),
        ];
        if let Some(filter) = &self.devices {
            let fits = filter::fits(&filter.rule, &sign_in.device);
            conditions.push(("devices".to_owned(), if filter.includes { fits } else { !fits }));
        }
        for (name, levels) in &self.risks {
            let level = sign_in.risks.iter().find(|(kind, _)| kind == name).map(|(_, level)| level.as_str());
            conditions.push(((*name).to_owned(), listed(levels, level)));
        }
        if !self.flows.is_empty() {
            conditions.push(("authenticationFlows".to_owned(), listed(&self.flows, sign_in.flow.as_deref())));
        }
        conditions.extend(self.unknown_conditions.iter().map(|path| (path.clone(), Truth::Depends)));
        let named = |truth: Truth| -> Vec<String> {
            conditions.iter().filter(|(_, own)| *own == truth).map(|(name, _)| name.clone()).collect()
        };
        let (unmet, open) = (named(Truth::No), named(Truth::Depends));
        let outcome = match (unmet.is_empty(), open.is_empty()) {
            (false, _) => Outcome::DoesNotApply,
            (true, false) => Outcome::Depends,
            (true, true) => Outcome::Applies,
        };
        Applicability { outcome, unmet, open }
    }

    /// A policy is about applications, about user actions or about authentication contexts.
    fn resources(&self, sign_in: &SignIn) -> Truth {
        let mut truth = application(&self.applications, sign_in);
        if !self.actions.is_empty() {
            truth = truth.max(match (&sign_in.action, &sign_in.application) {
                (Some(action), _) => has(&self.actions, action).into(),
                (None, Some(_)) => Truth::No,
                (None, None) => Truth::Depends,
            });
        }
        if !self.contexts.is_empty() {
            // An application asks for a context when it sees fit.
            truth = truth.max(sign_in.context.as_ref().map_or(Truth::Depends, |own| has(&self.contexts, own).into()));
        }
        truth
    }

    fn client(&self, sign_in: &SignIn) -> Truth {
        if self.clients.is_empty() || has(&self.clients, "all") {
            return Truth::Yes;
        }
        let truth = listed(&self.clients, sign_in.client.as_deref());
        // Clients of ActiveSync on the platforms that can be managed.
        let is_sync = sign_in.client.as_deref() == Some("exchangeActiveSync");
        if truth != Truth::Yes && is_sync && has(&self.clients, "easSupported") {
            let supported = ["android", "iOS", "windows"].map(str::to_owned);
            return sign_in.platform.as_ref().map_or(Truth::Depends, |own| has(&supported, own).into());
        }
        truth
    }
}

fn application(choice: &Choice, sign_in: &SignIn) -> Truth {
    let says_none = choice.include.iter().all(|value| value == "None");
    if says_none {
        return Truth::No;
    }
    let Some(own) = &sign_in.application else {
        // An action is done in applications of Microsoft's; which policies for all of them reach it, no page says.
        let is_any = sign_in.action.is_none() && !sign_in.is_application_lost;
        let all = has(&choice.include, "All") && choice.exclude.is_empty() && is_any;
        return if all { Truth::Yes } else { Truth::Depends };
    };
    let is_it = |value: &String| match value.as_str() {
        "All" => Truth::Yes,
        "None" => Truth::No,
        id if id.eq_ignore_ascii_case(own) => Truth::Yes,
        suite if is_word(suite) => Truth::Depends,
        _ => Truth::No,
    };
    let included = choice.include.iter().map(is_it).max().unwrap_or(Truth::No);
    let excluded = choice.exclude.iter().map(is_it).max().unwrap_or(Truth::No);
    included.min(!excluded)
}

/// Whether a value is one of a list; where the list has a word for what isn't known yet, that may be it.
fn listed(list: &[String], own: Option<&str>) -> Truth {
    match own {
        None => Truth::Depends,
        Some(own) if has(list, own) => Truth::Yes,
        Some(_) if has(list, "unknownFutureValue") => Truth::Depends,
        Some(_) => Truth::No,
    }
}

fn platform(choice: &Choice, own: Option<&str>) -> Truth {
    let is_it = |list: &[String]| match list {
        [] => Truth::No,
        list if has(list, "all") => Truth::Yes,
        list => listed(list, own),
    };
    let included = if choice.include.is_empty() { Truth::Yes } else { is_it(&choice.include) };
    included.min(!is_it(&choice.exclude))
}
