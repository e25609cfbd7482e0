//! The table of operations: where each is asked, by whom, with which parameters. Routes, rights, the reading of parameters
//! and the published description are all made from it, so that none can disagree with another.
//!
//! Must never know: how an operation is answered.

use super::access::Role;
use super::access::Role::{Administrator, Auditor, Legal, Operator, Reader};

/// An operation, by which it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// The tenants that are served.
    Tenants,
    /// How the service is doing.
    Status,
    /// The entries of the log.
    Captures,
    /// Since when what is captured.
    Coverage,
    /// What verification found.
    Verification,
    /// An object as of a time.
    Show,
    /// Its revisions.
    History,
    /// Objects by a part of a name.
    Search,
    /// A whole state.
    Dump,
    /// What differs between two times.
    Diff,
    /// The named questions.
    Questions,
    /// One of them, asked.
    Ask,
    /// Who asked what.
    Audit,
}

/// What a parameter holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text of so many characters at most.
    Text(usize),
    /// A time expression.
    Time,
    /// The number of a capture.
    Capture,
    /// The name of a collection.
    Collection,
    /// A whole number from, to, and if none is given.
    Number(u64, u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Where a page begins: what the page before gave.
    Cursor,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path, and so always.
    Path,
    /// In the query, and has to.
    Required,
    /// In the query, if at all.
    Optional,
}

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Where it stands.
    pub place: Place,
    /// What it is for, in a sentence without full stop.
    pub description: &'static str,
    /// One that could be given.
    pub example: &'static str,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object, of the schema with that name.
    Object(&'static str),
    /// A page of rows of that schema.
    Page(&'static str),
    /// Rows of that schema, a line each, and an account of the whole as the last line.
    Lines(&'static str),
}

/// An operation.
#[derive(Debug)]
pub struct Operation {
    /// Which.
    pub name: Name,
    /// The word for it, in records, metrics and the description.
    pub id: &'static str,
    /// Its path below [`ROOT`].
    pub path: &'static str,
    /// Who may.
    pub roles: &'static [Role],
    /// A line about it.
    pub summary: &'static str,
    /// What there is to know.
    pub description: &'static str,
    /// Its parameters, the tenant's apart.
    pub parameters: &'static [Parameter],
    /// Whether further parameters may be given, whose names the table can't know.
    pub is_open: bool,
    /// What comes back.
    pub form: Form,
}

/// Where the interface begins.
pub const ROOT: &str = "/api/v1";

const EVERYBODY: &[Role] = &[Reader, Auditor, Legal, Operator, Administrator];
const CONTENT: &[Role] = &[Reader, Auditor, Legal, Administrator];
const BULK: &[Role] = &[Auditor, Legal, Administrator];
const SERVICE: &[Role] = &[Auditor, Legal, Operator, Administrator];
const SUPERVISION: &[Role] = &[Operator, Administrator];

const fn optional(name: &'static str, kind: Kind, description: &'static str, example: &'static str) -> Parameter {
    Parameter { name, kind, place: Place::Optional, description, example }
}

const AT: Parameter = optional("at", Kind::Time, "As of when; the newest capture if none is given", "2026-08-01");
const KNOWN_AT: Parameter =
    optional("known_at", Kind::Capture, "Answer as the archive knew when this capture was its newest", "123");
const COLLECTION: Parameter = optional("collection", Kind::Collection, "Objects of this collection only", "group");
const LIMIT: Parameter = optional("limit", Kind::Number(1, 1000, 100), "Rows of a page at most", "50");
const CURSOR: Parameter =
    optional("cursor", Kind::Cursor, "Where the page begins: `next` of the page before, and nothing else", "c1.0.MTIz");
const FROM: Parameter = optional("from", Kind::Time, "From this time on; of a date its beginning", "2026-08-01");
const TO: Parameter = optional("to", Kind::Time, "Until this time; of a date its end", "2026-08-31");
const OBJECT: Parameter = Parameter {
    name: "name",
    kind: Kind::Text(512),
    place: Place::Path,
    description: "Key (its slash as %2F), id, user principal name or display name. A key tells nothing to whoever logs addresses",
    example: "user/5f1b0a34-6d7e-4c1a-9f56-0d4f9a1c2b3e",
};

/// Every operation there is. What has no row here can't be asked.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: Name::Tenants,
        id: "tenants",
        path: "/tenants",
        roles: EVERYBODY,
        summary: "The tenants that this service answers for",
        description: "Their names, as they stand in the path of every other operation. A role counts for all of them.",
        parameters: &[],
        is_open: false,
        form: Form::Object("Tenants"),
    },
    Operation {
        name: Name::Status,
        id: "status",
        path: "/tenants/{tenant}/status",
        roles: SUPERVISION,
        summary: "The log's head, how the service is doing, what the storage enforces",
        description: "As `tenure status --json`. Alarms name objects by their keys, and hold nothing else of the directory.",
        parameters: &[],
        is_open: false,
        form: Form::Object("Status"),
    },
    Operation {
        name: Name::Captures,
        id: "captures",
        path: "/tenants/{tenant}/captures",
        roles: SERVICE,
        summary: "The entries of the log",
        description: "Entry bodies with exactly the bytes that were signed, as `tenure captures --json`. `damaged` names \
                      entries that are missing or changed.",
        parameters: &[
            FROM,
            TO,
            optional("order", Kind::Word(&["oldest", "newest"]), "Which come first; the oldest if not given", "newest"),
            LIMIT,
            CURSOR,
        ],
        is_open: false,
        form: Form::Page("Entry"),
    },
    Operation {
        name: Name::Coverage,
        id: "coverage",
        path: "/tenants/{tenant}/coverage",
        roles: SERVICE,
        summary: "Since when what has been captured, and where there are holes",
        description: "A row for each collection, relation, facet and property, and one for each time without any capture, \
                      as `tenure coverage --json`. After a start the service reads the log for the first answer; until it \
                      has, an answer may run out of time, and the next goes on from there.",
        parameters: &[COLLECTION, LIMIT, CURSOR],
        is_open: false,
        form: Form::Page("Coverage"),
    },
    Operation {
        name: Name::Verification,
        id: "verification",
        path: "/tenants/{tenant}/verification",
        roles: SERVICE,
        summary: "Since when every byte of the archive was read and checked",
        description: "What the service's rolling verification has come to, and which alarms of it hold.",
        parameters: &[],
        is_open: false,
        form: Form::Object("Verification"),
    },
    Operation {
        name: Name::Show,
        id: "show",
        path: "/tenants/{tenant}/objects/{name}",
        roles: CONTENT,
        summary: "An object and its links as of a time",
        description: "As `tenure show --json`. Archived content comes with exactly the bytes that were kept.",
        parameters: &[OBJECT, AT, KNOWN_AT],
        is_open: false,
        form: Form::Object("Object"),
    },
    Operation {
        name: Name::History,
        id: "history",
        path: "/tenants/{tenant}/objects/{name}/history",
        roles: CONTENT,
        summary: "Every revision of an object: what changed, between which captures, by whom if the audit log tells",
        description: "As `tenure history --json`, oldest first.",
        parameters: &[OBJECT, KNOWN_AT, LIMIT, CURSOR],
        is_open: false,
        form: Form::Page("Revision"),
    },
    Operation {
        name: Name::Search,
        id: "search",
        path: "/tenants/{tenant}/search",
        roles: CONTENT,
        summary: "Objects by a part of a name, present or past",
        description: "As `tenure search --json`, by key.",
        parameters: &[
            Parameter {
                name: "text",
                kind: Kind::Text(256),
                place: Place::Required,
                description: "Part of a display name, user principal name, mail address or application id",
                example: "sales",
            },
            AT,
            COLLECTION,
            KNOWN_AT,
            LIMIT,
            CURSOR,
        ],
        is_open: false,
        form: Form::Page("Found"),
    },
    Operation {
        name: Name::Dump,
        id: "dump",
        path: "/tenants/{tenant}/dump",
        roles: BULK,
        summary: "The whole state as of a time",
        description: "Lines of a base pack (docs/format.md, section 4), by key, as `tenure dump`.",
        parameters: &[AT, COLLECTION, KNOWN_AT],
        is_open: false,
        form: Form::Lines("Line"),
    },
    Operation {
        name: Name::Diff,
        id: "diff",
        path: "/tenants/{tenant}/diff",
        roles: CONTENT,
        summary: "What changed between two times, and on demand what that comes to for access",
        description: "As `tenure diff --json`, by key; with `effect`, then who gained and lost what.",
        parameters: &[
            Parameter {
                name: "from",
                kind: Kind::Time,
                place: Place::Required,
                description: "From when; of a date its beginning",
                example: "2026-08-01",
            },
            optional(
                "to",
                Kind::Time,
                "Until when; of a date its end; the newest capture if none is given",
                "2026-08-31",
            ),
            COLLECTION,
            optional("object", Kind::Text(512), "This object only: key, id or name", "Sales"),
            optional("effect", Kind::Flag, "Whether to tell who gained and lost what", "true"),
            KNOWN_AT,
        ],
        is_open: false,
        form: Form::Lines("Difference"),
    },
    Operation {
        name: Name::Questions,
        id: "questions",
        path: "/tenants/{tenant}/questions",
        roles: CONTENT,
        summary: "The named questions, with their parameters",
        description: "As `tenure ask --list --json`: also those that can't be answered yet, with what is missing.",
        parameters: &[],
        is_open: false,
        form: Form::Page("Question"),
    },
    Operation {
        name: Name::Ask,
        id: "ask",
        path: "/tenants/{tenant}/questions/{question}",
        roles: CONTENT,
        summary: "Asks a named question",
        description: "As `tenure ask --json`: rows, totals, what they rest on, and a hash that is the same whenever the same \
                      is asked of the same archive. The question's own parameters are given beside those listed here.",
        parameters: &[
            Parameter {
                name: "question",
                kind: Kind::Text(64),
                place: Place::Path,
                description: "The question, by name or number",
                example: "role-holders",
            },
            AT,
            FROM,
            TO,
            KNOWN_AT,
        ],
        is_open: true,
        form: Form::Object("Product"),
    },
    Operation {
        name: Name::Audit,
        id: "audit",
        path: "/tenants/{tenant}/audit",
        roles: BULK,
        summary: "Who asked what, was answered, or was refused",
        description: "The own-use log, as `tenure audit --json`, oldest first; what waits to be committed comes last, with \
                      `seq` null. Requests to this interface are in it, this one too once it is answered.",
        parameters: &[
            FROM,
            TO,
            optional(
                "who",
                Kind::Text(256),
                "Uses by whom this is a name, a number, an object id or a role of",
                "Reader",
            ),
            optional("operation", Kind::Text(64), "Uses of this kind; `denials` for counts of strangers", "show"),
            LIMIT,
            CURSOR,
        ],
        is_open: false,
        form: Form::Page("Use"),
    },
];
