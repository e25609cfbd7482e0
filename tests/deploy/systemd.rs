//! The unit of systemd, and the configuration that goes with it.

use std::process::Command;

use tenure::config::Config;

use crate::tools::{CACHE, CONFIGURATION, PORT, PROGRAM, STATE, run, said, text, tool};

/// The exposure that `docs/operations.md` tells, in tenths: what is left is the network, which the service needs.
const EXPOSURE: f64 = 1.1;

fn unit() -> String {
    text("deploy/systemd/tenure.service")
}

/// The values of a setting, in order.
fn settings<'u>(unit: &'u str, name: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

#[test]
fn the_unit_names_the_same_places_as_everything_else() {
    let unit = unit();
    let start = format!("{PROGRAM} --config {CONFIGURATION} serve");
    assert_eq!(settings(&unit, "ExecStart"), [start]);
    for (setting, place) in [("StateDirectory", STATE), ("CacheDirectory", CACHE)] {
        assert_eq!(settings(&unit, setting), [place.rsplit('/').next().unwrap()], "{setting}");
        assert_eq!(settings(&unit, &format!("{setting}Mode")), ["0700"]);
    }
    assert_eq!(settings(&unit, "SocketBindAllow"), [format!("tcp:{PORT}")]);
    let user = text("deploy/systemd/tenure.sysusers");
    assert!(user.lines().any(|line| line.starts_with(&format!("u {} ", settings(&unit, "User")[0]))), "{user}");
    assert!(user.contains(STATE));
}

#[test]
fn a_commit_in_hand_has_time_to_be_completed() {
    let unit = unit();
    let seconds: u32 = settings(&unit, "TimeoutStopSec")[0].parse().unwrap();
    assert!(seconds >= 300, "{seconds}");
    let chart = text("deploy/helm/tenure/templates/statefulset.yaml");
    assert!(chart.contains(&format!("terminationGracePeriodSeconds: {seconds}\n")));
    assert_eq!(settings(&unit, "Type"), ["notify"]);
    assert_eq!(settings(&unit, "Restart"), ["on-failure"]);
    // What only a person can put right isn't tried again and again: docs/operations.md, "Exit codes".
    assert_eq!(settings(&unit, "RestartPreventExitStatus"), ["2 3"]);
}

#[test]
fn the_configuration_of_the_unit_is_one_and_lies_where_the_unit_may_write() {
    let path = std::path::Path::new(CONFIGURATION);
    let config = Config::parse(path, &text("deploy/systemd/tenure.toml"), &[]).unwrap();
    assert_eq!(config.state_path, std::path::Path::new(STATE).join("state"));
    assert_eq!(config.index_path, std::path::Path::new(CACHE).join("index"));
    let credentials = "/run/credentials/tenure.service/secret_";
    assert!(config.key_file.to_str().unwrap().starts_with(credentials), "{:?}", config.key_file);
    assert!(settings(&unit(), "LoadCredential").contains(&"secret:/etc/tenure/secrets"));
    assert_eq!(config.web.listen.port().to_string(), PORT);
}

/// What weighs most: the exposure is a sum, and rounded.
#[test]
fn the_unit_shuts_what_matters() {
    let unit = unit();
    let check = |name: &str, values: &[&str]| assert_eq!(settings(&unit, name), values, "{name}");
    for name in ["NoNewPrivileges", "PrivateDevices", "PrivateTmp", "PrivateUsers", "ProtectHome", "RestrictRealtime"] {
        check(name, &["yes"]);
    }
    check("ProtectSystem", &["strict"]);
    check("MemoryDenyWriteExecute", &["yes"]);
    check("CapabilityBoundingSet", &[""]);
    check("UMask", &["0077"]);
    check("LimitCORE", &["0"]);
    check("SocketBindDeny", &["any"]);
    check("RestrictAddressFamilies", &["AF_INET AF_INET6 AF_UNIX"]);
    assert_eq!(settings(&unit, "SystemCallFilter")[0], "@system-service");
}

#[test]
fn systemd_reads_the_unit_and_finds_it_well_shut() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("tenure.service");
    // The program is where cargo built it; otherwise the unit is what it is.
    std::fs::write(&copy, unit().replace(PROGRAM, env!("CARGO_BIN_EXE_tenure"))).unwrap();
    let verified = run(Command::new(&analyze).arg("verify").arg(&copy));
    // Newer than some systemd that people have, and left out there without harm.
    let known = ["'RestartSteps'", "'RestartMaxDelaySec'"];
    let told = said(&verified);
    let complaints: Vec<&str> = told
        .lines()
        .filter(|line| line.contains("tenure.service") && !known.iter().any(|name| line.contains(name)))
        .collect();
    assert_eq!(complaints, Vec::<&str>::new());

    let judged = said(&run(Command::new(&analyze).args(["security", "--offline=true", "--no-pager"]).arg(&copy)));
    let Some((_, level)) = judged.split_once("Overall exposure level for tenure.service: ") else {
        panic!("no level: {judged}");
    };
    let level: f64 = level.split_whitespace().next().unwrap().parse().unwrap();
    assert!(level <= EXPOSURE, "{level} is more than {EXPOSURE}\n{judged}");
    let told = text("docs/operations.md");
    assert!(told.contains(&format!("**{EXPOSURE}**")), "docs/operations.md tells another exposure");
}
