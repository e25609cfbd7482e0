//! `tenure init`: begins an archive with a configuration, keys and the first entry.
//!
//! Must never know: what will be captured.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::failure::{Ended, Failure, Kind};
use super::session::Session;
use super::storage::{self, Purpose};
use super::{json, state};
use crate::archive::appender::{AppendError, Appender};
use crate::archive::entry::{Body, VERSION, entry_name};
use crate::archive::log::leaf_hash;
use crate::archive::note::Signer;
use crate::config::{Config, ConfigError, PLACES, TEMPLATE};
use crate::model;
use crate::store::StoreError;

/// Arguments of `tenure init`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The tenant's id (GUID) or one of its domains
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// The application (client) id of the app registration
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
}

/// What stands in the template where an id has to be filled in.
const PLACEHOLDER: &str = "00000000-0000-0000-0000-000000000000";

/// What was done, for the answer.
struct Begun {
    config: Config,
    wrote_config: bool,
    made_key: bool,
    made_recovery: bool,
    signer: Signer,
    recovery: Signer,
    recovery_file: PathBuf,
    genesis: crate::hash::Hash,
}

/// Runs the command.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Result<Ended, Failure> {
    let (config, wrote_config) = configure(&arguments, session)?;
    let store = storage::open(&config, &session.clock, Purpose::Write)?;
    // Asked first, so that a refusal leaves nothing behind.
    match store.get(&entry_name(0)).await {
        Ok(file) => return Err(AppendError::Initialised { leaf: leaf_hash(&file) }.into()),
        Err(StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let (signer, made_key) = key(&config.key_file, &config.origin())?;
    let recovery_file = config.key_file.with_extension("recovery.key");
    let (recovery, made_recovery) = key(&recovery_file, &config.origin())?;
    let genesis = Body::genesis(signer.verifier(), recovery.verifier(), &config.tenant.id, lists(), session.now());
    let appender = Appender::initialise(store, signer.clone(), &genesis).await?;
    let leaf = appender.walker().last_leaf().unwrap_or_default();
    if let Some(head) = appender.remembered() {
        state::remember_head(&config.state_path, &head)?;
    }
    let begun = Begun { config, wrote_config, made_key, made_recovery, signer, recovery, recovery_file, genesis: leaf };
    print(&begun, session)?;
    Ok(Ended::Done)
}

/// The configuration that is there, or a new one.
fn configure(arguments: &Arguments, session: &Session<'_>) -> Result<(Config, bool), Failure> {
    let path = match Config::find(session.globals.config.as_deref()) {
        Ok(path) => {
            let config = Config::load(&path, &session.variables)?;
            agrees(arguments, &config)?;
            return Ok((config, false));
        }
        Err(ConfigError::NotFound { .. }) => session.globals.config.clone().unwrap_or_else(|| PathBuf::from(PLACES[0])),
        Err(error) => return Err(error.into()),
    };
    let tenant = arguments.tenant.as_deref().ok_or_else(|| {
        Failure::new(Kind::Usage, "which tenant? there is no configuration yet")
            .hint("tenure init --tenant <tenant id or domain> --client-id <application id>")
    })?;
    let mut text = TEMPLATE.replacen(&format!("id = \"{PLACEHOLDER}\""), &format!("id = {}", json::quoted(tenant)), 1);
    if let Some(client) = &arguments.client_id {
        let placeholder = format!("client_id = \"{PLACEHOLDER}\"");
        text = text.replacen(&placeholder, &format!("client_id = {}", json::quoted(client)), 1);
    }
    let config = Config::parse(&path, &text, &session.variables)?;
    write_new(&path, &text, 0o644)?;
    Ok((config, true))
}

fn agrees(arguments: &Arguments, config: &Config) -> Result<(), Failure> {
    let path = config.path.display();
    let pairs = [
        ("--tenant", &arguments.tenant, &config.tenant.id, "id in [tenant]"),
        ("--client-id", &arguments.client_id, &config.client_id, "client_id in [credential]"),
    ];
    for (flag, given, held, option) in pairs {
        if given.as_ref().is_some_and(|given| !given.eq_ignore_ascii_case(held)) {
            let text = format!("{flag} differs from {option} in {path}, which is kept as it is");
            return Err(Failure::new(Kind::Usage, text).hint("change the file, or leave the flag out"));
        }
    }
    if config.tenant.id == PLACEHOLDER {
        let text = format!("id in [tenant] in {path} is not filled in");
        return Err(Failure::new(Kind::Configuration, text).hint("it is the tenant's id, or one of its domains"));
    }
    Ok(())
}

/// The key in `path`, or a new one written there, readable by its owner alone. Whether it was made.
fn key(path: &Path, origin: &str) -> Result<(Signer, bool), Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let signer = Signer::from_secret_text(&text)
                .map_err(|error| Failure::new(Kind::Configuration, format!("{}: {error}", path.display())))?;
            if signer.verifier().name() != origin {
                let name = signer.verifier().name();
                let text = format!("the key in {} is for {name}, expected {origin}", path.display());
                return Err(Failure::new(Kind::Configuration, text).hint("name another file in [signing]"));
            }
            Ok((signer, false))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let signer = Signer::generate(origin)
                .map_err(|error| Failure::new(Kind::Failed, format!("no randomness for a key: {error}")))?;
            write_new(path, &format!("{}\n", signer.to_secret_text()), 0o600)?;
            Ok((signer, true))
        }
        Err(error) => Err(Failure::new(Kind::Failed, format!("{} cannot be read: {error}", path.display()))),
    }
}

