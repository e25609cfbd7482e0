//! Up to twenty GETs in one POST, each answered, judged and tried again by itself.
//!
//! Must never know: what the answers mean. An envelope is made of GETs and of nothing else, so that what it is sent with
//! can't change a tenant.
//!
//! Facts: learn, graph/json-batching and graph/throttling. At most 20 parts; answers come in any order, matched by `id`;
//! the answer as a whole is 200 although parts fail; each part is billed and throttled by itself and has its own
//! `Retry-After`; a body that is no JSON comes as base64 text.

use base64::Engine as _;

use super::address::has_token;
use super::budget::estimate;
use super::error::Error;
use super::exchange::{Challenges, Failed, Next, judge};
use super::pace::{Tries, retry_after};
use super::pages::Pages;
use super::reader::Reader;
use super::request::{Bucket, Request};
use super::response::Response;
use super::wire::{AN_ERROR, Page, is_error, without_mark};
use crate::canonical::{Json, Value, parse, write_string};

/// The most parts that Graph takes in one batch.
pub const MAX_PARTS: usize = 20;

/// The versions that have a `$batch`. A part belongs to the version of its batch.
const VERSIONS: [&str; 2] = ["/v1.0", "/beta"];

/// A request that goes into a batch.
#[derive(Debug, Clone)]
struct Part<'a> {
    /// Where its result belongs.
    place: usize,
    request: &'a Request,
    /// Its path and query behind the version, as a URL has them.
    path: String,
    /// Whether these hold a page or delta token.
    token: bool,
}

/// The body of a POST to `$batch`.
#[derive(Debug)]
pub struct Envelope {
    text: String,
    parts: u64,
    units: u64,
}

