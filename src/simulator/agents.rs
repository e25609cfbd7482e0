//! The Agent ID kinds: blueprints, their principals, agent identities and the users of agents.
//!
//! Must never know: who answers for an agent.
//!
//! Shapes: "agentIdentityBlueprint resource type" and the three beside it. They derive from application, service
//! principal and user, and are told apart by `@odata.type` only.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::applications::{self, GRAPH_APP_ID};
use super::dice::Dice;
use super::directory::seconds;
use super::people::sid;
use super::words::DOMAIN;

/// The app of Microsoft that makes agents.
const MAKER: &str = "c44b4083-3bb0-49c1-b47d-974e53cbdf3c";

/// A blueprint and its principal.
pub(super) fn blueprint(dice: &mut Dice, name: &str, tenant: &str, at: Timestamp) -> (Value, Value) {
    let mut blueprint = applications::application(dice, name, at);
    blueprint["@odata.type"] = json!("#microsoft.graph.agentIdentityBlueprint");
    blueprint["createdByAppId"] = json!(MAKER);
    blueprint["passwordCredentials"] = json!([]);
    blueprint["inheritablePermissions"] = json!([{
        "resourceAppId": GRAPH_APP_ID,
        "inheritableScopes": {
            "@odata.type": "#microsoft.graph.enumeratedScopes", "kind": "enumerated", "scopes": ["User.Read", "Mail.Read"],
        },
    }]);
    let mut principal = applications::principal(dice, &blueprint, tenant);
    principal["@odata.type"] = json!("#microsoft.graph.agentIdentityBlueprintPrincipal");
    principal["createdByAppId"] = json!(MAKER);
    (blueprint, principal)
}

/// An agent identity made from the blueprint whose app id is given.
pub(super) fn identity(dice: &mut Dice, name: &str, blueprint: &str, tenant: &str, at: Timestamp) -> Value {
    let id = dice.guid();
    json!({
        "@odata.type": "#microsoft.graph.agentIdentity",
        "id": id,
        "accountEnabled": true,
        "agentIdentityBlueprintId": blueprint,
        "appId": id,
        "appOwnerOrganizationId": tenant,
        "appRoleAssignmentRequired": false,
        "createdByAppId": blueprint,
        "createdDateTime": seconds(at),
        "displayName": name,
        "servicePrincipalNames": [id],
        "servicePrincipalType": "ServiceIdentity",
        "tags": [],
    })
}

/// The user of an agent identity, one to one.
pub(super) fn user(dice: &mut Dice, name: &str, identity: &str, at: Timestamp) -> Value {
    let nickname: String = name.to_lowercase().replace(' ', ".");
    let upn = format!("{nickname}@{DOMAIN}");
    json!({
        "@odata.type": "#microsoft.graph.agentUser",
        "id": dice.guid(),
        "accountEnabled": true,
        "displayName": name,
        "identityParentId": identity,
        "mail": upn,
        "mailNickname": nickname,
        "userPrincipalName": upn,
        "userType": "Member",
        "createdDateTime": seconds(at),
        "identities": [{"signInType": "userPrincipalName", "issuer": DOMAIN, "issuerAssignedId": upn}],
        "securityIdentifier": sid(dice),
        "usageLocation": "NO",
    })
}
