//! Log lines: to standard error, as text for people or as JSON for machines.

use tracing_log::{AsLog, log};
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
    tracing_log::LogTracer::builder().with_max_level(for_libraries(loudest)).init()?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish())?;
    } else {
        tracing::subscriber::set_global_default(lines.with_ansi(false).finish())?;
    }
    Ok(())
}

/// How much the libraries that use `log` may say. pingora has trace lines whose arguments panic on a header that is no UTF-8,
/// and arguments are evaluated before any filter is asked; so nobody gets to see those, whatever is wanted.
fn for_libraries(wanted: LevelFilter) -> log::LevelFilter {
    wanted.as_log().min(log::LevelFilter::Debug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_say_no_more_than_is_wanted_and_never_trace_their_bytes() {
        assert_eq!(for_libraries(LevelFilter::OFF), log::LevelFilter::Off);
        assert_eq!(for_libraries(LevelFilter::INFO), log::LevelFilter::Info);
        assert_eq!(for_libraries(LevelFilter::DEBUG), log::LevelFilter::Debug);
        assert_eq!(for_libraries(LevelFilter::TRACE), log::LevelFilter::Debug);
    }
}
