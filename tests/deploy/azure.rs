//! The templates of the storage account. No compiler of Bicep is at hand, so that this reads the text, and a grammar
//! says whether it is Bicep at all; `az bicep build --file deploy/bicep/main.bicep` says the rest.

use std::collections::BTreeMap;
use std::process::Command;

use crate::tools::{python, succeeds, text};

const TEMPLATES: [&str; 3] = ["deploy/bicep/main.bicep", "deploy/bicep/rights.bicep", "deploy/bicep/worm.bicep"];

/// For how long a blob has to be kept where its history counts for `years`: the reckoning of the service
/// (`src/store/azure/guard.rs`). A year in four has a day more, a segment lives at most 93 days.
pub fn days(years: u64) -> u64 {
    years * 365 + years.div_ceil(4) + 100
}

/// Whole numbers, names, `+ - * / %` and brackets, as Bicep reckons.
struct Sum<'t> {
    tokens: Vec<&'t str>,
    at: usize,
    names: &'t BTreeMap<&'t str, u64>,
}

fn reckon(text: &str, names: &BTreeMap<&str, u64>) -> u64 {
    let spaced: String =
        text.chars().flat_map(|c| if "+-*/%()".contains(c) { vec![' ', c, ' '] } else { vec![c] }).collect();
    let mut sum = Sum { tokens: spaced.split_whitespace().collect(), at: 0, names };
    let result = sum.terms();
    assert_eq!(sum.at, sum.tokens.len(), "{text}");
    result
}

impl<'t> Sum<'t> {
    fn next(&mut self, among: &str) -> Option<&'t str> {
        let token = *self.tokens.get(self.at).filter(|token| among.contains(**token))?;
        self.at += 1;
        Some(token)
    }

    fn terms(&mut self) -> u64 {
        let mut result = self.factors();
        while let Some(sign) = self.next("+-") {
            let other = self.factors();
            result = if sign == "+" { result + other } else { result - other };
        }
        result
    }

    fn factors(&mut self) -> u64 {
        let mut result = self.atom();
        while let Some(sign) = self.next("*/%") {
            let other = self.atom();
            result = match sign {
                "*" => result * other,
                "/" => result / other,
                _ => result % other,
            };
        }
        result
    }

    fn atom(&mut self) -> u64 {
        if self.next("(").is_some() {
            let result = self.terms();
            assert!(self.next(")").is_some());
            return result;
        }
        let token = self.tokens[self.at];
        self.at += 1;
        token.parse().unwrap_or_else(|_| self.names[token])
    }
}

/// What stands after `var NAME = `.
fn variable<'t>(text: &'t str, name: &str) -> &'t str {
    let head = format!("var {name} = ");
    text.lines().find_map(|line| line.strip_prefix(&head)).unwrap_or_else(|| panic!("no variable {name}"))
}

/// The text of each resource of a type, by its name in the template.
fn resources(text: &str, kind: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for part in text.split("\nresource ").skip(1) {
        let (name, rest) = part.split_once(" '").unwrap();
        if rest.starts_with(&format!("{kind}@")) && !rest.lines().next().unwrap().contains(" existing ") {
            // It ends with the first line that closes at the margin.
            let end = rest.find("\n}").or_else(|| rest.find("\n]")).unwrap();
            found.insert(name.to_owned(), rest[..end].to_owned());
        }
    }
    found
}

#[test]
fn the_templates_follow_the_grammar() {
    let Some(python) = python() else { return };
    succeeds(Command::new(python).args(["tests/deploy/check.py", "bicep"]).args(TEMPLATES));
}

#[test]
fn intervals_are_the_retention_and_what_a_segment_lives() {
    let main = text(TEMPLATES[0]);
    for years in 1..=100 {
        let mut names = BTreeMap::from([("retentionYears", years)]);
        names.insert("logYears", reckon(variable(&main, "logYears"), &names));
        assert_eq!(reckon(variable(&main, "monthDays"), &names), days(years), "{years} years");
        assert_eq!(reckon(variable(&main, "logDays"), &names), days(years + 10), "{years} years");
        // Azure's bound.
        assert!(days(years + 10) <= 146_000);
    }
    let modules: Vec<&str> = main.split("\nmodule ").skip(1).collect();
    let of = |name: &str| modules.iter().find(|module| module.starts_with(name)).unwrap();
    assert!(of("log").contains("days: logDays\n") && of("log").contains("names: ['${beginning}log']\n"));
    assert!(of("segments").contains("days: monthDays\n") && of("segments").contains("names: months\n"));
}

#[test]
fn months_run_on_over_the_end_of_a_year() {
    let main = text(TEMPLATES[0]);
    let line = main.lines().find(|line| line.contains("for i in range(start, monthCount)")).unwrap();
    assert!(line.contains("'${beginning}${i / 12}-${padLeft(string(i % 12 + 1), 2, '0')}'"), "{line}");
    let names = BTreeMap::from([("firstYear", 2026), ("firstMonth", 11)]);
    let start = reckon(variable(&main, "start"), &names);
    let months: Vec<String> = (start..start + 4)
        .map(|i| {
            let names = BTreeMap::from([("i", i)]);
            format!("{}-{:02}", reckon("i / 12", &names), reckon("i % 12 + 1", &names))
        })
        .collect();
    assert_eq!(months, ["2026-11", "2026-12", "2027-01", "2027-02"]);
}

