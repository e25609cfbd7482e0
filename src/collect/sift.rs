//! From an element of a page to sightings: its name, its content, and the links lifted out of it.
//!
//! Must never know: how the page was got.

use crate::canonical::{Json, Key, Rules, Text, Value, canonicalize};
use crate::collect::sighting::{Content, Sighting};
use crate::model::{Collection, Facet, Relation, base_collection, key_of, usable_id};

/// What a page's elements have in common.
#[derive(Debug)]
pub struct Sifter<'r> {
    /// The collection they belong to.
    pub collection: &'static Collection,
    /// What is dropped and sorted.
    pub rules: &'r Rules,
    /// Whether they come from a feed: removals are marked, properties may be left out.
    pub feed: bool,
    /// The type to write into an element that doesn't say its own, since the address says it.
    pub kind: Option<&'static str>,
    /// Subtypes that this list shows without their own properties.
    pub incomplete: Vec<&'static str>,
    /// The facet that is read, instead of the objects.
    pub facet: Option<&'static Facet>,
}

impl<'r> Sifter<'r> {
    /// For elements of a list of `collection` that has nothing special.
    pub fn plain(collection: &'static Collection, rules: &'r Rules) -> Self {
        Sifter { collection, rules, feed: false, kind: None, incomplete: Vec::new(), facet: None }
    }

    /// Adds what `item` says to `out` and returns its key; `None` for an element without a usable name, which is kept raw
    /// or, if it is a removal, has nothing that could be kept.
    pub fn sift(&self, mut item: Json<'_>, out: &mut Vec<Sighting>) -> Option<Key> {
        let source = item.source;
        let key = key_of(self.collection, &item).filter(|_| item.members().is_some());
        if self.feed && item.get("@removed").is_some_and(|removed| !removed.is_null()) {
            out.extend(key.clone().map(|key| Sighting::Gone { key }));
            return key;
        }
        let Some(key) = key else {
            let key = Key::raw(self.collection.name, source);
            if self.facet.is_none() {
                out.push(object(key, Content::Raw(source.to_vec()), false, None));
            }
            return None;
        };
        if let Some(facet) = self.facet {
            self.lift_facet(&mut item, facet, &key, out);
            return Some(key);
        }
        let mut facets = Vec::new();
        for facet in self.collection.facets {
            self.lift_facet(&mut item, facet, &key, &mut facets);
        }
        let mut links = Vec::new();
        for relation in self.collection.relations.iter().filter(|relation| relation.targets.is_none()) {
            lift(&mut item, relation, &key, &mut links);
        }
        self.set_kind(&mut item);
        let content = match canonicalize(&item, self.rules) {
            Ok(bytes) => Content::Canonical(bytes),
            Err(_) => Content::Raw(source.to_vec()),
        };
        // Raw bytes can't be laid over anything: they are what is known of the object now.
        let partial = matches!(content, Content::Canonical(_)) && (self.feed || self.is_incomplete(&item));
        if matches!(content, Content::Raw(_)) {
            // The bytes are kept as they came, facets and all.
            facets.clear();
        }
        out.push(object(key.clone(), content, partial, self.subtype(&item)));
        out.append(&mut facets);
        out.append(&mut links);
        Some(key)
    }

    /// Takes the properties of `facet` out of `item`. One without a value says nothing, and without any there is no
    /// facet.
    fn lift_facet(&self, item: &mut Json<'_>, facet: &Facet, key: &Key, out: &mut Vec<Sighting>) {
        let Value::Object(members) = &mut item.value else { return };
        let mut lifted = Vec::new();
        members.retain_mut(|(name, value)| {
            let mine = name.as_str().is_some_and(|name| facet.properties.contains(&name));
            if mine && !value.is_null() {
                lifted.push((name.clone(), std::mem::replace(value, Json { source: &[], value: Value::Null })));
            }
            !mine
        });
        if lifted.is_empty() {
            return;
        }
        let whole = Json::object(lifted);
        match (canonicalize(&whole, self.rules), whole.value) {
            (Ok(bytes), _) => out.push(object(key.facet(facet.name), Content::Canonical(bytes), false, None)),
            (Err(_), _) if self.facet.is_some() => {
                out.push(object(key.facet(facet.name), Content::Raw(item.source.to_vec()), false, None));
            }
            // What has no canonical form goes back, so that the whole object is kept as it came.
            (Err(_), Value::Object(lifted)) => members.extend(lifted),
            (Err(_), _) => unreachable!("made as an object above"),
        }
    }

