//! What a policy asks for: grant controls, authentication strength, session controls.
//!
//! Must never know: of whom.
//!
//! All of the grant controls are required, or one of them (learn.microsoft.com/entra/identity/conditional-access/
//! concept-conditional-access-grant). An authentication strength is one of the controls and can't stand beside `mfa`
//! (learn.microsoft.com/entra/identity/authentication/concept-authentication-strengths).

use serde_json::Value;

use super::{Truth, has, words};

/// The built-in strengths: multifactor authentication, passwordless, phishing-resistant. Each asks for several factors.
const BUILT_IN_STRENGTHS: [&str; 3] = [
    "00000000-0000-0000-0000-000000000002",
    "00000000-0000-0000-0000-000000000003",
    "00000000-0000-0000-0000-000000000004",
];

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Controls {
    /// Whether all are required; else one of them is enough.
    pub all: bool,
    /// Controls as Graph spells them; terms of use and custom factors by their ids.
    pub grant: Vec<String>,
    /// The authentication strength, by name and id, and whether it asks for several factors.
    pub strength: Option<(String, String, Truth)>,
    /// Session controls that are on, with what they say.
    pub session: Vec<(String, Value)>,
}

/// Whether an authentication strength asks for several factors: the built-in ones do, others say so.
pub fn is_mfa_strength(strength: &Value) -> Truth {
    let id = strength["id"].as_str().unwrap_or_default();
    match strength["requirementsSatisfied"].as_str() {
        _ if BUILT_IN_STRENGTHS.contains(&id) => Truth::Yes,
        Some(said) => said.split(',').any(|word| word.trim() == "mfa").into(),
        None => Truth::Depends,
    }
}

impl Controls {
    pub(super) fn read(grant: &Value, session: &Value) -> Controls {
        let mut controls = words(&grant["builtInControls"]);
        controls.extend(words(&grant["termsOfUse"]).iter().map(|id| format!("terms of use {id}")));
        controls.extend(words(&grant["customAuthenticationFactors"]).iter().map(|id| format!("custom factor {id}")));
        let known =
            ["operator", "builtInControls", "termsOfUse", "customAuthenticationFactors", "authenticationStrength"];
        for (name, value) in grant.as_object().into_iter().flatten() {
            if !known.contains(&name.as_str()) && !name.contains('@') && !value.is_null() {
                controls.push(name.clone());
            }
        }
        let strength = &grant["authenticationStrength"];
        let strength = strength["id"].as_str().map(|id| {
            let name = strength["displayName"].as_str().unwrap_or(id);
            (name.to_owned(), id.to_owned(), is_mfa_strength(strength))
        });
        let is_on = |value: &Value| match value {
            Value::Null => false,
            Value::Bool(on) => *on,
            value => value["isEnabled"] != false,
        };
        let session = session.as_object().into_iter().flatten();
        let session = session.filter(|(name, value)| !name.contains('@') && is_on(value));
        Controls {
            all: grant["operator"] == "AND",
            grant: controls,
            strength,
            session: session.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }

    /// Whether nobody gets in to whom it applies.
    pub fn blocks(&self) -> bool {
        has(&self.grant, "block")
    }

    /// Whether nobody gets in without several factors.
    pub fn requires_mfa(&self) -> Truth {
        let controls = self.grant.iter().map(|control| Truth::from(control == "mfa"));
        self.together(controls.chain(self.strength.iter().map(|(_, _, mfa)| *mfa)))
    }

    /// Whether clients of the old protocols are kept out: they can't do what is asked for, "Client apps" and "Exchange ActiveSync
    /// clients" of learn.microsoft.com/entra/identity/conditional-access/concept-conditional-access-conditions.
    pub fn stops_old_clients(&self) -> Truth {
        let cannot = |control: &String| {
            let is_known = ["block", "mfa", "compliantDevice", "domainJoinedDevice"].contains(&control.as_str());
            is_known || control.starts_with("terms of use") || control.starts_with("custom factor")
        };
        let controls = self.grant.iter().map(|control| Truth::from(cannot(control)));
        self.together(controls.chain(self.strength.iter().map(|(_, _, mfa)| *mfa)))
    }

    /// All of the controls, or one of them.
    fn together(&self, each: impl Iterator<Item = Truth>) -> Truth {
        match self.all {
            true => each.max(),
            false => each.min(),
        }
        .unwrap_or(Truth::No)
    }

    /// In words: `mfa or compliantDevice`; nothing where nothing is asked for.
    pub fn grant_words(&self) -> String {
        let strength = self.strength.iter().map(|(name, _, _)| format!("strength {name}"));
        let all: Vec<String> = self.grant.iter().cloned().chain(strength).collect();
        all.join(if self.all { " and " } else { " or " })
    }

    /// The session controls by name.
    pub fn session_words(&self) -> String {
        self.session.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}
