//! Listening sockets and their certificates: all bound, or the gateway does not start.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::plan::{Listener, TlsFiles};

/// A listening socket, ready to accept.
#[derive(Debug)]
pub struct Bound {
    /// Where it listens; the port that the system chose if 0 was asked for.
    pub address: SocketAddr,
    pub(super) socket: TcpListener,
    pub(super) tls: Option<Arc<ServerConfig>>,
}

impl Bound {
    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is in use, or not ours.
    #[error("cannot listen on {address}: {cause}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A certificate or key file cannot be used.
    #[error("cannot use {file}: {cause}", file = file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it; never its content.
        cause: String,
    },
}

/// Binds every listener.
///
/// # Errors
/// The first address or certificate that cannot be used.
pub fn bind(listeners: &[Listener]) -> Result<Vec<Bound>, ListenError> {
    listeners.iter().map(bind_one).collect()
}

/// Tries the certificates and keys of every listener without listening.
///
/// # Errors
/// The first that cannot be used.
pub fn prove(listeners: &[Listener]) -> Result<(), ListenError> {
    listeners.iter().filter_map(|listener| listener.tls.as_ref()).try_for_each(|files| server_config(files).map(drop))
}

fn bind_one(listener: &Listener) -> Result<Bound, ListenError> {
    let failed = |cause| ListenError::Address { address: listener.address, cause };
    let tls = listener.tls.as_ref().map(server_config).transpose()?;
    let socket = TcpListener::bind(listener.address).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok(Bound { address, socket, tls })
}

/// TLS 1.2 and 1.3 with rustls' own choice of suites, offering HTTP/2.
fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, ListenError> {
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(&files.certificates, &error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, &error))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key);
    let mut config = config.map_err(|error| unusable(&files.certificates, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn unusable(file: &Path, cause: &dyn std::fmt::Display) -> ListenError {
    ListenError::Certificate { file: file.to_owned(), cause: cause.to_string() }
}
