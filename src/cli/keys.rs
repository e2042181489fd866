//! `portcullis keys`.

use std::path::Path;

use crate::cli::accounts::{failed, with_service};
use crate::cli::arguments::KeysCommand;
use crate::cli::{Failure, output};
use crate::model::Timestamp;
use crate::tokens::{KeyState, KnownKey, RotationRefused};

/// Does what is asked about the keys that tokens are signed with.
pub(super) fn keys(config: &Path, command: KeysCommand) -> Result<(), Failure> {
    with_service(config, |service| async move {
        match command {
            KeysCommand::List => {
                for key in service.signing_keys().await.map_err(|denial| failed(&denial.reason()))? {
                    output::say(&line(&key))?;
                }
                Ok(())
            }
            KeysCommand::Rotate => output::say(&line(&service.rotate_keys().await.map_err(|why| refusal(&why))?)),
        }
    })
}

fn refusal(why: &RotationRefused) -> Failure {
    let text = format!("error: {why}");
    match why {
        RotationRefused::NothingSigns | RotationRefused::NextExists => Failure::Refused(text),
        RotationRefused::Denied(_) => Failure::Failed(text),
    }
}

fn line(key: &KnownKey) -> String {
    let state = match key.state {
        KeyState::Next => "next",
        KeyState::Active => "active",
        KeyState::Retired => "retired",
    };
    format!("{}\t{state}\tmade {}\tsigns from {}", key.id, instant(key.created), instant(key.signs_from))
}

fn instant(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_secs()).unwrap_or(jiff::Timestamp::MAX).to_string()
}
