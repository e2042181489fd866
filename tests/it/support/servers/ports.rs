//! Free ports.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// An address of 127.0.0.1 where nobody listens, and where nobody will: each is given out once, from below the ports that the system gives
/// to whoever connects. So it is still free when a process that was told of it comes to bind it, even for the second time.
pub(crate) fn unused_address() -> SocketAddr {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Suites that run side by side begin at different places.
    let start = std::process::id().wrapping_mul(97) % COUNT;
    for _ in 0..COUNT {
        let offset = (start + TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(FIRST + offset).unwrap()));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("every port is taken");
}
