//! Log lines: to standard error, as text for people or as JSON for machines.

use tracing_log::AsLog;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt};

/// Starts logging. `filter` is in the syntax of `RUST_LOG`; what it cannot be read as is the default, `info`. pingora logs every
/// client that goes away as an error; those lines are left out, the access log has them.
///
/// # Errors
/// If logging has been started before in this process.
pub fn start(json: bool, filter: Option<&str>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    const QUIET: &str = "info,pingora_proxy=off,pingora_core=off,pingora_pool=off";
    let filter = filter.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| EnvFilter::new(QUIET));
    // What nobody wants to see is not even formatted: pingora has some thirty debug lines for every request.
    let loudest = filter.max_level_hint().unwrap_or(LevelFilter::TRACE);
    tracing_log::LogTracer::builder().with_max_level(loudest.as_log()).init()?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if json {
        tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish())?;
    } else {
        tracing::subscriber::set_global_default(lines.with_ansi(false).finish())?;
    }
    Ok(())
}
