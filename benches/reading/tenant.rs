//! The simulated tenant in a process of its own: so that what a capture takes in memory and CPU is the capture's alone.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tenure::clock::ManualClock;
use tenure::simulator::{Collection, Options, Simulator};

use super::measure;

/// When the tenant's life begins: a Monday, so that the hours that follow are those of a working day.
pub const START: &str = "2026-06-29T00:00:00Z";

/// Objects of a tenant for each of its users: groups, devices, applications, assignments and grants come with them.
/// Reports and states that are made when they are read aren't counted.
const OBJECTS_PER_USER: f64 = 2.17;

/// Where the tenant is, who may read it, and what is in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Address {
    pub url: String,
    pub control: String,
    pub tenant_id: String,
    pub client_id: String,
    pub secret: String,
    pub users: usize,
    pub objects: usize,
    pub founded_in: f64,
}

/// Founds a tenant of about so many objects, says where it is on standard output, and serves it until it is killed.
pub async fn serve(objects: usize) {
    let start: Timestamp = START.parse().expect("a time");
    let clock = ManualClock::new(start);
    let users = (objects as f64 / OBJECTS_PER_USER) as usize;
    let began = Instant::now();
    let options = Options { users, start, episodes: false, ..Options::default() };
    let tenant = Simulator::start(options, clock.clone()).await.expect("loopback is there");
    let control = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let count = |collection| tenant.edit(|directory| directory.ids(collection).len());
    let address = Address {
        url: tenant.url(),
        control: control.local_addr().expect("it is bound").to_string(),
        tenant_id: tenant.tenant_id(),
        client_id: tenant.client_id(),
        secret: tenant.client_secret(),
        users: count(Collection::User),
        objects: Collection::ALL.into_iter().map(count).sum(),
        founded_in: began.elapsed().as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&address).expect("plain text and numbers"));
    tokio::task::spawn_blocking(move || {
        for stream in control.incoming().flatten() {
            let mut line = String::new();
            if BufReader::new(&stream).read_line(&mut line).is_err() {
                continue;
            }
            if let Some((word, time)) = line.trim().split_once(' ') {
                let time: Timestamp = time.parse().expect("the other side writes a time");
                clock.set(time);
                if word == "live" {
                    tenant.live_until(time);
                }
            }
            // Whoever asked waits for this line.
            let _ = writeln!(&stream, "{}", measure::peak_megabytes());
        }
    })
    .await
    .expect("nothing above panics");
}

impl Address {
    /// Tells the tenant what time it is, and to live up to then or not; its peak of memory so far.
    fn tell(&self, word: &str, time: Timestamp) -> f64 {
        let mut stream = TcpStream::connect(&self.control).expect("the tenant serves");
        writeln!(stream, "{word} {time}").expect("the tenant reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("the tenant answers");
        line.trim().parse().expect("megabytes")
    }

    /// An ordinary hour ends at `time`.
    pub fn live(&self, time: Timestamp) -> f64 {
        self.tell("live", time)
    }

    /// An hour in which nothing happened ends at `time`.
    pub fn pass(&self, time: Timestamp) -> f64 {
        self.tell("pass", time)
    }
}

/// A running tenant; it ends with this.
pub struct Served {
    child: Child,
    pub address: Address,
}

impl Served {
    pub fn begin(objects: usize) -> Served {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--serve", "--objects", &objects.to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program runs again");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut line).expect("the tenant says where it is");
        let address = serde_json::from_str(&line).expect("the tenant was founded");
        Served { child, address }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
