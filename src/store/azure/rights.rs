//! Which rights of an identity are larger than the service needs: what could undo what is written, or what protects it.
//!
//! Must never know: how rights are asked for.
//!
//! Actions and data actions are those of learn, role-based-access-control/permissions/storage. A right is had where an
//! entry's `actions` match and its `notActions` don't; `*` stands for anything, also within (learn,
//! role-based-access-control/role-definitions).

use serde_json::Value;

/// What a writer of the archive must not be able to do to the account, its containers and their policies.
const ACTIONS: &[&str] = &[
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Storage/storageAccounts/delete",
    "Microsoft.Storage/storageAccounts/listKeys/action",
    "Microsoft.Storage/storageAccounts/write",
    "Microsoft.Storage/storageAccounts/blobServices/containers/clearLegalHold/action",
    "Microsoft.Storage/storageAccounts/blobServices/containers/delete",
    "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/delete",
    "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/write",
];

/// What it must not be able to do to blobs of the log and the months.
const DATA_ACTIONS: &[&str] = &[
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/deleteBlobVersion/action",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/permanentDelete/action",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/immutableStorage/runAsSuperUser/action",
];

/// The rights among `permissions`, the answer of the resource manager for a container, that are too large.
///
/// The resource manager names rights without the conditions under which they were given. So what an identity may do to the
/// canary alone (`deploy/bicep`: a role with just writing and deleting blobs, on a condition) looks like that right over
/// every blob, and isn't counted.
pub(super) fn excessive(permissions: &Value) -> Vec<&'static str> {
    let entries: Vec<&Value> = permissions["value"].as_array().into_iter().flatten().collect();
    let has = |wanted: &str, given: &str, taken: &str| {
        let matches = |entry: &Value, name: &str| texts(&entry[name]).any(|pattern| covers(pattern, wanted));
        entries.iter().any(|entry| !is_for_the_canary(entry) && matches(entry, given) && !matches(entry, taken))
    };
    let actions = ACTIONS.iter().filter(|action| has(action, "actions", "notActions"));
    let data = DATA_ACTIONS.iter().filter(|action| has(action, "dataActions", "notDataActions"));
    actions.chain(data).copied().collect()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// A role that holds nothing but the two rights for trying the canary.
fn is_for_the_canary(entry: &Value) -> bool {
    let both = &DATA_ACTIONS[..2];
    let given: Vec<&str> = texts(&entry["dataActions"]).collect();
    texts(&entry["actions"]).next().is_none() && given.len() == 2 && both.iter().all(|wanted| given.contains(wanted))
}

/// Whether `pattern` covers `action`, in which nothing stands for anything else. Case doesn't count.
fn covers(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_lowercase(), action.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = action.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";

    fn check(entries: Value, expected: &[&str]) {
        let found = excessive(&json!({ "value": entries }));
        let short: Vec<&str> = found.iter().map(|right| right.rsplit("storageAccounts/").next().unwrap()).collect();
        assert_eq!(short, expected, "{entries}");
    }

    #[test]
    fn what_the_templates_give_is_not_too_much() {
        let writer = json!({
            "actions": ["Microsoft.Storage/storageAccounts/blobServices/containers/read"], "notActions": [],
            "dataActions": [format!("{BLOBS}/read"), format!("{BLOBS}/add/action")], "notDataActions": [],
        });
        let canary = json!({
            "actions": [], "notActions": [],
            "dataActions": [format!("{BLOBS}/write"), format!("{BLOBS}/delete")], "notDataActions": [],
        });
        let reader = json!({ "actions": ["*/read"], "notActions": [], "dataActions": [], "notDataActions": [] });
        check(json!([writer, canary, reader]), &[]);
        check(json!([]), &[]);
        check(json!(null), &[]);
    }

    #[test]
    fn what_could_undo_what_was_written_is() {
        let contributor = json!({
            "actions": ["Microsoft.Storage/storageAccounts/blobServices/containers/*"], "notActions": [],
            "dataActions": [format!("{BLOBS}/*")], "notDataActions": [format!("{BLOBS}/immutableStorage/*")],
        });
        check(
            json!([contributor]),
            &[
                "blobServices/containers/clearLegalHold/action",
                "blobServices/containers/delete",
                "blobServices/containers/immutabilityPolicies/delete",
                "blobServices/containers/immutabilityPolicies/write",
                "blobServices/containers/blobs/delete",
                "blobServices/containers/blobs/write",
                "blobServices/containers/blobs/deleteBlobVersion/action",
                "blobServices/containers/blobs/permanentDelete/action",
            ],
        );
        let owner = json!({ "actions": ["*"], "notActions": ["Microsoft.Authorization/*/write"], "dataActions": [] });
        let found = excessive(&json!({ "value": [owner] }));
        assert!(!found.contains(&"Microsoft.Authorization/roleAssignments/write"));
        assert!(found.contains(&"Microsoft.Storage/storageAccounts/listKeys/action"));
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, action, expected) in [
            ("*", "a/b/c", true),
            ("a/*/c", "A/b/b/C", true),
            ("a/*/c", "a/b/d", false),
            ("*/read", "a/b/read", true),
            ("*/read", "a/b/reads", false),
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/*", "a/", true),
            ("a*b*c", "a-c", false),
        ] {
            assert_eq!(covers(pattern, action), expected, "{pattern} {action}");
        }
    }
}
