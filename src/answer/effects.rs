//! What a difference comes to, in JSON: who gained or lost which access, and how; whom policies stopped or began to cover.
//!
//! Must never know: how effects are found, and where rows go.

use super::json;
use crate::canonical::Key;
use crate::query::{Archive, Effect, Effects, Instant, QueryError};

/// A row for each effect: who, what, how. A month has hundreds of thousands, so each is written when it is asked for.
///
/// # Errors
/// Of a row: the archive's, where a name can't be read.
pub fn rows<'a>(
    archive: &'a Archive,
    to: &'a Instant,
    effects: &'a Effects,
) -> impl Iterator<Item = Result<String, QueryError>> + 'a {
    let name = move |key: &Key| archive.label_of_key(key, to.capture.seq);
    let access = effects.access.iter().map(move |effect| Ok(access(effect, name(&effect.access.subject)?)));
    let accounts = effects.accounts.iter().map(move |account| {
        let row = json::Object::new().text("effect", account.turned).text("subject", &account.key);
        Ok(row.optional_text("name", name(&account.key)?.as_deref()).text("power", "account").end())
    });
    let first_seen = (effects.first_seen > 0)
        .then(|| Ok(json::Object::new().text("effect", "first seen").number("count", effects.first_seen as u64).end()));
    let counts = effects.policies.counts.iter().map(move |count| {
        let row = json::Object::new().text("effect", "coverage").text("policy", &count.policy);
        let row = row.optional_text("policy_name", name(&count.policy)?.as_deref());
        let row = row.number("began", count.began as u64).number("stopped", count.stopped as u64);
        Ok(row.number("unclear", count.unclear as u64).end())
    });
    let named = effects.policies.named.iter().map(move |effect| {
        let by = json::array(effect.by.iter().map(|key| json::quoted(key.as_str())));
        let row = json::Object::new().text("effect", if effect.began { "covered" } else { "not covered" });
        let row = row.text("policy", &effect.policy).text("subject", &effect.subject);
        let row = row.optional_text("name", name(&effect.subject)?.as_deref());
        Ok(row.text("after", &effect.after).raw("by", &by).end())
    });
    access.chain(accounts).chain(first_seen).chain(counts).chain(named)
}

fn access(effect: &Effect, name: Option<String>) -> String {
    let power = &effect.words;
    let path = effect.access.path.iter().map(|step| {
        let row = json::Object::new().text("kind", step.kind.as_str()).text("from", &step.from);
        row.optional_text("to", step.to.as_ref().map(|key| key.as_str()))
            .raw("by", &json::array(step.by.iter().map(|key| json::quoted(key.as_str()))))
            .number("since", step.held.from)
            .end()
    });
    let row = json::Object::new()
        .text("effect", effect.turned.as_str())
        .text("subject", &effect.access.subject)
        .optional_text("name", name.as_deref())
        .text("power", power.kind)
        .text("target", &power.target)
        .optional_text("target_name", power.name.as_deref())
        .optional_text("scope", power.scope.as_deref())
        .text("form", &power.form)
        .raw("path", &json::array(path));
    row.text("certainty", effect.access.certainty.as_str()).end()
}
