//! What a command ends with, and the exit code of each; failures that only commands have.
//!
//! Must never know: what a command does.

use crate::answer::failure::VERIFY;
pub use crate::answer::failure::{Ended, Failure, Kind};
use crate::archive::copy::CopyError;
use crate::config::ConfigError;
use crate::hold::ExpireError;
use crate::store::StoreError;

/// The exit code of a command, the only place that knows the numbers.
pub fn exit_code(result: &Result<Ended, Failure>) -> u8 {
    match result {
        Ok(Ended::Done) => 0,
        Ok(Ended::Incomplete) => 4,
        Ok(Ended::Finding) => 3,
        Err(failure) => match failure.kind {
            Kind::PipeClosed => 0,
            Kind::Failed => 1,
            Kind::Usage | Kind::Configuration => 2,
            Kind::Integrity => 3,
        },
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        let hint = match &error {
            ConfigError::NotFound { .. } => {
                "`tenure init --tenant ID` writes one with every option explained; --config names another place"
            }
            ConfigError::Unknown { .. } => "`tenure init` writes every option there is into a new file",
            ConfigError::NoSecret { .. } => "set the variable, or name a file instead",
            _ => return Failure::new(Kind::Configuration, error),
        };
        Failure::new(Kind::Configuration, error).hint(hint)
    }
}

impl From<ExpireError> for Failure {
    fn from(error: ExpireError) -> Failure {
        match error {
            ExpireError::Walk(error) => error.into(),
            ExpireError::Append(error) => error.into(),
            ExpireError::Store(StoreError::Denied { .. }) => Failure::new(Kind::Failed, error).hint(
                "whoever [expiry] names has to be allowed to read, to list and to delete in the months: \
                 docs/operations.md, \"Retention\"",
            ),
            ExpireError::Store(_) => {
                Failure::new(Kind::Failed, error).hint("run `tenure expire` again: it goes on with what was begun")
            }
            ExpireError::Lost { .. } => Failure::new(Kind::Integrity, error).hint(VERIFY),
        }
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Failure {
        let kind = if error.is_integrity() { Kind::Integrity } else { Kind::Failed };
        match error {
            CopyError::Walk(error) => error.into(),
            CopyError::Source(error) => error.into(),
            CopyError::Destination(StoreError::NoContainer { name, container }) => {
                let text = format!("the copy has no container {container}, where {name} belongs");
                Failure::new(Kind::Failed, text)
                    .hint("make it with its policy, and run again: it goes on where it stopped")
            }
            CopyError::Destination(_) => Failure::new(kind, error).hint("run again: it goes on where it stopped"),
            CopyError::Differs { .. } | CopyError::Rewritten { .. } => Failure::new(kind, error)
                .hint("`tenure verify` of each tells which of the two is what was committed; nothing was overwritten"),
            CopyError::Ahead { .. } => Failure::new(Kind::Usage, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::archive::appender::AppendError;

    #[test]
    fn the_kind_decides_the_exit_code() {
        let code = |kind| exit_code(&Err(Failure::new(kind, "x")));
        assert_eq!([Ended::Done, Ended::Finding, Ended::Incomplete].map(|ended| exit_code(&Ok(ended))), [0, 3, 4]);
        assert_eq!([Kind::Failed, Kind::Usage, Kind::Configuration, Kind::Integrity].map(code), [1, 2, 2, 3]);
        assert_eq!(exit_code(&Err(io::Error::from(io::ErrorKind::BrokenPipe).into())), 0);
    }

    #[test]
    fn a_full_disk_says_that_nothing_is_lost() {
        let source = io::Error::from(io::ErrorKind::StorageFull);
        let failure = Failure::from(AppendError::Store(StoreError::Full { name: "log/e/1".into(), source }));
        assert_eq!(failure.kind, Kind::Failed);
        assert!(failure.chain()[0].contains("nothing that was committed is lost"), "{:?}", failure.chain());
    }
}
