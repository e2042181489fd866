//! Log lines: to standard error, as text for people or as JSON for machines.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Starts logging. `filter` is in the syntax of `RUST_LOG`; what it cannot be read as is the default, `info`. pingora logs every
/// client that goes away as an error; those lines are left out, the access log has them.
///
/// # Errors
/// If logging has been started before in this process.
pub fn start(json: bool, filter: Option<&str>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    const QUIET: &str = "info,pingora_proxy=off,pingora_core=off,pingora_pool=off";
    let filter = filter.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new(QUIET));
    tracing_log::LogTracer::init()?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json {
        tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish())?;
    } else {
        tracing::subscriber::set_global_default(lines.with_ansi(false).finish())?;
    }
    Ok(())
}
