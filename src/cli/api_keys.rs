//! `portcullis api-key`.

use std::path::Path;

use crate::cli::accounts::{failed, refused, with_service};
use crate::cli::arguments::ApiKeyCommand;
use crate::cli::{Failure, output};

/// Does what is asked about API keys.
pub(super) fn api_key(config: &Path, command: ApiKeyCommand) -> Result<(), Failure> {
    with_service(config, |service| async move {
        match command {
            ApiKeyCommand::Add { program } => {
                let key = service.add_api_key(&program).await.map_err(|error| refused(&error))?;
                output::say(&format!("a key of {program}, shown this once: {}", key.expose()))
            }
            ApiKeyCommand::Revoke { program } => {
                let revoked = service.revoke_api_keys(&program).await.map_err(|denial| failed(&denial.reason()))?;
                if revoked == 0 {
                    return Err(refused(&format!("{program} has no key that is good")));
                }
                output::say(&format!("revoked {revoked} keys of {program}"))
            }
        }
    })
}
