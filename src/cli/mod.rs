//! The command line: what is asked for, and with which exit code it ends.
//!
//! Imports `app` (which does the work) and `config`'s reports. Deliberately absent: anything that serves a request.

mod accounts;
mod api_keys;
mod arguments;
mod check;
mod clients;
mod keys;
mod locks;
mod output;
mod quickstart;
mod revoke;
mod run;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::arguments::{Arguments, Command};

/// Something is wrong with what was asked for or configured; nothing was started or changed.
const REFUSED: u8 = 2;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for or configured is wrong. The text is for the operator and has been rendered.
    #[error("{0}")]
    Refused(String),
    /// It was right, but did not work.
    #[error("{0}")]
    Failed(String),
}

/// Does what the command line asks for. 0: done. 1: it did not work. 2: the configuration or the arguments are wrong.
#[must_use]
pub fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure.to_string());
            match failure {
                Failure::Refused(_) => ExitCode::from(REFUSED),
                Failure::Failed(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run { config } => run::run(&config),
        Command::Check { files } => check::check(&files),
        Command::Schema => output::say(&crate::config::schema()),
        Command::Quickstart(options) => quickstart::quickstart(&options),
        Command::Account { config, command } => accounts::account(&config, command),
        Command::Client { config, command } => clients::client(&config, command),
        Command::ApiKey { config, command } => api_keys::api_key(&config, command),
        Command::Keys { config, command } => keys::keys(&config, command),
        Command::Revoke(options) => revoke::revoke(options),
        Command::Locks { at, command } => locks::locks(at, &command),
        Command::Version => output::say(concat!("portcullis ", env!("CARGO_PKG_VERSION"))),
    }
}
