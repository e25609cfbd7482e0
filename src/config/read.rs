//! Values by option, from a TOML file and from variables, each with the place it came from.
//!
//! Must never know: what an option does.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::options::{self, Kind, OPTIONS, Opt};

/// A value and where it was given.
#[derive(Debug, Clone)]
struct Setting {
    text: String,
    place: String,
}

/// What was given, checked for names and kinds.
#[derive(Debug)]
pub(super) struct Settings {
    path: PathBuf,
    given: BTreeMap<String, Setting>,
}

/// What variables that override options begin with.
const PREFIX: &str = "TENURE_";

impl Settings {
    /// Reads the file's text, then puts the variables over it.
    pub fn read(path: &Path, text: &str, variables: &[(String, String)]) -> Result<Settings, ConfigError> {
        let mut settings = Settings { path: path.to_owned(), given: BTreeMap::new() };
        settings.read_file(text)?;
        let secrets = SECRET_VARIABLES.map(|option| settings.given(option));
        for (name, value) in variables {
            if !secrets.contains(&Some(name.clone())) {
                settings.read_variable(name, value)?;
            }
        }
        Ok(settings)
    }

    fn read_file(&mut self, text: &str) -> Result<(), ConfigError> {
        let table = DeTable::parse(text).map_err(|error| {
            let place = self.line(text, error.span().unwrap_or(0..0));
            ConfigError::Syntax { place, message: error.message().to_owned() }
        })?;
        for (section, value) in table.get_ref() {
            let name: &str = section.get_ref();
            let place = self.line(text, section.span());
            let mut sections = OPTIONS.iter().map(|option| option.section);
            if !sections.any(|known| known == name) {
                // Perhaps an option that stands outside its section.
                let names = OPTIONS.iter().flat_map(|option| [option.section, option.name]);
                let nearest = options::nearest(name, names).map(describe);
                let name = if value.get_ref().is_table() { format!("[{name}]") } else { name.to_owned() };
                return Err(ConfigError::Unknown { place, name, nearest });
            }
            let Some(members) = value.get_ref().as_table() else {
                let found = value.get_ref().type_str().to_owned();
                let (name, expected) = (name.to_owned(), format!("a section, written [{name}]"));
                return Err(ConfigError::Value { place, name, found, expected });
            };
            self.read_section(name, members, text)?;
        }
        Ok(())
    }

    fn read_section(&mut self, section: &str, members: &DeTable<'_>, text: &str) -> Result<(), ConfigError> {
        for (key, value) in members {
            let place = self.line(text, key.span());
            let inner = format!("{section}.{}", key.get_ref());
            if let Some(members) = value.get_ref().as_table() {
                let sections = || OPTIONS.iter().map(|option| option.section);
                if !sections().any(|known| known == inner) {
                    let nearest = options::nearest(&inner, sections()).map(describe);
                    return Err(ConfigError::Unknown { place, name: format!("[{inner}]"), nearest });
                }
                self.read_section(&inner, members, text)?;
                continue;
            }
            let option = known(section, key.get_ref(), &place)?;
            let text = read_value(value.get_ref(), option).ok_or_else(|| ConfigError::Value {
                place: place.clone(),
                name: option.full_name(),
                found: format!("a {}", value.get_ref().type_str()),
                expected: option.kind.expected().to_owned(),
            })?;
            self.given.insert(option.full_name(), Setting { text, place });
        }
        Ok(())
    }

    /// Variables without a double underscore are somebody else's.
    fn read_variable(&mut self, variable: &str, value: &str) -> Result<(), ConfigError> {
        let Some((section, name)) = variable.strip_prefix(PREFIX).and_then(|rest| rest.split_once("__")) else {
            return Ok(());
        };
        let same = |known: &str, given: &str| known.replace('.', "_").eq_ignore_ascii_case(given);
        let wanted = |option: &&Opt| same(option.section, section) && option.name.eq_ignore_ascii_case(name);
        let place = variable.to_owned();
        let Some(option) = OPTIONS.iter().find(wanted) else {
            let variables =
                |option: &Opt| format!("{PREFIX}{}__{}", option.section.replace('.', "_"), option.name).to_uppercase();
            let score = |option: &&Opt| (strsim::jaro_winkler(variable, &variables(option)) * 1e6) as u64;
            let nearest = OPTIONS.iter().max_by_key(score).map(variables);
            return Err(ConfigError::Unknown { place, name: variable.to_owned(), nearest });
        };
        let fits = match option.kind {
            Kind::Text | Kind::Path => true,
            Kind::Number => value.parse::<u64>().is_ok(),
            Kind::Flag => value.parse::<bool>().is_ok(),
        };
        if !fits {
            let (found, expected) = (format!("{value:?}"), option.kind.expected().to_owned());
            return Err(ConfigError::Value { place, name: option.full_name(), found, expected });
        }
        // The one that was overridden doesn't exclude the other.
        for (one, other) in EXCLUSIVE {
            for (mine, theirs) in [(one, other), (other, one)] {
                if option.full_name() == mine {
                    self.given.remove(theirs);
                }
            }
        }
        self.given.insert(option.full_name(), Setting { text: value.to_owned(), place });
        Ok(())
    }

