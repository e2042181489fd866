//! One HTTP(S) exchange with a server of ours: pooled connections, one deadline over all of it, a bounded answer.
//!
//! Imports nothing of ours. It stands below both `verify`, which asks about tokens, and `notify`, which hands messages over, so
//! that there is one HTTP client. Redirects are not followed and no proxy is used: the address is the configured one.
//! Deliberately absent: what the answer means.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// A client for one address.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    bounds: Bounds,
}

/// How long an exchange may take and how much it may bring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// From the first byte of the request to the last of the answer, with connecting.
    pub(crate) deadline: Duration,
    /// Bytes of the answer's body.
    pub(crate) answer: usize,
    /// Idle connections kept.
    pub(crate) idle: usize,
}

/// There is no answer, or none that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// No connection, or one that broke.
    #[error("it cannot be reached")]
    Unreachable,
    /// The whole answer was not there within the deadline.
    #[error("it took longer than its deadline")]
    TooSlow,
    /// An answer that is larger than is read.
    #[error("its answer is larger than is read")]
    TooLarge,
}

/// The certificates to trust cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file of certificates.
    #[error("cannot read the certificates to trust in {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system's.
    #[error("cannot read the system's certificates: {0}")]
    System(std::io::Error),
    /// The TLS library refuses.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

impl Fetcher {
    /// A client that trusts the certificates in `ca_file`, or the system's.
    pub(crate) fn new(url: &Uri, ca_file: Option<&Path>, bounds: Bounds) -> Result<Self, TrustError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(bounds.deadline));
        let tls = tls_config(url, ca_file)?;
        let connector =
            hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(bounds.idle)
            .http1_max_buf_size(LARGEST_HEAD)
            .build(connector);
        Ok(Self { client, bounds })
    }

    /// Sends a request that is safe to repeat, and reads the whole answer.
    pub(crate) async fn fetch(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), NoAnswer> {
        let exchange = async {
            let answer = self.send(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), self.bounds.answer).collect().await;
            let body = body.map_err(|error| if error.is::<LengthLimitError>() { NoAnswer::TooLarge } else { lost(&*error) })?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(self.bounds.deadline, exchange).await.unwrap_or(Err(NoAnswer::TooSlow))
    }

    /// A server may close an idle connection in the very moment in which it is used again; that says nothing about the server,
    /// so there is one more try. If it refused the connection there is none.
    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NoAnswer> {
        let again = request.clone();
        match self.client.request(request).await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.is_connect() => return Err(lost(&error)),
            Err(error) => drop(lost(&error)),
        }
        self.client.request(again).await.map_err(|error| lost(&error))
    }
}

fn lost(error: &dyn std::error::Error) -> NoAnswer {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    tracing::debug!(error = causes.join(": "), "an exchange failed");
    NoAnswer::Unreachable
}

fn tls_config(url: &Uri, ca_file: Option<&Path>) -> Result<ClientConfig, TrustError> {
    if ca_file.is_some() || url.scheme() == Some(&http::uri::Scheme::HTTPS) {
        return trust(ca_file);
    }
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// A TLS client that trusts the certificates of a PEM file, or those that the system trusts.
///
/// # Errors
/// [`TrustError`].
pub(crate) fn trust(ca_file: Option<&Path>) -> Result<ClientConfig, TrustError> {
    let builder = match ca_file {
        Some(path) => builder()?.with_root_certificates(roots(path)?),
        None => builder()?.with_native_roots().map_err(TrustError::System)?,
    };
    Ok(builder.with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn roots(path: &Path) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TrustError::File { path: path.to_owned(), reason: error.to_string() })?;
    }
    Ok(roots)
}

/// The certificates in a PEM file; at least one.
///
/// # Errors
/// [`TrustError::File`].
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let failed = |reason: String| TrustError::File { path: path.to_owned(), reason };
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all {
        Ok(all) if all.is_empty() => Err(failed("there is none in it".to_owned())),
        Ok(all) => Ok(all),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(15);
/// The largest head of an answer, in bytes.
const LARGEST_HEAD: usize = 64 * 1024;
