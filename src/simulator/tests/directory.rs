//! The directory by itself, without HTTP.

use super::*;

fn two_users() -> Directory {
    let mut directory = Directory::new(1, Timestamp::UNIX_EPOCH);
    for id in ["a", "b"] {
        assert!(directory.create(Collection::User, json!({"id": id, "displayName": id})));
    }
    directory
}

#[test]
fn only_what_makes_a_difference_counts_as_a_change() {
    let mut directory = two_users();
    let before = directory.sequence();
    assert!(!directory.create(Collection::Group, json!({"id": "a"})), "ids are unique over all collections");
    assert!(!directory.patch("a", json!({"displayName": "a", "city": null})));
    assert!(!directory.unlink("a", Relation::Manager, "b"));
    assert!(!directory.link("a", Relation::Manager, "nobody"));
    assert!(!directory.restore("a") && !directory.patch("nobody", json!({"city": "x"})));
    assert_eq!(directory.sequence(), before);
    assert!(directory.patch("a", json!({"city": "x"})) && directory.link("a", Relation::Manager, "b"));
    assert_eq!(directory.sequence(), before + 2);
}

#[test]
fn the_bin_keeps_thirty_days_and_links_end_with_it() {
    let mut directory = two_users();
    directory.link("a", Relation::Manager, "b");
    directory.soft_delete("b");
    assert!(directory.targets("a", Relation::Manager).is_empty());
    directory.set_now(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(30 * 24 - 1));
    assert!(directory.overdue().is_empty() && directory.restore("b"));
    assert_eq!(directory.targets("a", Relation::Manager), ["b"]);
    directory.soft_delete("b");
    directory.set_now(Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(60 * 24));
    assert_eq!(directory.overdue(), ["b"]);
    assert!(directory.remove("b") && !directory.restore("b") && directory.overdue().is_empty());
    assert!(directory.create(Collection::User, json!({"id": "b"})), "the id of what is gone may be used again");
    assert!(directory.targets("a", Relation::Manager).is_empty(), "but its links are not");
}

#[test]
fn assignments_need_their_ends() {
    let mut directory = two_users();
    let role = json!({"id": "r", "principalId": "a", "roleDefinitionId": "x"});
    assert!(!directory.create(Collection::RoleAssignment, json!({"id": "q", "principalId": "nobody"})));
    assert!(directory.create(Collection::RoleAssignment, role.clone()));
    directory.soft_delete("a");
    assert!(directory.ids(Collection::RoleAssignment).is_empty());
    directory.restore("a");
    assert_eq!(directory.ids(Collection::RoleAssignment), ["r"]);
    directory.remove("a");
    assert!(directory.ids(Collection::RoleAssignment).is_empty());
    assert!(!directory.create(Collection::RoleAssignment, role));
}