    fn line(&self, text: &str, span: Range<usize>) -> String {
        let line = text.bytes().take(span.start).filter(|&b| b == b'\n').count() + 1;
        format!("{}, line {line}", self.path.display())
    }

    /// The configuration file.
    pub fn file(&self) -> &Path {
        &self.path
    }

    /// What was given, without defaults; nothing for an empty text.
    pub fn given(&self, name: &str) -> Option<String> {
        self.given.get(name).map(|setting| setting.text.clone()).filter(|text| !text.is_empty())
    }

    /// What was given for a number.
    pub fn given_number(&self, name: &str) -> Option<u64> {
        self.given(name)?.parse().ok()
    }

    /// What was given, or the default; empty where there is neither.
    pub fn text(&self, name: &str) -> String {
        let default = || options::find(name).and_then(|option| option.default).unwrap_or_default().to_owned();
        self.given(name).unwrap_or_else(default)
    }

    pub fn required(&self, name: &'static str, what: &'static str) -> Result<String, ConfigError> {
        self.given(name).ok_or_else(|| ConfigError::Missing { path: self.path.clone(), name, what })
    }

    pub fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_default()
    }

    pub fn flag(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// A path, relative to the file's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(self.text(name))
    }

    pub fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> Result<T, ConfigError> {
        self.text(name).parse().map_err(|_| self.wrong(name, expected))
    }

    /// Where a value came from.
    pub fn place(&self, name: &str) -> String {
        self.given.get(name).map_or_else(|| self.path.display().to_string(), |setting| setting.place.clone())
    }

    /// The error for a value that isn't taken.
    pub fn wrong(&self, name: &str, expected: &str) -> ConfigError {
        ConfigError::Value {
            place: self.place(name),
            name: name.to_owned(),
            found: format!("{:?}", self.text(name)),
            expected: expected.to_owned(),
        }
    }

    /// Checks a choice of which some come later.
    pub fn one_of(&self, name: &str, built: &[&str], later: &[&str], instead: &'static str) -> Result<(), ConfigError> {
        let value = self.text(name);
        if built.contains(&value.as_str()) {
            return Ok(());
        }
        if later.contains(&value.as_str()) {
            let (place, name) = (self.place(name), name.to_owned());
            return Err(ConfigError::NotBuilt { place, name, value, instead });
        }
        Err(self.wrong(name, &format!("one of {}", built.join(", "))))
    }
}

/// Options that name a variable which holds a secret, and no option.
const SECRET_VARIABLES: [&str; 8] = [
    "credential.client_secret_env",
    "store.client_secret_env",
    "store.sas_env",
    "store.mirror.client_secret_env",
    "store.mirror.sas_env",
    "expiry.client_secret_env",
    "expiry.sas_env",
    "alarms.webhook_secret_env",
];

/// Options of which one makes the other void.
const EXCLUSIVE: [(&str, &str); 9] = [
    ("credential.client_secret_file", "credential.client_secret_env"),
    ("store.client_secret_file", "store.client_secret_env"),
    ("store.sas_file", "store.sas_env"),
    ("store.mirror.client_secret_file", "store.mirror.client_secret_env"),
    ("store.mirror.sas_file", "store.mirror.sas_env"),
    ("expiry.client_secret_file", "expiry.client_secret_env"),
    ("expiry.sas_file", "expiry.sas_env"),
    ("alarms.webhook_secret_file", "alarms.webhook_secret_env"),
    ("retention.preset", "retention.years"),
];

fn known(section: &str, name: &str, place: &str) -> Result<&'static Opt, ConfigError> {
    if let Some(option) = OPTIONS.iter().find(|option| option.section == section && option.name == name) {
        return Ok(option);
    }
    let here = OPTIONS.iter().filter(|option| option.section == section).map(|option| option.name);
    let nearest = options::nearest(name, here).map(str::to_owned).or_else(|| {
        let elsewhere = options::nearest(name, OPTIONS.iter().map(|option| option.name));
        elsewhere.filter(|other| other.eq_ignore_ascii_case(name)).map(describe)
    });
    Err(ConfigError::Unknown { place: place.to_owned(), name: format!("{name} in [{section}]"), nearest })
}

/// A section or an option with its section.
fn describe(name: &'static str) -> String {
    match OPTIONS.iter().find(|option| option.section == name) {
        Some(_) => format!("[{name}]"),
        None => {
            let section = OPTIONS.iter().find(|option| option.name == name).map_or("", |option| option.section);
            format!("{name} in [{section}]")
        }
    }
}

fn read_value(value: &DeValue<'_>, option: &Opt) -> Option<String> {
    match option.kind {
        Kind::Text | Kind::Path => value.as_str().map(str::to_owned),
        Kind::Number => {
            let integer = value.as_integer()?;
            u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok().map(|n| n.to_string())
        }
        Kind::Flag => value.as_bool().map(|flag| flag.to_string()),
    }
}
