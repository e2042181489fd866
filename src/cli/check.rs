//! `portcullis check`: the very code that starts the gateway, without starting it.

use std::path::{Path, PathBuf};

use crate::app::prove;
use crate::cli::{Failure, output, run};

/// Checks every file and says of each what is to be said; refused if one of them is.
pub(super) fn check(files: &[PathBuf]) -> Result<(), Failure> {
    let mut refused = 0;
    for file in files {
        match check_one(file) {
            Ok(routes) => output::say(&format!("{}: good ({routes} routes)", file.display()))?,
            Err(failure) => {
                refused += 1;
                output::complain(&failure.to_string());
            }
        }
    }
    if refused == 0 { Ok(()) } else { Err(Failure::Refused(format!("{refused} of {} refused", files.len()))) }
}

fn check_one(file: &Path) -> Result<usize, Failure> {
    let loaded = run::open(file)?;
    prove(&loaded.plan).map_err(|error| Failure::Refused(format!("error: {}: {error}", file.display())))?;
    Ok(loaded.plan.routes.len())
}
