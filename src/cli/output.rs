//! Standard output and standard error. The only place that writes to them, log lines apart.

use std::io::{IsTerminal, Write, stderr, stdout};

use crate::cli::Failure;

/// Writes a line to standard output.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    let written = writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush());
    written.map_err(|error| Failure::Failed(format!("cannot write to standard output: {error}")))
}

/// Writes a line to standard error. If that fails there is nobody left to tell.
pub(super) fn complain(text: &str) {
    let _ = writeln!(stderr().lock(), "{}", text.trim_end_matches('\n'));
}

/// Whether complaints may be coloured.
pub(super) fn colour_wanted() -> bool {
    stderr().is_terminal()
}
