//! Resource units: what a request will cost, before it is sent.
//!
//! Must never know: what is asked for, beyond what the price depends on.

/// What a GET of `path_and_query` costs in resource units, by learn, graph/throttling-limits: a base price by path, one
/// less with `$select`, one less with `$top` below 20, one more with `$expand`, never less than one. The price of feeds
/// isn't published; they are taken for lists.
pub fn estimate(path_and_query: &str) -> u64 {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let path = path.strip_prefix("/v1.0").or_else(|| path.strip_prefix("/beta")).unwrap_or(path);
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let base: i64 = match segments.as_slice() {
        [.., "transitiveMembers"] => 5,
        ["groups", _, "members"] => 3,
        ["domains", _, "domainNameReferences"] => 4,
        ["subscribedSkus", ..] => 3,
        ["servicePrincipals", _, "appRoleAssignments"] => 2,
        ["users" | "applications" | "oauth2PermissionGrants", ..] => 2,
        _ => 1,
    };
    let options = || query.split('&').filter_map(|option| option.split_once('='));
    let option = |wanted: &str| {
        let mut all = options();
        all.find(|(name, _)| name.trim_start_matches("%24").trim_start_matches('$') == wanted).map(|(_, value)| value)
    };
    let select = i64::from(option("select").is_some());
    let expand = i64::from(option("expand").is_some());
    let few = i64::from(option("top").and_then(|top| top.parse::<u32>().ok()).is_some_and(|top| top < 20));
    u64::try_from(base - select + expand - few).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_those_of_the_table() {
        for (path, price) in [
            ("/v1.0/users", 2),
            ("/v1.0/users?$select=id", 1),
            ("/v1.0/users?$select=id&$top=10", 1),
            ("/v1.0/users?$expand=manager", 3),
            ("/groups/a/members", 3),
            ("/beta/groups/a/members?%24select=id&$top=999", 2),
            ("/v1.0/groups/a/transitiveMembers", 5),
            ("/v1.0/servicePrincipals/a/appRoleAssignments", 2),
            ("/v1.0/servicePrincipals/a/appRoleAssignedTo", 1),
            ("/v1.0/domains/a/domainNameReferences", 4),
            ("/v1.0/subscribedSkus", 3),
            ("/v1.0/groups", 1),
            ("", 1),
        ] {
            assert_eq!(estimate(path), price, "{path}");
        }
    }
}
