//! The description of the interface as OpenAPI 3.1 has it, made from the table of operations.
//!
//! Must never know: how an operation is answered.

use serde_json::{Map, Value, json};

use super::operations::{Form, Kind, OPERATIONS, Operation, Parameter, Place, ROOT};
use super::problem::MEDIA_TYPE;
use crate::model::COLLECTIONS;

/// The whole document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        paths.insert(format!("{ROOT}{}", operation.path), json!({ "get": described(operation) }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tenure",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Questions to a long-retention archive of Microsoft Entra ID",
            "description": "Members may be added to any object; a program ignores those that it doesn't know. Times are RFC 3339, \
                            a date, a span back from now (\"3 days ago\"), a capture (#123, in an address %23123) or now.",
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "An access token of Entra whose roles allow the operation; on the machine itself, where nobody \
                                configured otherwise, the token in a file of the service.",
            } },
            "schemas": schemas(),
            "responses": responses(),
        },
    })
}

fn described(operation: &Operation) -> Value {
    let mut parameters = Vec::new();
    if operation.path.contains("{tenant}") {
        parameters.push(json!({
            "name": "tenant", "in": "path", "required": true,
            "description": "A tenant that this service answers for, as /api/v1/tenants has it",
            "schema": { "type": "string", "minLength": 1, "maxLength": 256 }, "example": "contoso.example",
        }));
    }
    parameters.extend(operation.parameters.iter().map(parameter));
    let roles: Vec<&str> = operation.roles.iter().map(|role| role.as_str()).collect();
    let mut responses = Map::new();
    responses.insert("200".to_owned(), answered(operation.form));
    let mut refer = |status: &str, name: &str| {
        responses.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{name}") }));
    };
    if has_tag(operation) {
        refer("304", "Unmodified");
    }
    for (status, name) in STATUSES {
        refer(status, name);
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "description": format!("{} Roles: {}.", operation.description, roles.join(", ")),
        "x-roles": roles,
        "parameters": parameters,
        "responses": responses,
    });
    if operation.is_open {
        described["x-further-parameters"] = "those of the question, as /questions describes them".into();
    }
    described
}

fn has_tag(operation: &Operation) -> bool {
    use super::operations::Name;
    matches!(operation.name, Name::Show | Name::History | Name::Search | Name::Dump | Name::Diff | Name::Ask)
}

fn parameter(row: &Parameter) -> Value {
    let example: Value = match row.kind {
        Kind::Number(..) => row.example.parse::<u64>().map_or(Value::Null, Value::from),
        Kind::Flag => (row.example == "true").into(),
        _ => row.example.into(),
    };
    json!({
        "name": row.name,
        "in": if row.place == Place::Path { "path" } else { "query" },
        "required": row.place != Place::Optional,
        "description": row.description,
        "schema": schema_of(row.kind),
        "example": example,
    })
}

fn schema_of(kind: Kind) -> Value {
    match kind {
        Kind::Text(most) => json!({ "type": "string", "minLength": 1, "maxLength": most }),
        Kind::Time => json!({ "type": "string", "minLength": 1, "maxLength": 512 }),
        Kind::Capture => json!({ "type": "string", "pattern": "^#?[0-9]{1,9}$" }),
        Kind::Collection => {
            json!({ "type": "string", "enum": COLLECTIONS.iter().map(|collection| collection.name).collect::<Vec<_>>() })
        }
        Kind::Number(least, most, default) => {
            json!({ "type": "integer", "minimum": least, "maximum": most, "default": default })
        }
        Kind::Flag => json!({ "type": "boolean", "default": false }),
        Kind::Word(words) => json!({ "type": "string", "enum": words }),
        Kind::Cursor => json!({ "type": "string", "maxLength": 512 }),
    }
}

fn answered(form: Form) -> Value {
    let refer = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let (description, media_type, schema) = match form {
        Form::Object(name) => ("The answer", "application/json", refer(name)),
        Form::Page(name) => {
            let page = json!({
                "type": "object",
                "required": ["items", "next", "incomplete"],
                "properties": {
                    "items": { "type": "array", "items": refer(name) },
                    "next": { "type": ["string", "null"], "description": "The cursor of the next page; null on the last" },
                    "incomplete": {
                        "type": "boolean",
                        "description": "Whether something that was asked about wasn't seen: then nothing follows from a row \
                                        that isn't there",
                    },
                    "basis": refer("Basis"),
                },
            });
            ("A page of the answer", "application/json", page)
        }
        Form::Lines(name) => {
            let text = "JSON values, a line each; the last is {\"end\":{\"rows\",\"basis\",\"incomplete\"}}, and an answer \
                        without it isn't whole";
            return json!({
                "description": text,
                "headers": headers(),
                "content": { "application/x-ndjson": { "schema": {
                    "type": "string",
                    "description": format!("Each line is of #/components/schemas/{name}, the last of #/components/schemas/End"),
                } } },
            });
        }
    };
    json!({ "description": description, "headers": headers(), "content": { media_type: { "schema": schema } } })
}

