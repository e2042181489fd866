//! `portcullis run`.

use std::path::Path;

use crate::app::{Gateway, LoadError, Loaded, load};
use crate::cli::{Failure, output};
use crate::config::Colour;

/// Runs a gateway until it is told to stop.
pub(super) fn run(config: &Path) -> Result<(), Failure> {
    serve(open(config)?, |_| Ok(()))
}

/// Loads a configuration and says its warnings.
pub(super) fn open(config: &Path) -> Result<Loaded, Failure> {
    let loaded = load(config).map_err(refusal)?;
    if !loaded.warnings.is_empty() {
        output::complain(&loaded.warnings.render(colour()));
    }
    Ok(loaded)
}

/// Serves a plan; `started` says what there is to say once it does.
pub(super) fn serve(loaded: Loaded, started: impl FnOnce(&Gateway) -> Result<(), Failure>) -> Result<(), Failure> {
    let mounts: Vec<String> = loaded.plan.routes.iter().map(|route| format!("  {route}")).collect();
    let gateway = Gateway::start(loaded.plan).map_err(|error| Failure::Refused(format!("error: {error}")))?;
    for (address, tls) in &gateway.addresses {
        output::say(&format!("listening on {}://{address}", if *tls { "https" } else { "http" }))?;
    }
    output::say(&format!("admin on http://{}", gateway.admin))?;
    output::say(&mounts.join("\n"))?;
    started(&gateway)?;
    gateway.run().map_err(|error| Failure::Failed(format!("error: {error}")))
}

/// What a configuration that cannot be used is answered with: the whole report.
fn refusal(error: LoadError) -> Failure {
    match error {
        LoadError::Mistakes(report) => Failure::Refused(report.render(colour())),
        unreadable @ LoadError::Unreadable { .. } => Failure::Refused(format!("error: {unreadable}")),
    }
}

fn colour() -> Colour {
    if output::colour_wanted() { Colour::Ansi } else { Colour::Plain }
}
