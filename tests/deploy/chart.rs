//! The Helm chart: rendered by Helm's own library, its documents held against the schemas of Kubernetes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde_json::{Value, json};
use tenure::config::{Config, Kind, OPTIONS};
use tenure::daemon::{Health, Kind as Alarm, Last, Mirrored, Storage, Verified};

use crate::tools::{CACHE, CONFIGURATION, PORT, STATE, USER, python, root, run, said, text};

/// What the service exports.
fn metrics() -> BTreeSet<String> {
    let mut health = Health::new("t", Timestamp::UNIX_EPOCH);
    let last = Last {
        seq: 1,
        slot: None,
        time: Timestamp::UNIX_EPOCH,
        took_ms: 0,
        objects: 0,
        links: 0,
        rows: BTreeMap::new(),
        skew_ms: 0,
    };
    let storage = Storage { at: Timestamp::UNIX_EPOCH, is_sound: None, detail: Value::Null };
    let verified = Verified { since: Some(Timestamp::UNIX_EPOCH), ..Verified::default() };
    (health.last, health.next, health.storage) = (Some(last), Some(Timestamp::UNIX_EPOCH), Some(storage));
    (health.verified, health.mirrored) = (Some(verified), Some(Mirrored::default()));
    let text = tenure::web::metrics_of(std::iter::once(health));
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// The oldest Kubernetes that the chart names, and a newer one.
const VERSIONS: [&str; 2] = ["1.27", "1.37"];

const CHART: &str = "deploy/helm/tenure";

/// The least that has to be told.
fn least() -> Value {
    json!({ "config": {
        "tenant": { "id": "contoso.example" },
        "credential": { "client_id": "11111111-1111-1111-1111-111111111111" },
        "store": { "account_url": "https://contosohistory.blob.core.windows.net" },
    }})
}

/// Everything on, and two tenants.
fn most() -> Value {
    let mut values = least();
    values["replicas"] = json!(2);
    values["config"]["limits"] = json!({ "in_flight": 4, "page_bytes": 67_108_864 });
    values["config"]["collections"] = json!({ "device": false });
    values["tenants"]["fabrikam"] = json!({
        "tenant": { "id": "fabrikam.example" },
        "credential": {
            "kind": "client_secret",
            "client_id": "22222222-2222-2222-2222-222222222222",
            "client_secret_env": "FABRIKAM_SECRET",
        },
        "store": { "kind": "azure", "account_url": "https://fabrikam.blob.core.windows.net", "prefix": "a\"b<" },
        "index": { "path": "/var/cache/tenure/fabrikam" },
        "state": { "path": "/var/lib/tenure/fabrikam" },
        "signing": { "key_file": "/run/tenure/fabrikam.key" },
    });
    values["secretFiles"] = json!([
        { "secret": "contoso", "key": "tenure.key", "file": "tenure.key" },
        { "secret": "fabrikam", "key": "tenure.key", "file": "fabrikam.key" },
    ]);
    values["secretEnv"] = json!([{ "name": "FABRIKAM_SECRET", "secret": "fabrikam", "key": "client-secret" }]);
    values["workloadIdentity"] = json!({ "tenantId": "33333333-3333-3333-3333-333333333333" });
    values["networkPolicy"] = json!({ "from": [{ "namespaceSelector": { "matchLabels": { "name": "monitoring" } } }] });
    values["metrics"] = json!({
        "serviceMonitor": { "enabled": true },
        "prometheusRule": { "enabled": true, "runbooks": "https://wiki.example/runbooks.md" },
    });
    values
}

fn rendered(python: &Path, values: &Value) -> Result<BTreeMap<String, String>, String> {
    let mut command = Command::new(python);
    let output = run(command.args(["tests/deploy/check.py", "render", CHART]).arg(values.to_string()));
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(said(&output)),
    }
}

/// The documents by their kind; none of the chart's kinds is there twice.
fn documents(files: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let yaml = files.iter().filter(|(name, text)| name.ends_with(".yaml") && !text.trim().is_empty());
    let documents = yaml.map(|(_, text)| yaml_serde::from_str::<Value>(text).unwrap());
    documents.map(|document| (document["kind"].as_str().unwrap().to_owned(), document)).collect()
}

