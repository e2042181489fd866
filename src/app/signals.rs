//! Being told to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Waits until the process is told to stop; which signal it was. SIGHUP is taken and ignored: a terminal that goes away does
/// not end a gateway.
///
/// # Errors
/// If the system cannot deliver signals.
pub(super) async fn stop() -> std::io::Result<&'static str> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok("SIGTERM"),
            _ = interrupt.recv() => return Ok("SIGINT"),
            _ = hangup.recv() => tracing::info!("SIGHUP is ignored"),
        }
    }
}