impl Envelope {
    /// The only way to make one. The `id` of a part is its place here.
    fn of(parts: &[Part<'_>]) -> Envelope {
        let mut text = Vec::from(br#"{"requests":["#);
        for (id, part) in parts.iter().enumerate() {
            let comma = if id == 0 { "" } else { "," };
            text.extend_from_slice(format!(r#"{comma}{{"id":"{id}","method":"GET","url":"#).as_bytes());
            write_string(&part.path, &mut text);
            let headers = part.request.headers().map(|(name, value)| format!(r#""{name}":"{value}""#));
            let headers: Vec<String> = headers.collect();
            text.extend_from_slice(format!(r#","headers":{{{}}}}}"#, headers.join(",")).as_bytes());
        }
        text.extend_from_slice(b"]}");
        let text = String::from_utf8(text).expect("made of strings");
        let units = parts.iter().map(|part| estimate(&part.path)).sum();
        Envelope { text, parts: parts.len() as u64, units }
    }

    /// The body.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many parts it has.
    pub fn parts(&self) -> u64 {
        self.parts
    }

    /// Resource units that the parts will cost, estimated.
    pub fn units(&self) -> u64 {
        self.units
    }
}

/// What the envelope of an answer holds for one part.
enum Answer<T> {
    Taken(Response, T),
    Refused(Response),
    Bad { status: u16, what: &'static str },
}

/// What is known of each request: nothing where it has to be asked for alone.
type Settled<T> = [Option<Result<(Response, T), Error>>];

impl Reader {
    /// Asks for JSON documents, [`MAX_PARTS`] in one POST, and hands each to `take` together with its place in `requests`;
    /// a refusal of `take` counts as a bad response of that one. Results are in the order of `requests`. All of them
    /// are held at once: whoever has a million to ask for comes with twenty at a time.
    ///
    /// What was throttled or failed is tried again, and only that, after the longest wait that one of them was told.
    /// Requests of a bucket of its own, and links, are sent alone, as is everything in a batch that as a whole is refused
    /// or too large. A part's [`Response`] has the bytes of its body as they stood in the answer, and the request-id and
    /// date of the answer where the part has none of its own.
    ///
    /// # Errors
    /// Each request has its own; see [`Error`].
    pub async fn batch<T>(
        &self,
        requests: &[Request],
        mut take: impl for<'a> FnMut(usize, &Response, Json<'a>) -> Result<T, &'static str>,
    ) -> Vec<Result<(Response, T), Error>> {
        let mut settled: Vec<Option<Result<(Response, T), Error>>> = requests.iter().map(|_| None).collect();
        for version in VERSIONS {
            let parts = requests.iter().enumerate().filter_map(|(place, request)| self.part(version, place, request));
            let parts: Vec<Part<'_>> = parts.collect();
            for chunk in parts.chunks(MAX_PARTS).filter(|chunk| chunk.len() > 1) {
                let work = self.together(version, chunk.to_vec(), &mut settled, &mut take);
                if self.within(work).await.is_err() {
                    for part in chunk {
                        settled[part.place].get_or_insert(Err(Error::TimeLimit));
                    }
                }
            }
        }
        let mut results = Vec::with_capacity(requests.len());
        for (place, (request, known)) in requests.iter().zip(settled).enumerate() {
            results.push(match known {
                Some(known) => known,
                None => self.document(request, |response, json| take(place, response, json)).await,
            });
        }
        results
    }

    /// Asks for the first pages of several lists by [`Reader::batch`] and hands each to `take` together with its list's
    /// place in `requests`. The [`Pages`] that come with a result are the walk over what follows: over by itself where
    /// there is nothing.
    ///
    /// # Errors
    /// Each list has its own; see [`Error`].
    pub async fn first_pages<T>(
        &self,
        requests: &[Request],
        mut take: impl for<'a> FnMut(usize, &Response, Page<'a>) -> T,
    ) -> Vec<Result<(T, Pages<'_>), Error>> {
        let read = self.batch(requests, |place, response, json| {
            let mut page = Page::read(json)?;
            let next = page.next.take();
            Ok((next, take(place, response, page)))
        });
        let read = read.await.into_iter().zip(requests).map(|(one, request)| {
            let (_, (next, taken)) = one?;
            Ok((taken, Pages::after(self, request, next)?))
        });
        read.collect()
    }

    /// `request` as a part of a batch of `version`, where it can be one.
    fn part<'a>(&self, version: &str, place: usize, request: &'a Request) -> Option<Part<'a>> {
        if request.bucket != Bucket::Directory || !request.address.starts_with('/') {
            return None;
        }
        let url = self.resolve(&request.address).ok()?;
        let path = url.as_str().strip_prefix(self.shared.graph.as_str().trim_end_matches('/'))?;
        let path = path.strip_prefix(version).filter(|path| path.starts_with('/'))?;
        Some(Part { place, request, path: path.to_owned(), token: has_token(&url) })
    }

    /// Sends `pending` in one batch after another until each is settled. Leaves those open that should be asked for alone.
    async fn together<'a, T>(
        &self,
        version: &str,
        mut pending: Vec<Part<'a>>,
        settled: &mut Settled<T>,
        take: &mut impl for<'b> FnMut(usize, &Response, Json<'b>) -> Result<T, &'static str>,
    ) {
        let outer = Request::new(format!("{version}/$batch")).permission("the permissions of its parts");
        // All that is pending was sent each time, so that the tries of the batch are those of every part.
        let mut tries = Tries::default();
        let mut challenges = Challenges::default();
        while !pending.is_empty() {
            let envelope = Envelope::of(&pending);
            let read = |response: &Response| self.open(response, &pending, take);
            let answers = match self.exchange(&outer, Some(&envelope), &mut tries, read).await {
                Ok((_, answers)) => answers,
                // One part at fault must not cost the others; a gateway may know no batches at all.
                Err(error) if falls_apart(&error) => return,
                Err(error) => return pending.iter().for_each(|part| settled[part.place] = Some(Err(error.again()))),
            };
            let mut failures = Vec::new();
            for (part, answer) in pending.into_iter().zip(answers) {
                let result = match answer {
                    Answer::Taken(response, taken) => Ok((response, taken)),
                    Answer::Bad { status, what } => {
                        Err(Failed { error: Error::BadResponse { status, what }, next: Next::Wait(None) })
                    }
                    Answer::Refused(response) => match judge(part.request, part.token, tries.made(), response) {
                        Ok(_) => unreachable!("a success is no refusal"),
                        Err(failed) => Err(failed),
                    },
                };
                match result {
                    Ok(taken) => settled[part.place] = Some(Ok(taken)),
                    Err(Failed { error, next: Next::GiveUp }) => settled[part.place] = Some(Err(error)),
                    Err(failed) => failures.push((part, failed)),
                }
            }
            pending = self.help(failures, &mut tries, &mut challenges, settled).await;
        }
    }

    /// Does what may help the parts that failed, and returns those to be sent again; the others are settled.
    async fn help<'a, T>(
        &self,
        failures: Vec<(Part<'a>, Failed)>,
        tries: &mut Tries,
        challenges: &mut Challenges,
        settled: &mut Settled<T>,
    ) -> Vec<Part<'a>> {
        let shared = &*self.shared;
        let (mut again, mut waiting, mut longest) = (Vec::new(), Vec::new(), None);
        let mut asked: Option<(Option<String>, Result<(), Error>)> = None;
        for (part, Failed { error, next }) in failures {
            match next {
                Next::GiveUp => settled[part.place] = Some(Err(error)),
                Next::Wait(after) => {
                    longest = longest.max(after);
                    waiting.push((part, error));
                }
                Next::Renew { generation, claims } => {
                    let known = asked.as_ref().is_some_and(|(for_claims, _)| *for_claims == claims);
                    if !known && !challenges.may_answer(claims.as_ref()) {
                        settled[part.place] = Some(Err(error));
                        continue;
                    }
                    // One token serves all of them: whom it doesn't serve will say so again.
                    if asked.is_none() {
                        let renewed = shared.tokens.renew(generation, claims.as_deref(), self.deadline).await.map(drop);
                        challenges.answered(claims.clone());
                        asked = Some((claims, renewed));
                    }
                    match &asked {
                        Some((_, Err(error))) => settled[part.place] = Some(Err(error.again())),
                        _ => again.push(part),
                    }
                }
            }
        }
        if waiting.is_empty() {
            return again;
        }
        let Some(wait) = tries.next_wait(&shared.limits, longest) else {
            waiting.into_iter().for_each(|(part, error)| settled[part.place] = Some(Err(error)));
            return again;
        };
        if longest.is_some() {
            shared.hold.set(shared.clock.now(), wait);
        }
        again.extend(waiting.into_iter().map(|(part, _)| part));
        if self.sleep(wait).await.is_err() {
            again.drain(..).for_each(|part| settled[part.place] = Some(Err(Error::TimeLimit)));
        }
        again
    }

    /// What the answer to a batch says of each of `parts`, in their order.
    fn open<T>(
        &self,
        outer: &Response,
        parts: &[Part<'_>],
        take: &mut impl for<'b> FnMut(usize, &Response, Json<'b>) -> Result<T, &'static str>,
    ) -> Result<Vec<Answer<T>>, &'static str> {
        let answers = read_envelope(&outer.body, parts.len())?;
        let opened = parts.iter().zip(answers).map(|(part, found)| {
            let found = match found {
                Found::Once(found) => found,
                Found::Never => return Answer::Bad { status: 200, what: "an answer to a batch without this part" },
                Found::Odd(what) => return Answer::Bad { status: 200, what },
            };
            let now = self.shared.clock.now();
            let mut response = Response::of_part(found.status, &found.headers, outer);
            response.path_and_query = format!("{}{}", version_of(outer), part.path);
            response.retry_after = response
                .header_retry_after
                .as_deref()
                .and_then(|after| retry_after(after, response.date.as_deref(), now));
            let success = response.status == 200;
            // What was refused costs nothing, by one measurement.
            let estimated = estimate(&part.path);
            response.units = response.charge.units.unwrap_or(if success { estimated } else { 0 });
            self.meter.charged(response.units);
            if response.status == 429 {
                self.meter.turned_away();
            }
            self.shared.budget.learn(now, estimated, response.charge);
            response.body = found.body.as_ref().map(body_bytes).unwrap_or_default();
            if !success {
                return Answer::Refused(response);
            }
            let status = response.status;
            let json = found.body.filter(|_| is_json(&response.content_type));
            let json = json.ok_or("another content type than JSON");
            let json = json.and_then(|json| if is_error(&json) { Err(AN_ERROR) } else { Ok(json) });
            match json.and_then(|json| take(part.place, &response, json)) {
                Ok(taken) => Answer::Taken(response, taken),
                Err(what) => Answer::Bad { status, what },
            }
        });
        Ok(opened.collect())
    }
}

/// Whether the parts of a batch that failed as a whole should be asked for alone: with nothing changed on our side the
/// same batch would fail the same way.
fn falls_apart(error: &Error) -> bool {
    let ours = matches!(error, Error::Options { .. } | Error::Unauthorized { .. } | Error::ForeignLink);
    !ours && !error.is_transient()
}

/// A part without a type is what it looks like.
fn is_json(content_type: &str) -> bool {
    content_type.is_empty() || content_type.to_ascii_lowercase().contains("json")
}

/// `/v1.0` or `/beta`, with whatever the configured origin has before it.
fn version_of(outer: &Response) -> &str {
    outer.path_and_query.strip_suffix("/$batch").unwrap_or_default()
}

/// The bytes of a part's body as they stood in the answer; decoded, where it is base64 text.
fn body_bytes(body: &Json<'_>) -> Vec<u8> {
    let decoded = body.as_str().and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    decoded.unwrap_or_else(|| body.source.to_vec())
}

/// A part of an answer.
#[derive(Debug)]
struct PartAnswer<'a> {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<Json<'a>>,
}