    fn subtype(&self, item: &Json<'_>) -> Option<&'static str> {
        let kind = item.text("@odata.type")?.trim_start_matches('#');
        let kind = kind.strip_prefix("microsoft.graph.").unwrap_or(kind);
        self.collection.types.iter().skip(1).find(|known| **known == kind).copied()
    }

    fn set_kind(&self, item: &mut Json<'_>) {
        let Some(kind) = self.kind.filter(|_| item.get("@odata.type").is_none()) else { return };
        let Value::Object(members) = &mut item.value else { return };
        let text = Text::Sound(format!("#microsoft.graph.{kind}").into());
        members.push((Text::from("@odata.type"), Json { source: &[], value: Value::String(text) }));
    }

    fn is_incomplete(&self, item: &Json<'_>) -> bool {
        let kind = item.text("@odata.type").map(|kind| kind.trim_start_matches('#'));
        kind.is_some_and(|kind| self.incomplete.contains(&kind.strip_prefix("microsoft.graph.").unwrap_or(kind)))
    }
}

fn object(key: Key, content: Content, partial: bool, subtype: Option<&'static str>) -> Sighting {
    Sighting::Object { key, content, partial, subtype }
}

/// The key of an element of a relation's list. The id is a directory object's, so that the type decides the collection.
pub fn target_of(item: &Json<'_>) -> Option<Key> {
    let id = usable_id(item, "id")?;
    Some(Key::new(base_collection(item.text("@odata.type")), id))
}

/// Takes `<relation>@delta` and `<relation>` out of `item`. Entries that are no links stay where they were, so that
/// nothing is lost.
fn lift(item: &mut Json<'_>, relation: &Relation, source: &Key, out: &mut Vec<Sighting>) {
    let mut found = Vec::new();
    let mut emptied = false;
    let Value::Object(members) = &mut item.value else { return };
    members.retain_mut(|(name, value)| {
        let changes = match name.as_str() {
            Some(name) if name == relation.name => false,
            Some(name) if name.strip_suffix("@delta") == Some(relation.name) => true,
            _ => return true,
        };
        match &mut value.value {
            Value::Array(entries) => {
                entries.retain(|entry| match target_of(entry) {
                    Some(target) => {
                        let removed = entry.get("@removed").is_some_and(|removed| !removed.is_null());
                        found.push((target, !removed));
                        false
                    }
                    None => true,
                });
                // What is left is no longer what the source bytes say.
                value.source = &[];
                matches!(&value.value, Value::Array(rest) if !rest.is_empty())
            }
            Value::Object(_) => match target_of(value) {
                Some(target) => {
                    let removed = value.get("@removed").is_some_and(|removed| !removed.is_null());
                    found.push((target, !removed));
                    false
                }
                None => true,
            },
            Value::Null if !changes => {
                emptied = relation.single;
                false
            }
            _ => true,
        }
    });
    report(found, emptied, relation, source, out);
}

/// A source of a single relation has one target, so that a new one ends the old one, reported or not.
fn report(found: Vec<(Key, bool)>, emptied: bool, relation: &Relation, source: &Key, out: &mut Vec<Sighting>) {
    let (source, relation, single) = (source.clone(), relation.name, relation.single);
    let last = found.iter().rev().find(|(_, present)| *present).map(|(target, _)| target.clone());
    match last {
        Some(target) if single => out.push(Sighting::Links { source, relation, targets: vec![target] }),
        None if single && emptied => out.push(Sighting::Links { source, relation, targets: Vec::new() }),
        _ => out.extend(found.into_iter().map(|(target, present)| Sighting::Link {
            source: source.clone(),
            relation,
            target,
            present,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::parse;
    use crate::model::{find, rules};

    fn sift(collection: &str, feed: bool, source: &str) -> Vec<String> {
        let rules = rules();
        let collection = find(collection).unwrap();
        let sifter =
            Sifter { collection, rules: &rules, feed, kind: None, incomplete: vec!["agentIdentity"], facet: None };
        let mut out = Vec::new();
        sifter.sift(parse(source.as_bytes()).unwrap(), &mut out);
        out.iter().map(show).collect()
    }

    fn show(sighting: &Sighting) -> String {
        match sighting {
            Sighting::Object { key, content: Content::Canonical(bytes), partial, .. } => {
                format!("{key} {} {}", if *partial { "part" } else { "whole" }, String::from_utf8_lossy(bytes))
            }
            Sighting::Object { key, content: Content::Raw(bytes), partial, .. } => {
                assert!(!partial);
                let key = if key.id().starts_with('!') { key.collection().to_owned() } else { key.to_string() };
                format!("{key} raw {}", String::from_utf8_lossy(bytes))
            }
            Sighting::Gone { key } => format!("{key} gone"),
            Sighting::Link { source, relation, target, present } => {
                format!("{source} {relation} {}{target}", if *present { '+' } else { '-' })
            }
            Sighting::Links { source, relation, targets } => format!("{source} {relation} = {targets:?}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn links_are_lifted_and_the_rest_stays() {
        let source = r##"{"id":"g","displayName":"G","members@delta":[{"@odata.type":"#microsoft.graph.user","id":"u"},
            {"id":"v","@removed":{"reason":"deleted"}},{"@odata.type":"#microsoft.graph.agentIdentity","id":"w"}]}"##;
        assert_eq!(
            sift("group", true, source),
            [
                r#"group/g part {"displayName":"G","id":"g"}"#,
                "group/g members +user/u",
                "group/g members -directoryObject/v",
                "group/g members +servicePrincipal/w",
            ]
        );
    }

    #[test]
    fn what_moves_by_itself_is_kept_apart() {
        let source =
            r#"{"id":"u","signInActivity":{"lastSignInDateTime":"t"},"city":"x","onPremisesLastSyncDateTime":null}"#;
        assert_eq!(
            sift("user", false, source),
            [
                r#"user/u whole {"city":"x","id":"u"}"#,
                r#"user/u#activity whole {"signInActivity":{"lastSignInDateTime":"t"}}"#
            ]
        );
        let doubled = r#"{"id":"u","signInActivity":1,"n":1,"n":2}"#;
        assert_eq!(sift("user", false, doubled), [format!("user/u raw {doubled}")]);
    }

    #[test]
    fn entries_that_are_no_links_stay_in_the_object() {
        let source = r#"{"id":"g","members@delta":[{"id":"u"},{"noId":1},7],"owners":"x"}"#;
        assert_eq!(
            sift("group", true, source),
            [
                r#"group/g part {"id":"g","members@delta":[{"noId":1},7],"owners":"x"}"#,
                "group/g members +directoryObject/u"
            ]
        );
    }

    #[test]
    fn a_user_has_one_manager() {
        let user = r#"user/u part {"id":"u"}"#;
        for (manager, expected) in [
            (r##""manager":{"@odata.type":"#microsoft.graph.user","id":"m"}"##, Some("user/u manager = [user/m]")),
            (r#""manager":null"#, Some("user/u manager = []")),
            (
                r#""manager@delta":[{"id":"m","@removed":{"reason":"deleted"}}]"#,
                Some("user/u manager -directoryObject/m"),
            ),
            (
                r##""manager@delta":[{"@odata.type":"#microsoft.graph.user","id":"n"},{"id":"m","@removed":{"reason":"deleted"}}]"##,
                Some("user/u manager = [user/n]"),
            ),
            (r#""manager@delta":[]"#, None),
        ] {
            let expected: Vec<_> = [user].into_iter().chain(expected).collect();
            assert_eq!(sift("user", true, &format!(r#"{{"id":"u",{manager}}}"#)), expected, "{manager}");
        }
    }

    #[test]
    fn removals_of_either_reason_are_gone_and_one_without_an_id_is_nothing() {
        for reason in ["changed", "deleted"] {
            let source = format!(r#"{{"id":"u","@removed":{{"reason":"{reason}"}},"displayName":"x"}}"#);
            assert_eq!(sift("user", true, &source), ["user/u gone"]);
        }
        assert_eq!(sift("user", true, r#"{"@removed":{"reason":"deleted"}}"#), [""; 0]);
        assert_eq!(sift("user", false, r#"{"id":"u","@removed":1}"#), [r#"user/u whole {"@removed":1,"id":"u"}"#]);
    }

    #[test]
    fn what_the_guard_refuses_is_kept_as_received() {
        for source in [r#"{"id":"u","n":9007199254740993}"#, r#"{"id":"u","a":1,"a":2}"#, r#"{"id":"u","a":"\ud800"}"#]
        {
            assert_eq!(sift("user", true, source), [format!("user/u raw {source}")]);
        }
        for source in [r#"{"id":"u","id":"v"}"#, r#"{"id":""}"#, r#"{"id":7}"#, "{}", "7", "null", r#""x""#, "[]"] {
            assert_eq!(sift("user", true, source), [format!("user raw {source}")]);
        }
        assert_eq!(sift("organization", false, "7"), ["organization raw 7"]);
    }

    #[test]
    fn a_raw_group_keeps_its_links() {
        let source = r#"{"id":"g","a":1,"a":2,"members@delta":[{"id":"u"}]}"#;
        assert_eq!(
            sift("group", true, source),
            [format!("group/g raw {source}"), "group/g members +directoryObject/u".into()]
        );
    }

    #[test]
    fn a_subtype_in_its_base_list_is_partial() {
        let source = r##"{"@odata.type":"#microsoft.graph.agentIdentity","id":"s"}"##;
        assert_eq!(sift("servicePrincipal", false, source), [format!("servicePrincipal/s part {source}")]);
        assert_eq!(sift("servicePrincipal", false, r#"{"id":"s"}"#), [r#"servicePrincipal/s whole {"id":"s"}"#]);
    }

    #[test]
    fn the_address_says_the_type_where_the_body_does_not() {
        let rules = rules();
        let collection = find("deletedItems").unwrap();
        let sifter =
            Sifter { collection, rules: &rules, feed: false, kind: Some("user"), incomplete: vec![], facet: None };
        for (source, expected) in [
            (r#"{"id":"u"}"#, r##"deletedItems/u whole {"@odata.type":"#microsoft.graph.user","id":"u"}"##),
            (
                r##"{"@odata.type":"#microsoft.graph.agentUser","id":"u"}"##,
                r##"deletedItems/u whole {"@odata.type":"#microsoft.graph.agentUser","id":"u"}"##,
            ),
        ] {
            let mut out = Vec::new();
            sifter.sift(parse(source.as_bytes()).unwrap(), &mut out);
            assert_eq!(show(&out[0]), expected);
        }
    }

    mod anything {
        use proptest::prelude::*;

        use super::*;

        fn value() -> impl Strategy<Value = String> {
            let leaf = prop_oneof![
                Just("null".to_owned()),
                Just("true".to_owned()),
                Just("9007199254740993".to_owned()),
                Just("1.50".to_owned()),
                Just(r#""\ud800""#.to_owned()),
                Just(r#""""#.to_owned()),
                "[a-z]{1,3}".prop_map(|text| format!("\"{text}\"")),
                Just(r##""#microsoft.graph.user""##.to_owned()),
            ];
            leaf.prop_recursive(3, 24, 5, |inner| {
                let name = prop_oneof![
                    Just("id"),
                    Just("@odata.type"),
                    Just("@removed"),
                    Just("members"),
                    Just("members@delta"),
                    Just("owners@delta"),
                    Just("groupTypes"),
                    Just("x"),
                ];
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(","))),
                    prop::collection::vec((name, inner), 0..6).prop_map(|all| {
                        let members: Vec<_> = all.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                        format!("{{{}}}", members.join(","))
                    }),
                ]
            })
        }

        proptest! {
            #[test]
            fn is_an_object_a_removal_or_kept_as_received(source in value(), feed in any::<bool>()) {
                let rules = rules();
                let collection = find("group").unwrap();
                let sifter = Sifter { collection, rules: &rules, feed, kind: None, incomplete: vec![], facet: None };
                let json = parse(source.as_bytes()).unwrap();
                let mut out = Vec::new();
                let key = sifter.sift(json.clone(), &mut out);
                for sighting in &out {
                    let from = match sighting {
                        Sighting::Object { key, content, .. } => {
                            if let Content::Raw(bytes) = content {
                                prop_assert_eq!(bytes, source.as_bytes());
                            }
                            key
                        }
                        Sighting::Gone { key } | Sighting::Link { source: key, .. } => key,
                        other => panic!("{other:?}"),
                    };
                    prop_assert_eq!(from.as_str().parse::<Key>(), Ok(from.clone()));
                    prop_assert!(key.as_ref().is_none_or(|key| key == from));
                }
                let removal = feed && json.get("@removed").is_some_and(|removed| !removed.is_null());
                let objects = out.iter().filter(|seen| matches!(seen, Sighting::Object { .. })).count();
                prop_assert_eq!(objects, usize::from(!removal));
            }
        }
    }
}
