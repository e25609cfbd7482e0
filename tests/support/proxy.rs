//! A server between the client and the simulated tenant, through which a test meddles with requests and answers.
//!
//! Must never know: what is being tested.

#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "../scripted/mod.rs"]
mod scripted;

use std::io::{Read, Write};
use std::net::TcpStream;

pub use scripted::{Body, Reply, Seen, Server};

/// A proxy to `upstream`. `meddle` gets the request and the tenant's answer and says what the client gets. Before the
/// tenant is asked, `before` is called.
pub async fn proxy(
    upstream: String,
    before: impl Fn(&Seen) + Send + Sync + 'static,
    meddle: impl Fn(&Seen, Reply) -> Reply + Send + Sync + 'static,
) -> Server {
    Server::raw(move |seen, _| {
        tokio::task::block_in_place(|| {
            before(seen);
            meddle(seen, forward(&upstream, seen))
        })
    })
    .await
}

/// The value of a JSON answer.
pub fn json(reply: &Reply) -> serde_json::Value {
    match &reply.body {
        Body::Whole(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
        _ => serde_json::Value::Null,
    }
}

fn forward(upstream: &str, seen: &Seen) -> Reply {
    let host = upstream.strip_prefix("http://").expect("the simulator speaks plain HTTP");
    let own = seen.header("host").expect("every request names its host");
    let escaped = |host: &str| host.replace(':', "%3A");
    let inward = |text: &str| text.replace(own, host).replace(&escaped(own), &escaped(host));
    let body = inward(&seen.body);
    let mut request = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", seen.method, inward(&seen.target));
    for (name, value) in &seen.headers {
        if !matches!(name.as_str(), "connection" | "content-length" | "accept-encoding" | "host") {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    request.push_str(&format!("host: {host}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    let mut stream = TcpStream::connect(host).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap();
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    assert!(
        !headers.iter().any(|(name, _)| name == "transfer-encoding"),
        "the simulator says how long its answers are"
    );
    let headers = headers.into_iter().filter(|(name, _)| name != "content-length" && name != "connection").collect();
    Reply { status, headers, body: Body::Whole(body.replace(host, own).into_bytes()) }
}
