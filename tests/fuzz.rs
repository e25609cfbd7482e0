//! Whatever bytes a server sends: the wire parser, the envelope of a page, the canonical form, and what is shown of
//! addresses, under random documents and random damage.
//!
//! `cargo test` runs this for two seconds with a seed of its own, which a failure prints. To run it again with that seed, or
//! for longer, nothing but stable Rust is needed:
//!
//! ```sh
//! TENURE_FUZZ_SEED=123 cargo test --test fuzz
//! TENURE_FUZZ_SECONDS=3600 cargo test --release --test fuzz -- --ignored --nocapture
//! PROPTEST_CASES=1000000 cargo test --release --lib graph::        # the envelope of a batch, and other inner parts
//! ```
//!
//! A failure prints the input as a Rust byte string, which belongs into [`CORPUS`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tenure::canonical::{self, Json, Rules, Value, canonicalize, is_canonical, parse};
use tenure::graph::{Page, cut_tokens, escape};
use tenure::model;

/// What damage begins with: shapes of Graph's answers, and inputs that once broke something.
const CORPUS: &[&[u8]] = &[
    br##"{"@odata.context":"c","@odata.nextLink":"https://h/v1.0/users?$skiptoken=A","value":[{"@odata.type":"#x","id":"a"}]}"##,
    br#"{"value":[{"id":"1","members@delta":[{"@odata.type":"t","id":"2","@removed":{"reason":"deleted"}}]}],"@odata.deltaLink":"d"}"#,
    br#"{"error":{"code":"c","message":"m","innerError":{"request-id":"r","date":"d"}}}"#,
    br#"{"responses":[{"id":"0","status":200,"headers":{"Retry-After":"1"},"body":{"value":[]}}]}"#,
    br#"{"n":[0,-0,1.50,1e400,-1E-400,9007199254740993,0.1,1e21,1e-7,123456789012345678901234567890]}"#,
    br#"["\u0000\ud83d\ude00\ud800\"\\\/\b\f\n\r\t","\ufb33","\u00e9"]"#,
    br#"{"a":1,"a":2,"\u0061":3,"":{"":[]}}"#,
    b"\xef\xbb\xbf{\"value\":[]}",
    b"\"\xff\xfe\"",
    br#"{"proxyAddresses":["SMTP:b","smtp:a"],"id":"x","@odata.etag":"W/1"}"#,
];

/// Pieces that documents are made of, sound and unsound.
const NUMBERS: &[&str] =
    &["0", "-0", "-1", "1.0", "1e5", "1E+400", "-1e-400", "9007199254740993", "0.30000000000000004"];
const TEXTS: &[&str] =
    &["", "id", "value", "@odata.nextLink", "a\\u0062", "\\ud800", "\\ud83d\\ude00", "\u{fb33}", "é", "\\n", "\\/"];

