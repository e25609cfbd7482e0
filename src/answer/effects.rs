//! What a difference comes to for access, in JSON: who gained or lost what, and how.
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
        let power = archive.power_words(&effect.access.power, to.capture.seq)?;
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
            .text("target", power.target)
            .optional_text("target_name", power.name.as_deref())
            .optional_text("scope", power.scope.as_deref())
            .text("form", power.form)
            .raw("path", &json::array(path));
        lines.push(row.text("certainty", effect.access.certainty.as_str()).end());
    }
    for account in &effects.accounts {
        let name = archive.label_of_key(&account.key, to.capture.seq)?;
        let row = json::Object::new().text("effect", account.turned).text("subject", &account.key);
        lines.push(row.optional_text("name", name.as_deref()).text("power", "account").end());
    }
    Ok(lines)
}
