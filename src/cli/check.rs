//! `portcullis check`: the very code that starts the gateway, without starting it.

use std::path::PathBuf;

use crate::app::load;
use crate::cli::{Failure, output, run};

/// Checks every file and says of each what is to be said; refused if one of them is.
pub(super) fn check(files: &[PathBuf]) -> Result<(), Failure> {
    let mut refused = 0;
    for file in files {
        match load(file) {
            Ok(loaded) => {
                if !loaded.warnings.is_empty() {
                    output::complain(&loaded.warnings.render(run::colour()));
                }
                output::say(&format!("{}: good ({} routes)", file.display(), loaded.plan.routes.len()))?;
            }
            Err(error) => {
                refused += 1;
                output::complain(&run::refusal(error).to_string());
            }
        }
    }
    if refused == 0 { Ok(()) } else { Err(Failure::Refused(format!("{refused} of {} refused", files.len()))) }
}