#[test]
fn everything_but_the_view_has_a_policy() {
    let worm = text(TEMPLATES[2]);
    let policies = resources(&worm, "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies");
    let policy = &policies["policies"];
    assert!(policy.contains("for (name, i) in names") && policy.contains("parent: containers[i]"));
    assert!(policy.contains("immutabilityPeriodSinceCreationInDays: days\n"));
    assert!(policy.contains("allowProtectedAppendWrites: false\n"));
    let main = text(TEMPLATES[0]);
    let containers = resources(&main, "Microsoft.Storage/storageAccounts/blobServices/containers");
    assert_eq!(containers.keys().collect::<Vec<_>>(), ["view"]);
}

#[test]
fn the_account_is_shut_to_what_the_archive_has_no_use_for() {
    let main = text(TEMPLATES[0]);
    for line in [
        "kind: 'StorageV2'",
        "isHnsEnabled: false",
        "allowSharedKeyAccess: false",
        "allowBlobPublicAccess: false",
        "minimumTlsVersion: 'TLS1_2'",
        "supportsHttpsTrafficOnly: true",
        "isVersioningEnabled: false",
        "accessTier: 'Hot'",
    ] {
        assert!(main.contains(&format!("{line}\n")), "{line}");
    }
}

/// The data actions of a role, and its other actions.
fn actions(role: &str) -> (Vec<&str>, Vec<&str>) {
    let list = |name: &str| -> Vec<&str> {
        let Some((_, rest)) = role.split_once(&format!(" {name}: [\n")) else { return Vec::new() };
        let (rest, _) = rest.split_once(']').unwrap();
        let prefix = "Microsoft.Storage/storageAccounts/blobServices/containers/";
        rest.split_whitespace().map(|action| action.trim_matches('\'').strip_prefix(prefix).unwrap()).collect()
    };
    (list("dataActions"), list("actions"))
}

#[test]
fn roles_have_the_least_rights() {
    let main = text(TEMPLATES[0]);
    let roles = resources(&main, "Microsoft.Authorization/roleDefinitions");
    let check = |name: &str, data: &[&str], other: &[&str]| {
        assert_eq!(actions(&roles[name]), (data.to_vec(), other.to_vec()), "{name}");
    };
    check("containersRole", &[], &["read", "immutabilityPolicies/read"]);
    check("writerRole", &["blobs/read", "blobs/add/action"], &[]);
    check("viewRole", &["blobs/read", "blobs/add/action", "blobs/write"], &[]);
    check("canaryRole", &["blobs/write", "blobs/delete"], &[]);
    check("expiryRole", &["blobs/read", "blobs/delete"], &["read", "delete"]);
    assert_eq!(roles.len(), 5);
    for role in roles.values() {
        assert!(role.contains("assignableScopes: [resourceGroup().id]"), "{role}");
    }
}

#[test]
fn roles_are_given_where_they_are_needed_and_nowhere_else() {
    let kind = "Microsoft.Authorization/roleAssignments";
    let mut given = Vec::new();
    for template in TEMPLATES {
        for (name, assignment) in resources(&text(template), kind) {
            let role = assignment.split("guid(account.id, 'tenure ").nth(1).unwrap();
            let scope = assignment.split("scope: ").nth(1).unwrap().lines().next().unwrap().to_owned();
            given.push((
                role.split('\'').next().unwrap().to_owned(),
                scope,
                assignment.contains("condition: onlyCanary"),
            ));
            assert!(assignment.contains("principalId: principalId\n"), "{name}");
        }
    }
    given.sort();
    let expected = [
        // Of whatever the role allows the condition leaves one blob, which holds nothing.
        ("canary", "containers[i]", true),
        ("containers", "account", false),
        ("view", "view", false),
        ("writer", "containers[i]", false),
    ];
    let expected = expected.map(|(role, scope, condition)| (role.to_owned(), scope.to_owned(), condition));
    assert_eq!(given, expected);

    let worm = text(TEMPLATES[2]);
    let action = |name: &str| format!("!(ActionMatches{{\\'${{blob}}/{name}\\'}})");
    assert_eq!(variable(&worm, "isNeither"), format!("'{} AND {}'", action("write"), action("delete")));
    let canary = r"'((${isNeither}) OR (@Resource[${blob}:path] StringEquals \'canary\'))'";
    assert_eq!(variable(&worm, "onlyCanary"), canary);
    // The name that the service gives it.
    assert!(text("src/store/azure/mod.rs").contains("const CANARY: &str = \"canary\";"));
}

/// A role that is computed under another name would be assigned and not be there.
#[test]
fn roles_are_found_again_by_their_names() {
    let defined: Vec<String> = resources(&text(TEMPLATES[0]), "Microsoft.Authorization/roleDefinitions")
        .values()
        .map(|role| role.split("name: ").nth(1).unwrap().lines().next().unwrap().to_owned())
        .collect();
    for template in &TEMPLATES[1..] {
        for line in text(template).lines().filter(|line| line.contains("roleDefinitionId: ")) {
            let name = line.split("subscriptionResourceId(definitions, ").nth(1).unwrap();
            let name = name.strip_suffix(')').unwrap();
            assert!(defined.iter().any(|role| role == name), "{name}");
        }
    }
}
