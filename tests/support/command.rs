//! The `tenure` command, run in a directory of its own against a simulated tenant.
//!
//! Must never know: what is being tested.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tenure::cli::{self, Console};
use tenure::clock::ManualClock;
use tenure::simulator::Simulator;

/// A directory with a configuration.
pub struct Bench {
    directory: TempDir,
    clock: ManualClock,
}

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code.
    pub code: u8,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Outcome {
    /// Everything that was written.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// `[tenant]` for `tenant`.
pub fn tenant_table(tenant: &Simulator) -> String {
    format!(
        "[tenant]\nid = \"{}\"\ngraph_url = \"{url}\"\nlogin_url = \"{url}\"\n",
        tenant.tenant_id(),
        url = tenant.url()
    )
}

/// `[credential]` with the tenant's secret, which is in the file `secret`.
pub fn secret_table(tenant: &Simulator) -> String {
    format!("[credential]\nclient_id = \"{}\"\nclient_secret_file = \"secret\"\n", tenant.client_id())
}

impl Bench {
    /// With `config` as `tenure.toml`, and the secret of `tenant` in the file `secret`.
    pub fn new(tenant: &Simulator, clock: &ManualClock, config: &str) -> Bench {
        let bench = Bench { directory: tempfile::tempdir().unwrap(), clock: clock.clone() };
        std::fs::write(bench.path("secret"), tenant.client_secret()).unwrap();
        bench.configure(config);
        bench
    }

    /// Another configuration.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.path("tenure.toml"), config).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a command. Within a runtime, since the command has one of its own: in a thread of its own.
    pub fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
        let config = self.path("tenure.toml").display().to_string();
        let line: Vec<String> =
            ["tenure", "--config", &config].iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let clock = Arc::new(self.clock.clone());
        let run = move || {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let console =
                Console { out: &mut out, err: &mut err, out_is_terminal: false, err_is_terminal: false, colour: false };
            let code = cli::run(line.into_iter().map(Into::into), variables, clock, console);
            Outcome { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap())
    }
}
