//! Where a sign-in comes from, and the named locations that policies speak of.
//!
//! Must never know: what follows from that.
//!
//! "Network assignment" (learn.microsoft.com/entra/identity/conditional-access/concept-assignment-network): a policy applies to all
//! places unless it says otherwise; `AllTrusted` are the locations marked as trusted, and the trusted addresses of the old settings of
//! multifactor authentication, which no interface tells. These are taken for none, and answers say so; where a policy names them by
//! the id of nothing but zeros, it depends.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::policy::Choice;
use super::{Truth, has, words};

/// A named location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedLocation {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is marked as trusted.
    pub is_trusted: bool,
    /// Where it is.
    extent: Extent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Extent {
    /// Ranges of addresses, as they are written.
    Ranges(Vec<String>),
    /// Countries, and whether what belongs to none is one of them.
    Countries(Vec<String>, bool),
    /// Something else.
    Unknown,
}

/// Where a sign-in comes from, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The public address.
    pub address: Option<IpAddr>,
    /// The country, by two letters; `unknown` where the address belongs to none.
    pub country: Option<String>,
    /// A named location that it lies in, by id.
    pub location: Option<String>,
}

impl NamedLocation {
    /// Reads a named location.
    pub fn read(id: &str, content: &Value) -> NamedLocation {
        let extent = if let Some(ranges) = content["ipRanges"].as_array() {
            let range = |range: &Value| range["cidrAddress"].as_str().unwrap_or_default().to_owned();
            Extent::Ranges(ranges.iter().map(range).collect())
        } else if content["countriesAndRegions"].is_array() {
            let unknown = content["includeUnknownCountriesAndRegions"] == true;
            Extent::Countries(words(&content["countriesAndRegions"]), unknown)
        } else {
            Extent::Unknown
        };
        NamedLocation {
            id: id.to_owned(),
            name: content["displayName"].as_str().unwrap_or_default().to_owned(),
            is_trusted: content["isTrusted"] == true,
            extent,
        }
    }

    /// Its ranges of addresses, as they are written.
    pub fn ranges(&self) -> &[String] {
        match &self.extent {
            Extent::Ranges(ranges) => ranges,
            _ => &[],
        }
    }

    /// Whether a place lies in it.
    pub fn holds(&self, place: &Place) -> Truth {
        if place.location.as_ref().is_some_and(|id| id.eq_ignore_ascii_case(&self.id)) {
            return Truth::Yes;
        }
        match (&self.extent, place.address, &place.country) {
            (Extent::Ranges(ranges), Some(address), _) => {
                // An IPv4 address may be written as one of IPv6.
                let address = address.to_canonical();
                let inside = |range: &String| match range.parse::<IpNet>() {
                    Ok(net) => Truth::from(net.contains(&address)),
                    Err(_) => Truth::Depends,
                };
                ranges.iter().map(inside).max().unwrap_or(Truth::No)
            }
            (Extent::Countries(_, unknown), _, Some(country)) if country.eq_ignore_ascii_case("unknown") => {
                (*unknown).into()
            }
            (Extent::Countries(countries, _), _, Some(country)) => has(countries, country).into(),
            _ => Truth::Depends,
        }
    }
}

/// What a named location may have been, `None` for not being there: more than one where it changed and nobody saw when.
pub type LocationVariants = Vec<Option<NamedLocation>>;

/// Whether a place is one that a policy applies to.
pub(super) fn fits(choice: &Choice, place: &Place, known: &[LocationVariants]) -> Truth {
    let lies_in = |value: &String| match value.as_str() {
        "All" => Truth::Yes,
        "None" => Truth::No,
        "AllTrusted" => {
            let trusted = |location: &NamedLocation| match location.is_trusted {
                true => location.holds(place),
                false => Truth::No,
            };
            known.iter().map(|variants| agreed(variants, Truth::No, trusted)).max().unwrap_or(Truth::No)
        }
        id => {
            let is_it = |location: &NamedLocation| location.id.eq_ignore_ascii_case(id);
            match known.iter().find(|variants| variants.iter().flatten().any(is_it)) {
                Some(variants) => agreed(variants, Truth::Depends, |location| location.holds(place)),
                // The compliant network, the trusted addresses of the old settings, or one that wasn't captured.
                None => Truth::Depends,
            }
        }
    };
    let included = match choice.include.is_empty() {
        true => Truth::Yes,
        false => choice.include.iter().map(lies_in).max().unwrap_or(Truth::No),
    };
    let excluded = choice.exclude.iter().map(lies_in).max().unwrap_or(Truth::No);
    included.min(!excluded)
}

/// What all that a location may have been comes to alike; else it depends.
fn agreed(variants: &LocationVariants, missing: Truth, of: impl Fn(&NamedLocation) -> Truth) -> Truth {
    let mut all = variants.iter().map(|variant| variant.as_ref().map_or(missing, &of));
    let Some(first) = all.next() else { return Truth::Depends };
    if all.all(|other| other == first) { first } else { Truth::Depends }
}
