//! A raw HTTP/1.1 client: sends exactly the bytes it is given, shows exactly the fields that come back.
//!
//! It knows no pool, no redirect and no leniency: a response that breaks RFC 9112 fails the test.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use crate::support::PATIENCE;

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    inbox: Vec<u8>,
}

/// A response as it came.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Response {
    /// Its status.
    pub(crate) status: u16,
    /// Its fields, in order, as they are spelt on the wire.
    pub(crate) fields: Vec<(String, String)>,
    /// Its body, without chunks.
    pub(crate) body: Vec<u8>,
    /// The interim statuses (1xx) that came before it.
    pub(crate) interim: Vec<u16>,
}

/// Why there is no response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Silence {
    /// The connection was closed before a byte of it came.
    Closed,
    /// What came is no response, or ended in the middle of one.
    Broken(String),
}

impl Client {
    /// Connects.
    #[track_caller]
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap_or_else(|error| panic!("connect to {to}: {error}"));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, inbox: Vec::new() }
    }

    /// Sends these bytes.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server reads on");
    }

    /// Sends these bytes to a server that may have stopped reading; whether it took them.
    pub(crate) fn offer(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn hang_up(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next response, after any interim ones.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Response {
        self.try_receive("GET").unwrap_or_else(|silence| panic!("no response: {silence:?}"))
    }

    /// The next response, if one comes, to a request by this method.
    pub(crate) fn try_receive(&mut self, method: &str) -> Result<Response, Silence> {
        let mut interim = Vec::new();
        loop {
            let mut response = self.next(method)?;
            if matches!(response.status, 100 | 102..=199) {
                interim.push(response.status);
                continue;
            }
            response.interim = interim;
            return Ok(response);
        }
    }

    /// The next piece of a body, as it comes from the wire; `None` at the end of the stream.
    pub(crate) fn receive_some(&mut self) -> Option<Vec<u8>> {
        if self.inbox.is_empty() && !self.read_more().ok()? {
            return None;
        }
        Some(std::mem::take(&mut self.inbox))
    }

    /// The next head alone; what follows it is left to [`Self::receive_some`].
    #[track_caller]
    pub(crate) fn receive_head(&mut self) -> Response {
        self.head().unwrap_or_else(|silence| panic!("no head: {silence:?}"))
    }

    /// Waits until the server closes the connection; whether it said nothing more before that.
    pub(crate) fn closed_in_silence(&mut self) -> bool {
        while matches!(self.read_more(), Ok(true)) {}
        self.inbox.is_empty()
    }

    fn next(&mut self, method: &str) -> Result<Response, Silence> {
        let mut response = self.head()?;
        let bodiless = method == "HEAD" || response.status < 200 || matches!(response.status, 204 | 304);
        let (length, coding) = (response.values("Content-Length"), response.values("Transfer-Encoding"));
        response.body = match (bodiless, coding.as_slice(), length.as_slice()) {
            (true, ..) => Vec::new(),
            (_, ["chunked"], []) => self.chunks()?,
            (_, [], [length]) => self.take(length.parse().map_err(|_| broken("Content-Length", length))?)?,
            (_, [], []) => self.rest()?,
            _ => return Err(Silence::Broken(format!("framed in more than one way: {response:?}"))),
        };
        Ok(response)
    }

    fn head(&mut self) -> Result<Response, Silence> {
        let end = loop {
            if let Some(at) = self.inbox.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more()? {
                let nothing = self.inbox.is_empty();
                return Err(if nothing {
                    Silence::Closed
                } else {
                    broken("cut off head", &String::from_utf8_lossy(&self.inbox))
                });
            }
        };
        let head = self.take(end)?;
        // One character for each byte: values may hold bytes that are no UTF-8 (`obs-text`, RFC 9110 section 5.5).
        let head: String = head.into_iter().map(char::from).collect();
        parse_head(&head).ok_or_else(|| broken("no head of HTTP/1.1", &head))
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Silence> {
        let mut body = Vec::new();
        loop {
            let size = self.line()?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| broken("chunk size", &size))?;
            body.extend(self.take(size)?);
            let end = self.line()?;
            if !end.is_empty() {
                return Err(broken("bytes after a chunk, or a trailer", &end));
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> Result<String, Silence> {
        loop {
            if let Some(at) = self.inbox.windows(2).position(|window| window == b"\r\n") {
                let line = self.take(at + 2)?;
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.more("a line")?;
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Silence> {
        while self.inbox.len() < count {
            self.more("a body")?;
        }
        Ok(self.inbox.drain(..count).collect())
    }

    fn rest(&mut self) -> Result<Vec<u8>, Silence> {
        while self.read_more()? {}
        Ok(std::mem::take(&mut self.inbox))
    }

    fn more(&mut self, of: &str) -> Result<(), Silence> {
        if self.read_more()? { Ok(()) } else { Err(Silence::Broken(format!("closed in the middle of {of}"))) }
    }

    /// Reads once; false is the end of the stream. A reset is an end too: the peer had unread bytes when it closed.
    fn read_more(&mut self) -> Result<bool, Silence> {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(count) => {
                self.inbox.extend(&bytes[..count]);
                Ok(count > 0)
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(false),
            Err(error) => Err(Silence::Broken(format!("nothing came: {error}"))),
        }
    }
}

fn broken(what: &str, text: &str) -> Silence {
    Silence::Broken(format!("{what}: {text:?}"))
}

/// Reads a head strictly: CRLF, one status line, `name: value` fields.
fn parse_head(head: &str) -> Option<Response> {
    let mut lines = head.strip_suffix("\r\n\r\n")?.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?;
    let status = status.get(..3)?.parse().ok()?;
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) || value.contains(['\r', '\n', '\0']) {
            return None;
        }
        fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    Some(Response { status, fields, body: Vec::new(), interim: Vec::new() })
}

impl Response {
    /// The values of every field of this name, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(held, _)| held.eq_ignore_ascii_case(name)).map(|(_, value)| &**value).collect()
    }

    /// The value of the only field of this name.
    #[track_caller]
    pub(crate) fn only(&self, name: &str) -> &str {
        match self.values(name).as_slice() {
            [value] => value,
            other => panic!("{name} is there {} times in {self:#?}", other.len()),
        }
    }

    /// The body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of UTF-8")
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Whether the server will close the connection after it.
    pub(crate) fn closes(&self) -> bool {
        self.values("Connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        let body = if body.len() > 2000 { format!("({} bytes)", self.body.len()) } else { body.into_owned() };
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("fields", &self.fields)
            .field("body", &body)
            .field("interim", &self.interim)
            .finish()
    }
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// A request by this method for this target, with a Host.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            head: format!("{method} {target} HTTP/1.1\r\nHost: gateway.test\r\n"),
            body: Vec::new(),
        }
    }

    /// A GET.
    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Names and values as a query or a form has them, percent-encoded here.
    pub(crate) fn query(fields: &[(&str, &str)]) -> String {
        let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        pairs.join("&")
    }

    /// A POST of a form; names and values are percent-encoded here.
    pub(crate) fn form(target: &str, fields: &[(&str, &str)]) -> Self {
        Self::post(target, "application/x-www-form-urlencoded", Self::query(fields))
    }

    /// A POST of JSON.
    pub(crate) fn json(target: &str, value: &Value) -> Self {
        Self::post(target, "application/json", value.to_string())
    }

    /// A POST of this body.
    pub(crate) fn post(target: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).field("Content-Type", content_type).body(body)
    }

    /// With a field line, spelt like this.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        write!(self.head, "{name}: {value}\r\n").unwrap();
        self
    }

    /// With a Bearer token.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.field("Authorization", &format!("Bearer {token}"))
    }

    /// With a body, and its length.
    pub(crate) fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let mut with = self.field("Content-Length", &body.len().to_string());
        with.body = body;
        with
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), b"\r\n", &self.body].concat()
    }

    /// Sends it on a connection of its own.
    #[track_caller]
    pub(crate) fn to(&self, server: SocketAddr) -> Response {
        let mut client = Client::connect(server);
        client.offer(self.bytes());
        client.try_receive(&self.method).unwrap_or_else(|silence| panic!("no response to {}: {silence:?}", self.head))
    }
}

/// `application/x-www-form-urlencoded`, with everything escaped that is not plain.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").unwrap();
        }
        out
    })
}