/// Writes a file that must not exist yet, durably.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let write = || {
        let mut file = options.open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| Failure::new(Kind::Failed, format!("{} cannot be written: {error}", path.display())))
}

/// The lists of the genesis entry (`docs/format.md`, section 6).
fn lists() -> serde_json::Value {
    let canon = serde_json::json!({ "annotations": model::ANNOTATIONS, "sets": model::SETS });
    let number = model::LISTS_VERSION.to_string();
    let facets = model::COLLECTIONS.iter().flat_map(|collection| {
        let name = |facet: &model::Facet| format!("{}#{}", collection.name, facet.name);
        collection.facets.iter().map(move |facet| (name(facet), serde_json::json!(facet.properties)))
    });
    let facets: serde_json::Map<String, serde_json::Value> = facets.collect();
    serde_json::json!({ "canon": { &number: canon }, "facets": { &number: facets } })
}

fn print(begun: &Begun, session: &mut Session<'_>) -> Result<(), Failure> {
    let Begun { config, signer, recovery, genesis, .. } = begun;
    if session.globals.json {
        let row = json::Object::new().text("genesis", genesis).text("vkey", signer.verifier());
        let row = row.text("recovery", recovery.verifier()).text("config", config.path.display());
        let row = row.text("key_file", config.key_file.display());
        let row = row.text("recovery_key_file", begun.recovery_file.display()).number("v", VERSION);
        session.console.line(row.end())?;
        return Ok(());
    }
    let paint = session.paint();
    let verb = |new: bool| if new { "wrote" } else { "kept " };
    let lines = [
        format!("{} {}", verb(begun.wrote_config), config.path.display()),
        format!("{} {} (signs what is captured)", verb(begun.made_key), config.key_file.display()),
        format!("{} {} (can replace a lost or stolen signing key)", verb(begun.made_recovery), begun.recovery_file.display()),
        format!("began the archive of {} in {}", config.tenant.id, config.store),
        String::new(),
        format!("genesis leaf  {}", paint.bold(genesis)),
        format!("signing key   {}", paint.bold(signer.verifier())),
        format!("recovery key  {}", recovery.verifier()),
        String::new(),
        "Keep the genesis leaf in another place: `tenure verify --trust <genesis leaf>` proves with it that an archive \
         is this one."
            .to_owned(),
        format!(
            "Move {} to offline storage now, and delete it here: whoever has it can take the archive over.",
            begun.recovery_file.display()
        ),
        paint.yellow(format!(
            "The archive format is a draft (version {VERSION}): keep nothing in it yet that you can't capture again."
        )),
    ];
    for line in lines {
        session.console.line(line)?;
    }
    let missing = config.client_id == PLACEHOLDER;
    let next = if missing { "Next: fill in client_id and the secret in the configuration, then" } else { "Next:" };
    session.console.line(format!("{next} `tenure capture`."))?;
    Ok(())
}
