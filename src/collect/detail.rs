//! Parts of objects that have an address of their own: asked for, and put into the object they belong to.
//!
//! Must never know: which collection it is, beyond its recipe.

use std::collections::BTreeMap;

use super::outcome::{code_of, is_lasting};
use super::recipe::{Detail, Form, Recipe, When};
use super::sighting::{Content, Sighting};
use crate::canonical::{Json, Key, Rules, Text, Value, canonicalize, parse};
use crate::graph::{Error, Page, Reader, Receipt, Request, Response, escape};

/// What came of the details of a page.
#[derive(Debug, Default)]
pub(super) struct Completed {
    /// The accounts of the answers.
    pub receipts: Vec<Receipt>,
    /// Properties that the tenant refuses to show.
    pub refused: Vec<&'static str>,
    /// What kept any other from being read.
    pub error: Option<Error>,
}

/// One request for a detail.
struct Wanted {
    /// The place of the object among the sightings.
    object: usize,
    detail: &'static Detail,
    /// The place of the element, for [`Form::Elements`].
    element: usize,
    path: String,
}

/// Asks for the details of every object among `sightings` and puts them in. An object that lacks one afterwards is
/// partial: what was known of it stands.
pub(super) async fn complete(
    recipe: &'static Recipe,
    reader: &Reader,
    rules: &Rules,
    sightings: &mut [Sighting],
) -> Completed {
    let mut completed = Completed::default();
    let wanted: Vec<Wanted> = sightings
        .iter()
        .enumerate()
        .filter_map(|(place, sighting)| match sighting {
            Sighting::Object { key, content: Content::Canonical(bytes), .. } if key.facet_name().is_none() => {
                Some((place, key, bytes))
            }
            _ => None,
        })
        .flat_map(|(place, key, bytes)| wanted_of(recipe, place, key, bytes))
        .collect();
    let mut found: BTreeMap<usize, Vec<(Wanted, Vec<u8>)>> = BTreeMap::new();
    for (wanted, answer) in answers(recipe, reader, wanted, &mut completed.receipts).await {
        match answer {
            Ok(bytes) => found.entry(wanted.object).or_default().push((wanted, bytes)),
            // There is none.
            Err(Error::NotFound { .. }) => {}
            Err(error) => {
                if let Sighting::Object { partial, .. } = &mut sightings[wanted.object] {
                    *partial = true;
                }
                match is_lasting(code_of(&error)) {
                    true => completed.refused.push(wanted.detail.property),
                    false => {
                        completed.error.get_or_insert(error);
                    }
                }
            }
        }
    }
    for (place, details) in found {
        let Sighting::Object { content: Content::Canonical(bytes), partial, .. } = &mut sightings[place] else {
            continue;
        };
        match put_in(bytes, &details, rules) {
            Some(whole) => *bytes = whole,
            None => *partial = true,
        }
    }
    completed
}

fn wanted_of(recipe: &'static Recipe, object: usize, key: &Key, bytes: &[u8]) -> Vec<Wanted> {
    let Ok(content) = parse(bytes) else { return Vec::new() };
    let mut wanted = Vec::new();
    for detail in recipe.details {
        let shown = content.get(detail.property);
        let is_due = match detail.when {
            When::Always => true,
            When::Unshown => shown.is_none_or(Json::is_null),
            When::Is(property, value) => content.text(property) == Some(value),
        };
        let path = |id: &str| detail.path.replace("{id}", &escape(id));
        match detail.form {
            _ if !is_due => {}
            Form::Elements => {
                let elements = shown.and_then(Json::elements).unwrap_or_default();
                wanted.extend(elements.iter().enumerate().filter_map(|(element, value)| {
                    Some(Wanted { object, detail, element, path: path(value.text("id")?) })
                }));
            }
            // A singleton's own address has no id in it.
            _ => wanted.push(Wanted { object, detail, element: 0, path: path(&key.decoded_id()) }),
        }
    }
    wanted
}

/// What was found at each address: the bytes of a JSON value.
async fn answers(
    recipe: &Recipe,
    reader: &Reader,
    wanted: Vec<Wanted>,
    receipts: &mut Vec<Receipt>,
) -> Vec<(Wanted, Result<Vec<u8>, Error>)> {
    let request =
        |wanted: &Wanted| Request::new(wanted.path.as_str()).permission(recipe.permission).bucket(recipe.bucket);
    let (lists, documents): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|one| one.detail.form == Form::List);
    let requests: Vec<Request> = documents.iter().map(request).collect();
    let read = reader.batch(&requests, |_, _, json| Ok(json.source.to_vec())).await;
    let mut answers = Vec::with_capacity(lists.len() + documents.len());
    for (wanted, read) in documents.into_iter().zip(read) {
        let answer = read.map(|(response, bytes)| {
            receipts.push(response.receipt(1, Vec::new()));
            bytes
        });
        answers.push((wanted, answer));
    }
    let requests: Vec<Request> = lists.iter().map(request).collect();
    let first = reader.first_pages(&requests, |_, response, page| {
        let mut array = Vec::new();
        take_page(response, page, &mut array, receipts);
        array
    });
    let first = first.await;
    for (wanted, first) in lists.into_iter().zip(first) {
        let answer = match first {
            Ok((mut array, mut pages)) => loop {
                match pages.next(|response, page| take_page(response, page, &mut array, receipts)).await {
                    Ok(Some(())) => {}
                    Ok(None) => break Ok([&b"["[..], &array, b"]"].concat()),
                    Err(error) => break Err(error),
                }
            },
            Err(error) => Err(error),
        };
        answers.push((wanted, answer));
    }
    answers
}