/// Everything that must hold of `bytes`.
fn hold(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let cut = cut_tokens(&text);
    assert_eq!(cut_tokens(&cut), cut, "what is cut stays cut");
    let escaped = escape(&text);
    assert!(escaped.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-%".contains(&byte)));

    let other: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let Ok(json) = parse(bytes) else {
        assert!(other.is_none(), "refused what another parser reads");
        return;
    };
    check_sources(&json, bytes);
    assert_eq!(trimmed(bytes), json.source, "what is kept raw is what was received");
    check_canonical(&json, other.as_ref());
    if let Ok(page) = Page::read(json) {
        assert!(page.items.iter().all(|item| parse(item.source).as_ref() == Ok(item)), "items stand alone");
        assert!(page.next.is_none_or(|link| !link.is_empty()) && page.delta.is_none_or(|link| !link.is_empty()));
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let start = bytes.iter().position(|byte| !space(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !space(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// Every value's source is a part of its parent's, and says the same by itself.
fn check_sources(json: &Json<'_>, within: &[u8]) {
    let (inner, outer) = (json.source.as_ptr_range(), within.as_ptr_range());
    assert!(outer.start <= inner.start && inner.end <= outer.end && !json.source.is_empty());
    match &json.value {
        Value::Array(elements) => elements.iter().for_each(|one| check_sources(one, json.source)),
        Value::Object(members) => members.iter().for_each(|(_, one)| check_sources(one, json.source)),
        _ => assert_eq!(parse(json.source).as_ref(), Ok(json)),
    }
}

fn check_canonical(json: &Json<'_>, other: Option<&serde_json::Value>) {
    for rules in [Rules::default(), model::rules()] {
        let Ok(written) = canonicalize(json, &rules) else { continue };
        assert!(is_canonical(&written), "not its own fixed point");
        let again = parse(&written).expect("a canonical form is JSON");
        assert_eq!(canonicalize(&again, &rules).as_deref(), Ok(written.as_slice()), "written twice, not the same");
        if rules == Rules::default() {
            let theirs = other.and_then(|value| serde_json_canonicalizer::to_vec(value).ok());
            assert!(theirs.is_none_or(|theirs| theirs == written), "another implementation writes it otherwise");
        }
    }
    // Put over nothing, a value stays what it is.
    let over = canonical::overlay(Json::object(Vec::new()), json.clone());
    let (alone, over) = (canonicalize(json, &Rules::default()), canonicalize(&over, &Rules::default()));
    assert_eq!(alone, over);
}

/// A document, sound or not.
fn document(random: &mut ChaCha8Rng, depth: usize, out: &mut Vec<u8>) {
    let pick = |random: &mut ChaCha8Rng, from: &[&str]| from[random.random_range(0..from.len())].as_bytes().to_vec();
    if random.random_bool(0.1) {
        out.extend_from_slice(b" \t\r\n");
    }
    match random.random_range(0..if depth > 5 { 5 } else { 8 }) {
        0 => out.extend_from_slice(&pick(random, &["null", "true", "false", "nul", "truex"][..])),
        1 => out.extend_from_slice(&pick(random, NUMBERS)),
        2 => out.extend_from_slice(random.random::<f64>().to_string().as_bytes()),
        3 => out.extend_from_slice(f64::from_bits(random.random()).to_string().as_bytes()),
        4 => string(random, out),
        5 => {
            let nest = random.random_range(1..200);
            let deep = if random.random_bool(0.01) { nest } else { 1 };
            out.extend(std::iter::repeat_n(b'[', deep));
            document(random, depth + 1, out);
            out.extend(std::iter::repeat_n(b']', deep));
        }
        6 => {
            out.push(b'[');
            for index in 0..random.random_range(0..6) {
                out.extend_from_slice(if index > 0 { b"," } else { b"" });
                document(random, depth + 1, out);
            }
            out.push(b']');
        }
        _ => {
            out.push(b'{');
            for index in 0..random.random_range(0..6) {
                out.extend_from_slice(if index > 0 { b"," } else { b"" });
                string(random, out);
                out.push(b':');
                document(random, depth + 1, out);
            }
            out.push(b'}');
        }
    }
}

fn string(random: &mut ChaCha8Rng, out: &mut Vec<u8>) {
    out.push(b'"');
    for _ in 0..random.random_range(0..3) {
        out.extend_from_slice(TEXTS[random.random_range(0..TEXTS.len())].as_bytes());
    }
    out.push(b'"');
}

/// Changes `bytes` in a few places.
fn damage(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..=bytes.len());
        let end = random.random_range(at..=bytes.len().min(at + 40));
        match random.random_range(0..6) {
            0 => bytes.insert(at, random.random()),
            1 => bytes.insert(at, b"{}[]\",:\\u0e-. "[random.random_range(0..14)]),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = random.random_range(0..=bytes.len());
                bytes.splice(to..to, copy);
            }
            4 => bytes.truncate(at),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
        }
    }
}

fn input(seed: u64, round: u64) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(round);
    let mut bytes = Vec::new();
    match random.random_range(0..3) {
        0 => bytes = CORPUS[random.random_range(0..CORPUS.len())].to_vec(),
        _ => document(&mut random, 0, &mut bytes),
    }
    if random.random_bool(0.7) {
        damage(&mut random, &mut bytes);
    }
    bytes
}

/// Runs for `time` and returns how many inputs that were.
fn run(seed: u64, time: Duration) -> u64 {
    let start = Instant::now();
    let mut round = 0;
    while start.elapsed() < time {
        for _ in 0..100 {
            let bytes = input(seed, round);
            let result = catch_unwind(AssertUnwindSafe(|| hold(&bytes)));
            assert!(result.is_ok(), "seed {seed}, round {round}: b\"{}\"", bytes.escape_ascii());
            round += 1;
        }
    }
    round
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn seed() -> u64 {
    let seed = setting("TENURE_FUZZ_SEED").unwrap_or_else(|| getrandom::u64().expect("randomness"));
    println!("TENURE_FUZZ_SEED={seed}");
    seed
}

#[test]
fn the_corpus_holds() {
    CORPUS.iter().for_each(|bytes| hold(bytes));
}

#[test]
fn random_documents_and_damage_hold_for_two_seconds() {
    let rounds = run(seed(), Duration::from_secs(2));
    assert!(rounds >= 100);
}

#[test]
#[ignore = "runs for TENURE_FUZZ_SECONDS, an hour where that isn't set"]
fn random_documents_and_damage_hold_for_long() {
    let time = Duration::from_secs(setting("TENURE_FUZZ_SECONDS").unwrap_or(3600));
    println!("{} inputs", run(seed(), time));
}
