//! What a difference comes to, in JSON: who gained or lost which access, and how; whom policies stopped or began to cover.
//!
//! Must never know: how effects are found, and where rows go.

use super::json;
use crate::query::{Archive, Effects, Instant, QueryError};

/// A row for each effect: who, what, how.
///
/// # Errors
/// The archive's, where a name can't be read.
pub fn rows(archive: &Archive, to: &Instant, effects: &Effects) -> Result<Vec<String>, QueryError> {
    let mut lines = Vec::new();
    for effect in &effects.access {
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
            .optional_text("name", archive.label_of_key(&effect.access.subject, to.capture.seq)?.as_deref())
            .text("power", power.kind)
            .text("target", &power.target)
            .optional_text("target_name", power.name.as_deref())
            .optional_text("scope", power.scope.as_deref())
            .text("form", &power.form)
            .raw("path", &json::array(path));
        lines.push(row.text("certainty", effect.access.certainty.as_str()).end());
    }
    for account in &effects.accounts {
        let name = archive.label_of_key(&account.key, to.capture.seq)?;
        let row = json::Object::new().text("effect", account.turned).text("subject", &account.key);
        lines.push(row.optional_text("name", name.as_deref()).text("power", "account").end());
    }
    if effects.first_seen > 0 {
        lines.push(json::Object::new().text("effect", "first seen").number("count", effects.first_seen as u64).end());
    }
    policies(archive, to, effects, &mut lines)?;
    Ok(lines)
}

/// Whom policies stopped or began to cover: a row for each policy with its counts, and one for each who is named.
fn policies(archive: &Archive, to: &Instant, effects: &Effects, lines: &mut Vec<String>) -> Result<(), QueryError> {
    for count in &effects.policies.counts {
        let name = archive.label_of_key(&count.policy, to.capture.seq)?;
        let row = json::Object::new().text("effect", "coverage").text("policy", &count.policy);
        let row = row.optional_text("policy_name", name.as_deref());
        let row = row.number("began", count.began as u64).number("stopped", count.stopped as u64);
        lines.push(row.number("unclear", count.unclear as u64).end());
    }
    for effect in &effects.policies.named {
        let name = archive.label_of_key(&effect.subject, to.capture.seq)?;
        let by = json::array(effect.by.iter().map(|key| json::quoted(key.as_str())));
        let row = json::Object::new().text("effect", if effect.began { "covered" } else { "not covered" });
        let row = row.text("policy", &effect.policy).text("subject", &effect.subject);
        lines.push(row.optional_text("name", name.as_deref()).text("after", &effect.after).raw("by", &by).end());
    }
    Ok(())
}