/// Adds the elements of a page, each after a comma where it isn't the first.
fn take_page(response: &Response, page: Page<'_>, array: &mut Vec<u8>, receipts: &mut Vec<Receipt>) {
    receipts.push(response.receipt(page.items.len() as u64, Vec::new()));
    for item in page.items {
        if !array.is_empty() {
            array.push(b',');
        }
        array.extend_from_slice(item.source);
    }
}

/// The object with its details; `None` where the two together have no canonical form.
fn put_in(bytes: &[u8], details: &[(Wanted, Vec<u8>)], rules: &Rules) -> Option<Vec<u8>> {
    let mut content = parse(bytes).ok()?;
    for (wanted, detail) in details {
        let value = parse(detail).ok()?;
        let property = wanted.detail.property;
        match wanted.detail.form {
            Form::List | Form::Object => {
                content.take(property);
                let Value::Object(members) = &mut content.value else { return None };
                members.push((Text::from(property), value));
            }
            Form::Elements => {
                let Value::Object(members) = &mut content.value else { return None };
                let (_, array) = members.iter_mut().find(|(name, _)| name.as_str() == Some(property))?;
                let Value::Array(elements) = &mut array.value else { return None };
                let place = elements.get_mut(wanted.element)?;
                // The service names the same thing, or it isn't the same thing.
                if place.text("id").map(str::to_lowercase) == value.text("id").map(str::to_lowercase) {
                    *place = value;
                }
            }
        }
    }
    canonicalize(&content, rules).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::{COLLECTIONS, find as recipe};
    use crate::model;

    #[test]
    fn what_is_asked_for_follows_from_what_was_shown() {
        let check = |collection: &str, key: &str, content: &str, expected: &[&str]| {
            let key: Key = key.parse().unwrap();
            let wanted = wanted_of(recipe(collection).unwrap(), 0, &key, content.as_bytes());
            assert_eq!(wanted.iter().map(|wanted| wanted.path.as_str()).collect::<Vec<_>>(), expected, "{content}");
        };
        check("domain", "domain/a.example", r#"{"authenticationType":"Managed","id":"a.example"}"#, &[]);
        check(
            "domain",
            "domain/a.example",
            r#"{"authenticationType":"Federated","id":"a.example"}"#,
            &["/v1.0/domains/a.example/federationConfiguration"],
        );
        check("permissionGrantPolicy", "permissionGrantPolicy/p", r#"{"excludes":[],"id":"p","includes":[]}"#, &[]);
        check(
            "authenticationMethodsPolicy",
            "authenticationMethodsPolicy/-",
            r#"{"authenticationMethodConfigurations":[{"id":"Fido2"},{"id":"a/b"}]}"#,
            &[
                "/v1.0/policies/authenticationMethodsPolicy/authenticationMethodConfigurations/Fido2",
                "/v1.0/policies/authenticationMethodsPolicy/authenticationMethodConfigurations/a%2Fb",
            ],
        );
    }

    #[test]
    fn details_are_put_in_their_place_in_canonical_form() {
        let put = |collection: &str, content: &str, details: &[&str]| {
            let key = Key::new(collection, "p");
            let wanted = wanted_of(recipe(collection).unwrap(), 0, &key, content.as_bytes());
            let details: Vec<_> = wanted.into_iter().zip(details.iter().map(|text| text.as_bytes().to_vec())).collect();
            put_in(content.as_bytes(), &details, &model::rules()).map(|bytes| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(
            put("unifiedRoleManagementPolicy", r#"{"id":"p"}"#, &[r#"[{"id":"b"},{"id":"a","@odata.context":"x"}]"#])
                .unwrap(),
            r#"{"id":"p","rules":[{"id":"a"},{"id":"b"}]}"#
        );
        assert_eq!(
            put(
                "authenticationMethodsPolicy",
                r#"{"authenticationMethodConfigurations":[{"id":"B"},{"id":"A"}]}"#,
                &[r#"{"id":"b","state":"enabled"}"#, r#"{"id":"x"}"#]
            )
            .unwrap(),
            r#"{"authenticationMethodConfigurations":[{"id":"A"},{"id":"b","state":"enabled"}]}"#
        );
        assert_eq!(put("unifiedRoleManagementPolicy", r#"{"id":"p"}"#, &[r#"[{"id":1,"id":2}]"#]), None);
    }

    #[test]
    fn every_detail_has_an_address_below_its_collection() {
        for detail in COLLECTIONS.iter().flat_map(|recipe| recipe.details) {
            assert!(detail.path.contains("{id}"), "{}", detail.path);
        }
    }
}
