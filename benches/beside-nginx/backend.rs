//! What stands behind both gateways in the comparison: a fast upstream and a token service (RFC 7662), in one thread.
//!
//! Both answer from memory, so that their core keeps up with the one that is measured. Deliberately absent: everything that a
//! comparison does not need. Which tokens are active is a rule, not a list: see [`subject_of`].
//!
//! ```text
//! backend UPSTREAM_PORT TOKEN_PORT ID:SECRET
//!
//! upstream:       GET  /api/thing    200 with 256 bytes
//!                 GET  /api/head     200 with the request's head as it arrived
//! token service:  POST /introspect   RFC 7662, client_secret_basic; counted
//!                 GET  /count        how many introspections there were
//!                 POST /delay/MS     from now on each introspection takes this long
//! ```

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BytesMut};
use httparse::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Header fields of a request; heads are not larger than that here.
const FIELDS: usize = 64;

/// One side of the backend.
enum Service {
    Upstream { thing: Vec<u8> },
    Tokens { basic: String, count: AtomicU64, delay_ms: AtomicU64 },
}

/// A request that is there as a whole.
struct Request<'r> {
    target: &'r str,
    head: &'r [u8],
    authorization: &'r [u8],
    body: &'r [u8],
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [upstream_port, token_port, credentials] = &*arguments else {
        return Err("usage: backend UPSTREAM_PORT TOKEN_PORT ID:SECRET".into());
    };
    let thing = format!("{{\"thing\":\"{}\"}}", "x".repeat(256 - r#"{"thing":""}"#.len()));
    let upstream = Service::Upstream { thing: ok("application/json", thing) };
    let basic = format!("Basic {}", STANDARD.encode(credentials));
    let tokens = Service::Tokens { basic, count: AtomicU64::new(0), delay_ms: AtomicU64::new(0) };
    let upstream_listener = TcpListener::bind(("127.0.0.1", upstream_port.parse()?)).await?;
    let token_listener = TcpListener::bind(("127.0.0.1", token_port.parse()?)).await?;
    tokio::spawn(accept(upstream_listener, Arc::new(upstream)));
    accept(token_listener, Arc::new(tokens)).await;
    Ok(())
}

async fn accept(listener: TcpListener, service: Arc<Service>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&service)));
    }
}

/// Answers requests one after the other until the connection ends or says something that is none.
async fn serve(mut stream: TcpStream, service: Arc<Service>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut inbox = BytesMut::with_capacity(8192);
    loop {
        while let Some((request, length)) = read(&inbox)? {
            let answer = service.answer(&request).await;
            stream.write_all(&answer).await?;
            inbox.advance(length);
        }
        inbox.reserve(4096);
        if stream.read_buf(&mut inbox).await? == 0 {
            return Ok(());
        }
    }
}

/// The first request of these bytes and its length; `None` if more must be read.
fn read(bytes: &[u8]) -> io::Result<Option<(Request<'_>, usize)>> {
    let none = || io::Error::from(io::ErrorKind::InvalidData);
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let Status::Complete(head_length) = parsed.parse(bytes).map_err(|_| none())? else { return Ok(None) };
    let field = |name: &str| {
        let field = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        field.map_or(&b""[..], |field| field.value)
    };
    let body_length = match field("content-length") {
        b"" => 0,
        digits => std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or_else(none)?,
    };
    let (head, rest) = bytes.split_at(head_length);
    let Some(body) = rest.get(..body_length) else { return Ok(None) };
    let (target, authorization) = (parsed.path.ok_or_else(none)?, field("authorization"));
    Ok(Some((Request { target, head, authorization, body }, head_length + body_length)))
}

impl Service {
    async fn answer(&self, request: &Request<'_>) -> Cow<'_, [u8]> {
        match self {
            Self::Upstream { thing } if request.target == "/api/thing" => Cow::Borrowed(thing),
            Self::Upstream { .. } if request.target == "/api/head" => {
                Cow::Owned(ok("text/plain", String::from_utf8_lossy(request.head)))
            }
            Self::Tokens { basic, count, delay_ms } if request.target == "/introspect" => {
                count.fetch_add(1, Relaxed);
                let delay = delay_ms.load(Relaxed);
                if delay > 0 {
                    tokio::time::sleep(Duration::from_millis(delay)).await;
                }
                let known = request.authorization == basic.as_bytes();
                if known { Cow::Owned(introspect(request.body)) } else { Cow::Borrowed(UNAUTHORIZED) }
            }
            Self::Tokens { count, .. } if request.target == "/count" => Cow::Owned(ok("text/plain", count.load(Relaxed))),
            Self::Tokens { delay_ms, .. } => match request.target.strip_prefix("/delay/").map(str::parse) {
                Some(Ok(millis)) => {
                    delay_ms.store(millis, Relaxed);
                    Cow::Owned(ok("text/plain", ""))
                }
                Some(Err(_)) | None => NOT_FOUND.into(),
            },
            Self::Upstream { .. } => NOT_FOUND.into(),
        }
    }
}

/// The answer to a form that asks about a token (RFC 7662 section 2.2).
fn introspect(form: &[u8]) -> Vec<u8> {
    let form = std::str::from_utf8(form).unwrap_or_default();
    let token = form.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
    let answer = match subject_of(token) {
        Some(subject) => format!(
            r#"{{"active":true,"sub":"user-{subject}","client_id":"bench","scope":"things:read","token_type":"Bearer","exp":{EXPIRY}}}"#
        ),
        None => r#"{"active":false}"#.into(),
    };
    ok("application/json", answer)
}

/// Tokens look like UUIDs; active are those whose last group is a decimal number and whose other groups are these.
fn subject_of(token: &str) -> Option<u64> {
    let number = token.strip_prefix("5eed0000-0000-4000-8000-").filter(|number| number.len() == 12)?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?
}

fn ok(content_type: &str, body: impl Display) -> Vec<u8> {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

const UNAUTHORIZED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
/// `exp` of every active token: the year 2100.
const EXPIRY: u64 = 4_102_444_800;
