//! The table of options: one row each, in the order of the file.
//!
//! Must never know: how a file is read, or what an option does.

/// What an option holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A path, relative to the configuration file.
    Path,
    /// A whole number.
    Number,
    /// True or false.
    Flag,
}

impl Kind {
    /// What an error says was expected.
    pub fn expected(self) -> &'static str {
        match self {
            Kind::Text => "text in quotes",
            Kind::Path => "a path in quotes",
            Kind::Number => "a whole number",
            Kind::Flag => "true or false",
        }
    }
}

/// An option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt {
    /// The section; `store.mirror` stands in the file as a section of its own.
    pub section: &'static str,
    /// The name in it.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Its default as text; `None` where there is none.
    pub default: Option<&'static str>,
}

impl Opt {
    /// `section.name`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

const fn row(section: &'static str, name: &'static str, kind: Kind, default: Option<&'static str>) -> Opt {
    Opt { section, name, kind, default }
}

const fn collection(name: &'static str) -> Opt {
    row("collections", name, Kind::Flag, Some("true"))
}

const fn hours(name: &'static str) -> Opt {
    row("collections", name, Kind::Number, Some("24"))
}

const fn limit(name: &'static str, default: &'static str) -> Opt {
    row("limits", name, Kind::Number, Some(default))
}

/// Every option there is.
pub const OPTIONS: &[Opt] = &[
    row("tenant", "id", Kind::Text, None),
    row("tenant", "cloud", Kind::Text, Some("global")),
    row("tenant", "graph_url", Kind::Text, None),
    row("tenant", "login_url", Kind::Text, None),
    row("credential", "kind", Kind::Text, Some("client_secret")),
    row("credential", "client_id", Kind::Text, None),
    row("credential", "client_secret_file", Kind::Path, None),
    row("credential", "client_secret_env", Kind::Text, None),
    row("credential", "certificate_file", Kind::Path, None),
    row("credential", "certificate_key_file", Kind::Path, None),
    row("credential", "assertion_file", Kind::Path, None),
    row("credential", "identity_url", Kind::Text, None),
    row("store", "kind", Kind::Text, Some("filesystem")),
    row("store", "path", Kind::Path, Some("archive")),
    row("store", "account_url", Kind::Text, None),
    row("store", "prefix", Kind::Text, None),
    row("store", "credential", Kind::Text, Some("same")),
    row("store", "tenant", Kind::Text, None),
    row("store", "client_id", Kind::Text, None),
    row("store", "client_secret_file", Kind::Path, None),
    row("store", "client_secret_env", Kind::Text, None),
    row("store", "certificate_file", Kind::Path, None),
    row("store", "certificate_key_file", Kind::Path, None),
    row("store", "assertion_file", Kind::Path, None),
    row("store", "identity_url", Kind::Text, None),
    row("store", "sas_file", Kind::Path, None),
    row("store", "sas_env", Kind::Text, None),
    row("store", "resource_id", Kind::Text, None),
    row("store", "management_url", Kind::Text, None),
    row("store.mirror", "kind", Kind::Text, Some("none")),
    row("store.mirror", "path", Kind::Path, None),
    row("store.mirror", "account_url", Kind::Text, None),
    row("store.mirror", "prefix", Kind::Text, None),
    row("store.mirror", "credential", Kind::Text, Some("same")),
    row("store.mirror", "tenant", Kind::Text, None),
    row("store.mirror", "client_id", Kind::Text, None),
    row("store.mirror", "client_secret_file", Kind::Path, None),
    row("store.mirror", "client_secret_env", Kind::Text, None),
    row("store.mirror", "certificate_file", Kind::Path, None),
    row("store.mirror", "certificate_key_file", Kind::Path, None),
    row("store.mirror", "assertion_file", Kind::Path, None),
    row("store.mirror", "identity_url", Kind::Text, None),
    row("store.mirror", "sas_file", Kind::Path, None),
    row("store.mirror", "sas_env", Kind::Text, None),
    row("store.mirror", "resource_id", Kind::Text, None),
    row("store.mirror", "management_url", Kind::Text, None),
    row("index", "path", Kind::Path, Some("index")),
    row("state", "path", Kind::Path, Some("state")),
    row("signing", "key_file", Kind::Path, Some("tenure.key")),
    row("schedule", "capture", Kind::Text, Some("0 * * * *")),
    row("schedule", "reconcile", Kind::Text, Some("30 2 * * *")),
    row("schedule", "time_zone", Kind::Text, Some("UTC")),
    row("service", "tenants", Kind::Text, None),
    row("service", "delay_seconds", Kind::Number, Some("0")),
    row("alarms", "webhook_url", Kind::Text, None),
    row("alarms", "webhook_secret_file", Kind::Path, None),
    row("alarms", "webhook_secret_env", Kind::Text, None),
    row("verification", "days", Kind::Number, Some("30")),
    row("retention", "preset", Kind::Text, None),
    row("retention", "years", Kind::Number, None),
    row("expiry", "credential", Kind::Text, Some("none")),
    row("expiry", "tenant", Kind::Text, None),
    row("expiry", "client_id", Kind::Text, None),
    row("expiry", "client_secret_file", Kind::Path, None),
    row("expiry", "client_secret_env", Kind::Text, None),
    row("expiry", "certificate_file", Kind::Path, None),
    row("expiry", "certificate_key_file", Kind::Path, None),
    row("expiry", "assertion_file", Kind::Path, None),
    row("expiry", "identity_url", Kind::Text, None),
    row("expiry", "sas_file", Kind::Path, None),
    row("expiry", "sas_env", Kind::Text, None),
    row("web", "listen", Kind::Text, Some("127.0.0.1:8470")),
    row("web", "api", Kind::Flag, Some("true")),
    row("web", "token_file", Kind::Path, None),
    row("web", "oidc_audience", Kind::Text, None),
    row("web", "oidc_issuer", Kind::Text, None),
    row("web", "tls_certificate_file", Kind::Path, None),
    row("web", "tls_key_file", Kind::Path, None),
    row("web", "behind_proxy", Kind::Flag, Some("false")),
    row("web", "questions_at_once", Kind::Number, Some("4")),
    row("web", "question_seconds", Kind::Number, Some("60")),
    collection("user"),
    collection("group"),
    collection("application"),
    collection("servicePrincipal"),
    collection("federatedIdentityCredential"),
    collection("inheritablePermission"),
    collection("appRoleAssignment"),
    collection("oauth2PermissionGrant"),
    collection("unifiedRoleDefinition"),
    collection("unifiedRoleAssignment"),
    collection("unifiedRoleAssignmentSchedule"),
    collection("unifiedRoleAssignmentScheduleInstance"),
    collection("unifiedRoleEligibilitySchedule"),
    collection("unifiedRoleEligibilityScheduleInstance"),
    collection("unifiedRoleManagementPolicy"),
    collection("unifiedRoleManagementPolicyAssignment"),
    collection("administrativeUnit"),
    collection("scopedRoleMembership"),
    collection("conditionalAccessPolicy"),
    collection("namedLocation"),
    collection("authenticationContextClassReference"),
    collection("authenticationMethodsPolicy"),
    collection("authenticationStrengthPolicy"),
    collection("authorizationPolicy"),
    collection("identitySecurityDefaultsEnforcementPolicy"),
    collection("permissionGrantPolicy"),
    collection("crossTenantAccessPolicy"),
    collection("crossTenantAccessPolicyDefault"),
    collection("crossTenantAccessPolicyPartner"),
    collection("organization"),
    collection("domain"),
    collection("subscribedSku"),
    collection("device"),
    collection("deletedItems"),
    collection("userRegistrationDetails"),
    collection("strongAuthenticationRequirements"),
    collection("directoryAudit"),
    collection("recoverySnapshot"),
    collection("recoveryJob"),
    hours("user_activity_hours"),
    hours("user_sync_hours"),
    hours("group_sync_hours"),
    hours("device_activity_hours"),
    hours("device_sync_hours"),
    hours("organization_sync_hours"),
    hours("userRegistrationDetails_hours"),
    row("collections", "directoryAudit_overlap_hours", Kind::Number, Some("12")),
    limit("in_flight", "8"),
    limit("units_per_10s", "1750"),
    limit("tries", "8"),
    limit("page_bytes", "67108864"),
    limit("pages", "200000"),
    limit("request_timeout_seconds", "120"),
    limit("longest_wait_seconds", "300"),
    limit("total_wait_seconds", "900"),
    limit("capture_minutes", "50"),
    limit("sweep_captures", "24"),
    limit("sweep_requests", "20000"),
    limit("gate_percent", "20"),
    limit("gate_minimum", "20"),
];

/// The option called `section.name`.
pub(super) fn find(full_name: &str) -> Option<&'static Opt> {
    let (section, name) = full_name.rsplit_once('.')?;
    OPTIONS.iter().find(|option| option.section == section && option.name == name)
}

/// The nearest of `names` to `wrong`, where one is near enough to be meant: spelled alike, or holding it.
pub(super) fn nearest(wrong: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let wrong = wrong.to_lowercase();
    let score = |name: &str| {
        let name = name.to_lowercase();
        let held = if name.contains(&wrong) { 0.8 } else { 0.0 };
        strsim::jaro_winkler(&wrong, &name).max(held)
    };
    let near = names.map(|name| (score(name), name)).filter(|(score, _)| *score > 0.7);
    near.min_by(|a, b| b.0.total_cmp(&a.0)).map(|(_, name)| name)
}