fn kubernetes(python: &Path, files: &BTreeMap<String, String>, version: &str) -> String {
    let mut command = Command::new(python);
    command.args(["tests/deploy/check.py", "kubernetes", version]).current_dir(root());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let texts: Vec<&str> =
        files.iter().filter(|(name, _)| name.ends_with(".yaml")).map(|(_, text)| text.as_str()).collect();
    child.stdin.take().unwrap().write_all(texts.join("\n---\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "Kubernetes {version}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn kubernetes_takes_what_the_chart_makes() {
    let Some(python) = python() else { return };
    for (values, count) in [(least(), 5), (most(), 6)] {
        let files = rendered(&python, &values).unwrap();
        for version in VERSIONS {
            let kinds = kubernetes(&python, &files, version);
            assert_eq!(kinds.lines().count(), count, "{kinds}");
        }
    }
}

#[test]
fn the_pod_has_no_rights_that_it_doesnt_need() {
    let Some(python) = python() else { return };
    let documents = documents(&rendered(&python, &least()).unwrap());
    let pod = &documents["StatefulSet"]["spec"]["template"]["spec"];
    let user: u64 = USER.parse().unwrap();
    let of_pod = &pod["securityContext"];
    assert_eq!(
        (&of_pod["runAsUser"], &of_pod["fsGroup"], &of_pod["runAsNonRoot"]),
        (&json!(user), &json!(user), &json!(true))
    );
    assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = &pod["containers"][0];
    assert_eq!(
        container["securityContext"],
        json!({ "allowPrivilegeEscalation": false, "privileged": false, "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] } })
    );
    assert_eq!(container["args"], json!(["--config", CONFIGURATION, "serve"]));
    assert_eq!(container["ports"][0]["containerPort"].to_string(), PORT);
    let mounts = container["volumeMounts"].as_array().unwrap();
    let at = |path: &str| mounts.iter().find(|mount| mount["mountPath"] == path).unwrap();
    let writable: Vec<&str> = mounts
        .iter()
        .filter(|mount| mount["readOnly"] != true)
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    assert_eq!(writable, [STATE, CACHE, "/tmp"]);
    assert_eq!(at("/run/tenure")["readOnly"], true);
    for (probe, path) in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "http" }));
    }
    let policy = &documents["NetworkPolicy"]["spec"];
    assert_eq!(policy["ingress"], json!([]));
    let ports = policy["egress"].as_array().unwrap().iter().flat_map(|rule| rule["ports"].as_array().unwrap());
    assert_eq!(ports.map(|port| port["port"].as_u64().unwrap()).collect::<BTreeSet<_>>(), BTreeSet::from([53, 443]));
    assert!(!documents.contains_key("PodDisruptionBudget") && !documents.contains_key("PrometheusRule"));
}

#[test]
fn the_workload_identity_is_bound_to_the_service_account() {
    let Some(python) = python() else { return };
    let documents = documents(&rendered(&python, &most()).unwrap());
    let template = &documents["StatefulSet"]["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["azure.workload.identity/use"], "true");
    let account = &documents["ServiceAccount"]["metadata"];
    assert_eq!(template["spec"]["serviceAccountName"], account["name"]);
    assert_eq!(
        account["annotations"],
        json!({ "azure.workload.identity/client-id": "11111111-1111-1111-1111-111111111111",
            "azure.workload.identity/tenant-id": "33333333-3333-3333-3333-333333333333" })
    );
    assert_eq!(documents["PodDisruptionBudget"]["spec"]["maxUnavailable"], 1);
}

/// It uses what a release called `tenure` makes, and writes the key that the chart then looks for.
#[test]
fn the_pod_that_begins_an_archive_fits_the_chart() {
    let Some(python) = python() else { return };
    let begin = "deploy/helm/begin.yaml";
    let files = BTreeMap::from([(begin.to_owned(), text(begin))]);
    for version in VERSIONS {
        assert_eq!(kubernetes(&python, &files, version), "Pod\n");
    }
    let pod = &documents(&files)["Pod"]["spec"];
    let chart = documents(&rendered(&python, &least()).unwrap());
    let theirs = &chart["StatefulSet"]["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsUser"], theirs["securityContext"]["runAsUser"]);
    assert_eq!(pod["containers"][0]["image"], theirs["containers"][0]["image"]);
    assert_eq!(pod["containers"][0]["args"], json!(["--config", CONFIGURATION, "init"]));
    let variable = &pod["containers"][0]["env"][0];
    assert_eq!(
        (&variable["name"], &variable["value"]),
        (&json!("TENURE_SIGNING__KEY_FILE"), &json!("/keys/tenure.key"))
    );
}

/// What the program would say of a configuration it says at the start of a pod; better here.
#[test]
fn configurations_are_read_by_the_program() {
    let Some(python) = python() else { return };
    let documents = documents(&rendered(&python, &most()).unwrap());
    let files = documents["ConfigMap"]["data"].as_object().unwrap();
    let names: BTreeSet<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["fabrikam.toml", "tenure.toml"]));
    let variables = [("FABRIKAM_SECRET".to_owned(), "secret".to_owned())];
    let mut read = BTreeMap::new();
    for (name, file) in files {
        let text = file.as_str().unwrap();
        let path = Path::new("/etc/tenure").join(name);
        read.insert(name.as_str(), Config::parse(&path, text, &variables).unwrap());
    }
    let first = &read["tenure.toml"];
    assert_eq!(first.index_path, Path::new(CACHE).join("index"));
    assert_eq!(first.state_path, Path::new(STATE).join("state"));
    assert_eq!((first.web.listen.port().to_string(), first.limits.in_flight), (PORT.to_owned(), 4));
    assert!(files["tenure.toml"].as_str().unwrap().contains("[service]\ntenants = \"fabrikam.toml\"\n"));
    assert_eq!(read["fabrikam.toml"].tenant.id, "fabrikam.example");
    assert!(files["fabrikam.toml"].as_str().unwrap().contains("prefix = \"a\\\"b\\u003c\""));
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let Some(python) = python() else { return };
    let check = |change: &dyn Fn(&mut Value), why: &str| {
        let mut values = most();
        change(&mut values);
        let told = rendered(&python, &values).expect_err(why);
        assert!(told.contains(why), "expected {why}: {told}");
    };
    check(&|values| values["config"]["tenant"]["id"] = json!(""), "config: tenant.id is needed");
    check(&|values| values["config"]["store"]["account_url"] = json!(""), "store.account_url is needed");
    check(&|values| values["config"]["limits"]["inflight"] = json!(4), "inflight");
    check(&|values| values["config"]["limits"]["in_flight"] = json!("4"), "in_flight");
    check(&|values| values["replica"] = json!(1), "replica");
    check(&|values| values["config"]["store"] = json!({ "kind": "filesystem", "path": "/a" }), "one replica only");
    check(
        &|values| values["tenants"]["fabrikam"]["state"] = json!({ "path": "/var/lib/tenure/state" }),
        "is the same as",
    );
    check(
        &|values| drop(values["tenants"]["fabrikam"].as_object_mut().unwrap().remove("signing")),
        "key_file is needed",
    );
    check(&|values| values["tenants"]["tenure"] = values["tenants"]["fabrikam"].clone(), "tenure");
}

