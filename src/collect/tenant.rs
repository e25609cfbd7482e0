//! How the tenant's own data is read: organization, domains, subscriptions.
//!
//! Must never know: how another collection is read.

use super::recipe::{Detail, Form, List, Recipe, When};

/// The organization: a list of one. Its synchronisation stamps move by themselves and are a facet.
pub(super) const ORGANIZATION: Recipe =
    Recipe::listed("organization", &[List::plain("/v1.0/organization")], "Organization.Read.All");

/// Domains, and how sign-in to the federated ones is delegated (internaldomainfederation: list).
pub(super) const DOMAIN: Recipe = Recipe {
    details: &[Detail {
        property: "federationConfiguration",
        path: "/v1.0/domains/{id}/federationConfiguration",
        form: Form::List,
        when: When::Is("authenticationType", "Federated"),
    }],
    ..Recipe::listed("domain", &[List::plain("/v1.0/domains")], "Domain.Read.All")
};

/// Subscriptions (subscribedsku: list).
pub(super) const SUBSCRIBED_SKU: Recipe =
    Recipe::listed("subscribedSku", &[List::plain("/v1.0/subscribedSkus")], "LicenseAssignment.Read.All");