/// What an answer has for a part.
#[derive(Debug)]
enum Found<'a> {
    Never,
    Once(PartAnswer<'a>),
    Odd(&'static str),
}

/// Reads `{"responses":[{"id","status","headers","body"}]}` for parts whose ids are the numbers below `count`. Other ids
/// are nobody's and left out.
fn read_envelope(body: &[u8], count: usize) -> Result<Vec<Found<'_>>, &'static str> {
    let mut json = parse(without_mark(body)).map_err(|_| "a body that is no JSON, or ends too early")?;
    let answers = match json.take("responses").map(|answers| answers.value) {
        Some(Value::Array(answers)) => answers,
        _ => return Err("an answer to a batch without responses"),
    };
    let mut found: Vec<Found<'_>> = (0..count).map(|_| Found::Never).collect();
    for mut answer in answers {
        let id = answer.get("id").and_then(|id| match &id.value {
            Value::Number(number) => number.parse::<usize>().ok(),
            Value::String(text) => text.as_str()?.parse().ok(),
            _ => None,
        });
        let status = answer.get("status").and_then(|status| match &status.value {
            Value::Number(number) => number.parse().ok(),
            _ => None,
        });
        let Some(place) = id.and_then(|id| found.get_mut(id)) else { continue };
        let headers = answer.get("headers").and_then(Json::members).unwrap_or_default();
        let headers = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str()?.to_ascii_lowercase(), value.as_str()?.to_owned())));
        let headers = headers.collect();
        let body = answer.take("body").filter(|body| !body.is_null());
        *place = match (&place, status.filter(|status| (100..1000).contains(status))) {
            (Found::Never, Some(status)) => Found::Once(PartAnswer { status, headers, body }),
            (Found::Never, None) => Found::Odd("a part of a batch without a status"),
            _ => Found::Odd("an answer to a batch with this part twice"),
        };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(body: &str, count: usize) -> String {
        let found = read_envelope(body.as_bytes(), count).unwrap();
        let kind = |one: &Found<'_>| match one {
            Found::Never => '-',
            Found::Once(_) => '1',
            Found::Odd(_) => '?',
        };
        found.iter().map(kind).collect()
    }

    #[test]
    fn parts_are_found_by_id_and_what_is_nobody_s_is_left_out() {
        for (body, expected) in [
            (r#"{"responses":[]}"#, "---"),
            (r#"{"responses":[{"id":"2","status":200},{"id":0,"status":404}]}"#, "1-1"),
            (r#"{"responses":[{"id":"0","status":200},{"id":"0","status":200},{"id":"0","status":200}]}"#, "?--"),
            (r#"{"responses":[{"id":"0"},{"id":"1","status":"200"},{"id":"2","status":7}]}"#, "???"),
            (
                r#"{"responses":[{"id":"3","status":200},{"id":"-1","status":200},{"id":"","status":200},{},1,null]}"#,
                "---",
            ),
            (r#"{"responses":[{"id":"1","status":200,"headers":7,"body":null}]}"#, "-1-"),
            ("\u{feff}{\"responses\":[]}", "---"),
        ] {
            assert_eq!(kinds(body, 3), expected, "{body}");
        }
        for body in ["", "{}", "[]", r#"{"responses":{}}"#, r#"{"responses":["#] {
            assert!(read_envelope(body.as_bytes(), 3).is_err(), "{body}");
        }
    }

    #[test]
    fn an_envelope_holds_gets_and_nothing_else() {
        let request = Request::new("/v1.0/users").eventual();
        let part = |path: &str| Part { place: 0, request: &request, path: path.to_owned(), token: false };
        let odd = "/a\",\"method\":\"DELETE\u{7f}\\";
        let envelope = Envelope::of(&[part("/users?$select=id"), part(odd)]);
        assert_eq!((envelope.parts(), envelope.units()), (2, 2));
        let json = parse(envelope.text().as_bytes()).unwrap();
        let parts = json.get("requests").and_then(Json::elements).unwrap();
        for (part, (id, url)) in parts.iter().zip([("0", "/users?$select=id"), ("1", odd)]) {
            let names: Vec<_> = part.members().unwrap().iter().filter_map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["id", "method", "url", "headers"]);
            assert_eq!((part.text("id"), part.text("method"), part.text("url")), (Some(id), Some("GET"), Some(url)));
            assert_eq!(part.get("headers").unwrap().text("consistencylevel"), Some("eventual"));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..21) {
            if let Ok(found) = read_envelope(&bytes, count) {
                prop_assert_eq!(found.len(), count);
            }
        }

        #[test]
        fn each_part_s_body_has_its_own_bytes(
            parts in prop::collection::vec((0usize..25, any::<u16>(), "[ -~]{0,20}"), 0..30),
            count in 0usize..21,
        ) {
            let body = |text: &str| {
                let mut quoted = Vec::new();
                write_string(text, &mut quoted);
                format!(r#"{{ "x" : {} }}"#, String::from_utf8(quoted).unwrap())
            };
            let answers: Vec<String> = parts
                .iter()
                .map(|(id, status, text)| format!(r#"{{"id":"{id}","status":{status},"body":{}}}"#, body(text)))
                .collect();
            let outer = format!(r#"{{"responses":[{}]}}"#, answers.join(","));
            let found = read_envelope(outer.as_bytes(), count).unwrap();
            for (place, found) in found.iter().enumerate() {
                let mine: Vec<_> = parts.iter().filter(|(id, ..)| *id == place).collect();
                match (found, mine.as_slice()) {
                    (Found::Never, []) => {}
                    (Found::Once(answer), [(_, status, text)]) => {
                        prop_assert_eq!(answer.status, *status);
                        prop_assert_eq!(body_bytes(answer.body.as_ref().unwrap()), body(text).into_bytes());
                    }
                    (Found::Odd(_), mine) => prop_assert!(mine.len() > 1 || !(100..1000).contains(&mine[0].1)),
                    (found, mine) => prop_assert!(false, "{:?} for {:?}", found, mine),
                }
            }
        }
    }
}
