//! The named questions in JSON.
//!
//! Must never know: how any of them is answered, and where rows go.

use serde_json::{Map, Value, json};

use crate::query::questions::{Ability, Parameter, ParameterKind, Question, Span};

/// A question as JSON: what a program needs to ask it.
pub fn described(question: &Question) -> Map<String, Value> {
    let parameter = |parameter: &Parameter| {
        json!({
            "name": parameter.name,
            "kind": kind(parameter.kind),
            "required": parameter.default.is_none(),
            "default": parameter.default.filter(|text| !text.is_empty()),
            "description": parameter.description,
        })
    };
    let missing = match question.ability {
        Ability::Answered(_) => Value::Null,
        Ability::Missing(missing) => missing.into(),
    };
    let about = match question.span {
        Span::Instant => "instant",
        Span::Period => "period",
    };
    let json = json!({
        "number": question.number,
        "name": question.name,
        "title": question.title,
        "description": question.description,
        "version": question.version,
        "about": about,
        "parameters": question.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "needs": question.needs,
        "missing": missing,
    });
    json.as_object().cloned().unwrap_or_default()
}

/// What a parameter holds, in words.
pub fn kind(kind: ParameterKind) -> String {
    match kind {
        ParameterKind::Object(collections) => format!("object: {}", collections.join(", ")),
        ParameterKind::Text => "text".to_owned(),
        ParameterKind::Number => "whole number".to_owned(),
        ParameterKind::Flag => "true or false".to_owned(),
        ParameterKind::Choice(words) => words.join(" | "),
    }
}