#[test]
fn every_option_of_the_program_can_be_set_in_the_chart() {
    let schema: Value = serde_json::from_str(&text("deploy/helm/tenure/values.schema.json")).unwrap();
    let sections = schema["definitions"]["configuration"]["properties"].as_object().unwrap();
    let mut listed = BTreeMap::new();
    for (section, options) in sections {
        assert_eq!(options["additionalProperties"], false, "{section}");
        for (option, is) in options["properties"].as_object().unwrap() {
            listed.insert((section.as_str(), option.as_str()), is["type"].as_str());
        }
    }
    let expected: BTreeMap<_, _> = OPTIONS
        .iter()
        .map(|option| {
            let kind = match option.kind {
                Kind::Text | Kind::Path => "string",
                Kind::Number => "integer",
                Kind::Flag => "boolean",
            };
            ((option.section, option.name), Some(kind))
        })
        .collect();
    let file = "deploy/helm/tenure/values.schema.json";
    for (option, kind) in &expected {
        let found = listed.get(option).copied();
        assert!(found == Some(*kind), "{file}: {option:?} is {found:?}, expected {kind:?}");
    }
    let unknown: Vec<_> = listed.keys().filter(|option| !expected.contains_key(*option)).collect();
    assert!(unknown.is_empty(), "{file} has options that the program doesn't: {unknown:?}");
}

#[test]
fn rules_ask_for_metrics_that_there_are_and_lead_to_runbooks_that_there_are() {
    let rules = text("deploy/helm/tenure/templates/prometheusrule.yaml");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let asked: BTreeSet<&str> = rules.split(|c: char| !is_name(c)).filter(|word| word.starts_with("tenure_")).collect();
    let known = metrics();
    let unknown: Vec<_> = asked.iter().filter(|name| !known.contains(**name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let runbooks = text("docs/runbooks.md");
    let titled: BTreeSet<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for kind in Alarm::ALL {
        let (word, severity) = (kind.as_str(), kind.severity().as_str());
        assert!(rules.contains(&format!("\"{word}\" \"{severity}\"")), "no rule for {word}, {severity}");
        assert!(titled.contains(word), "no runbook for {word}");
    }
    let named = rules.lines().filter(|line| line.starts_with("  \"")).count();
    assert_eq!(named, Alarm::ALL.len());
}

#[test]
fn rules_are_rendered_with_their_labels() {
    let Some(python) = python() else { return };
    let documents = documents(&rendered(&python, &most()).unwrap());
    let groups = documents["PrometheusRule"]["spec"]["groups"].as_array().unwrap();
    let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert_eq!(rules.len(), Alarm::ALL.len() + 7);
    for rule in rules {
        let asks = rule["expr"].as_str().unwrap();
        assert!(asks.contains("{namespace=\"tenure\", service=\"history-tenure\""), "{asks}");
        assert!(["critical", "warning", "info"].contains(&rule["labels"]["severity"].as_str().unwrap()));
    }
}
