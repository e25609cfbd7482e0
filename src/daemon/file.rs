//! Small files that a service keeps between runs: whole or not at all.
//!
//! Must never know: what is in them.

use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

/// The value in a file; `Null` where there is none, or where it can't be read: nothing that is kept so is worth stopping
/// for.
pub(super) fn read(directory: &Path, name: &str) -> Value {
    let path = directory.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            tracing::warn!(file = name, "is damaged and begun anew");
            Value::Null
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
        Err(error) => {
            tracing::warn!(file = name, error = &error as &dyn std::error::Error, "cannot be read");
            Value::Null
        }
    }
}

/// Puts `value` in the place of what the file held, for good. A failure is told to the log: it costs memory of what was
/// said, never anything of the archive.
pub(super) fn write(directory: &Path, name: &str, value: &Value) {
    replace(directory, name, value, true);
}

/// As [`write`], where a crash of the machine may take it back.
pub(super) fn leave(directory: &Path, name: &str, value: &Value) {
    replace(directory, name, value, false);
}

fn replace(directory: &Path, name: &str, value: &Value, for_good: bool) {
    let write = || {
        std::fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(value.to_string().as_bytes())?;
        if for_good {
            file.as_file().sync_all()?;
        }
        file.persist(directory.join(name))?;
        Ok::<_, std::io::Error>(())
    };
    if let Err(error) = write() {
        tracing::warn!(file = name, error = &error as &dyn std::error::Error, "cannot be written");
    }
}