fn headers() -> Value {
    json!({ "ETag": {
        "description": "Of answers that rest on the archive alone: as long as it is the same, so is the answer",
        "schema": { "type": "string" },
    } })
}

/// Statuses that every operation may answer with.
const STATUSES: &[(&str, &str)] = &[
    ("400", "Usage"),
    ("401", "Unauthenticated"),
    ("403", "Forbidden"),
    ("404", "NotFound"),
    ("405", "Method"),
    ("409", "Ambiguous"),
    ("410", "Expired"),
    ("421", "Misdirected"),
    ("429", "Busy"),
    ("500", "Failed"),
    ("503", "Unavailable"),
];

fn responses() -> Value {
    let problem = |description: &str| {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        json!({ "description": description, "content": { MEDIA_TYPE: { "schema": schema } } })
    };
    json!({
        "Unmodified": { "description": "The client has this answer already, by its If-None-Match. It is recorded all the same" },
        "Usage": problem("It can't be asked so"),
        "Unauthenticated": problem("A valid token is needed"),
        "Forbidden": problem("The caller's roles don't allow that"),
        "NotFound": problem("No such tenant, object, capture or question, or none then"),
        "Method": problem("Everything is asked with GET, or HEAD"),
        "Ambiguous": problem("The name means several objects; the hints name them"),
        "Expired": problem("The content of that time ended after its retention"),
        "Misdirected": problem("The request names another host than this machine, on which alone the service listens"),
        "Busy": problem("Too many questions at once"),
        "Failed": problem("The archive isn't what was committed, or something else is wrong in the service"),
        "Unavailable": problem("The archive can't be read at present, or the question takes longer than it may"),
    })
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

/// A capture, or null where there is none.
fn capture() -> Value {
    json!({ "type": ["object", "null"], "required": ["seq", "time"], "properties": {
        "seq": { "type": "integer" }, "time": { "type": "string", "format": "date-time" },
    } })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn schemas() -> Value {
    let text = || json!({ "type": "string" });
    let maybe = || json!({ "type": ["string", "null"] });
    let number = || json!({ "type": "integer" });
    let flag = || json!({ "type": "boolean" });
    let time = || json!({ "type": "string", "format": "date-time" });
    let any = || json!({ "description": "Archived JSON, as it was kept" });
    let gap = object(
        &["c", "st"],
        json!({ "c": text(), "r": text(), "f": text(), "st": maybe(), "code": text(), "oldest": number() }),
    );
    let link = |end: &str| {
        object(&["rel", end, "since"], json!({ "rel": text(), end: text(), "since": number(), "p": any() }))
    };
    let properties = list(object(
        &["path", "before", "after"],
        json!({ "path": text(), "before": any(), "after": any(), "added": list(any()), "removed": list(any()) }),
    ));
    let links = list(object(
        &["rel", "added", "removed"],
        json!({ "rel": text(), "added": list(text()), "removed": list(text()), "p": any(), "changed": list(any()) }),
    ));
    let basis = object(
        &["seq", "time", "asked", "complete", "gaps"],
        json!({ "seq": number(), "time": time(), "asked": maybe(), "complete": flag(), "gaps": list(gap) }),
    );
    let shown = object(
        &["key", "at", "seq", "certainty", "since", "links", "incoming", "basis", "incomplete"],
        json!({
            "key": text(), "at": time(), "seq": number(), "certainty": { "enum": ["observed", "changed-in-gap", "unknown"] },
            "since": capture(), "read_since": number(), "content": any(), "links": list(link("target")),
            "incoming": list(link("source")), "basis": { "$ref": "#/components/schemas/Basis" }, "incomplete": flag(),
        }),
    );
    let revision = object(
        &["key", "seq", "time", "change", "after", "until", "properties", "links", "by", "attributed"],
        json!({
            "key": text(), "seq": number(), "time": time(), "change": { "enum": ["added", "removed", "changed"] },
            "after": capture(), "until": capture(), "properties": properties.clone(), "links": links.clone(),
            "by": list(object(
                &["time", "actor", "name", "activity", "event"],
                json!({ "time": time(), "actor": maybe(), "name": maybe(), "activity": text(), "event": text() }),
            )),
            "attributed": { "enum": ["log", "silent", "unread", null] },
        }),
    );
    let found = object(
        &["key", "label", "matched", "present", "last"],
        json!({ "key": text(), "label": maybe(), "matched": list(text()), "present": flag(), "last": number() }),
    );
    let word = |words: &[&str]| json!({ "enum": words });
    let difference = json!({ "oneOf": [
        object(
            &["key", "change", "properties", "links"],
            json!({ "key": text(), "change": text(), "properties": properties, "links": links }),
        ),
        object(
            &["effect", "subject", "name", "power", "target", "target_name", "scope", "form", "path", "certainty"],
            json!({
                "effect": word(&["gained", "lost"]), "subject": text(), "name": maybe(), "power": text(), "target": text(),
                "target_name": maybe(), "scope": maybe(), "form": text(), "path": list(any()), "certainty": text(),
            }),
        ),
        object(
            &["effect", "subject", "name", "power"],
            json!({
                "effect": word(&["created", "deleted", "disabled", "enabled"]), "subject": text(), "name": maybe(),
                "power": word(&["account"]),
            }),
        ),
        object(&["effect", "count"], json!({ "effect": word(&["first seen"]), "count": number() })),
        object(
            &["effect", "policy", "policy_name", "began", "stopped", "unclear"],
            json!({
                "effect": word(&["coverage"]), "policy": text(), "policy_name": maybe(), "began": number(), "stopped": number(),
                "unclear": number(),
            }),
        ),
        object(
            &["effect", "policy", "subject", "name", "after", "by"],
            json!({
                "effect": word(&["covered", "not covered"]), "policy": text(), "subject": text(), "name": maybe(),
                "after": text(), "by": list(text()),
            }),
        ),
    ] });
    let question = object(
        &["number", "name", "title", "description", "version", "about", "parameters", "needs", "missing"],
        json!({
            "number": number(), "name": text(), "title": text(), "description": text(), "version": number(),
            "about": { "enum": ["instant", "period"] }, "parameters": list(object(&["name", "kind", "required"], json!({}))),
            "needs": list(text()), "missing": maybe(),
        }),
    );
    let product = object(
        &[
            "id",
            "question",
            "parameters",
            "known_at",
            "basis",
            "certainty",
            "rows",
            "totals",
            "hash",
            "incomplete",
            "asked",
        ],
        json!({
            "id": text(), "question": { "type": "object" }, "parameters": { "type": "object" }, "known_at": number(),
            "basis": { "type": "object" }, "certainty": text(), "columns": list(text()), "rows": list(json!({ "type": "object" })),
            "totals": { "type": "object" }, "notes": list(text()), "hash": text(), "incomplete": flag(),
            "asked": { "type": "object" },
        }),
    );
    json!({
        "Problem": object(
            &["type", "title", "status", "kind", "detail", "hints"],
            json!({ "type": text(), "title": text(), "status": number(), "kind": text(), "detail": text(), "hints": list(text()) }),
        ),
        "Tenants": object(&["items", "next"], json!({ "items": list(object(&["tenant"], json!({ "tenant": text() }))), "next": maybe() })),
        "Status": object(
            &["entries", "last_entry", "last_capture", "running", "service", "storage"],
            json!({
                "entries": number(), "last_entry": { "type": "object" }, "last_capture": { "type": ["object", "null"] },
                "running": flag(), "service": { "type": "object" }, "storage": { "type": ["object", "null"] },
            }),
        ),
        "Entry": object(&["seq", "kind", "committed"], json!({ "seq": number(), "kind": text(), "committed": time() })),
        "Coverage": json!({ "oneOf": [
            object(
                &["collection", "since", "last", "status", "holes"],
                json!({
                    "collection": text(), "relation": maybe(), "facet": maybe(), "property": maybe(), "since": capture(),
                    "last": capture(), "status": text(), "code": maybe(), "needs": maybe(), "holes": list(json!({ "type": "object" })),
                }),
            ),
            object(&["outage"], json!({ "outage": { "type": "object" } })),
        ] }),
        "Verification": object(
            &["enabled", "every_byte_since", "step_at", "findings", "findings_ever", "alarms"],
            json!({
                "enabled": flag(), "every_byte_since": maybe(), "step_at": maybe(), "findings": { "type": ["integer", "null"] },
                "findings_ever": number(), "alarms": list(json!({ "type": "object" })),
            }),
        ),
        "Object": shown,
        "Revision": revision,
        "Found": found,
        "Line": object(&["k"], json!({ "k": text() })),
        "Difference": difference,
        "End": object(&["end"], json!({ "end": object(
            &["rows", "basis", "incomplete"],
            json!({ "rows": number(), "basis": list(json!({ "$ref": "#/components/schemas/Basis" })), "incomplete": flag() }),
        ) })),
        "Question": question,
        "Product": product,
        "Use": object(&["seq", "record"], json!({ "seq": { "type": ["integer", "null"] }, "record": { "type": "object" } })),
        "Basis": basis,
    })
}
