//! A scripted server: records exactly what reached it and answers exactly as the test says.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::PATIENCE;

/// A server on a port of its own; it stops accepting when dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Mutex<Vec<Received>>,
    bytes: Mutex<Vec<u8>>,
    connections: AtomicUsize,
    stopped: AtomicBool,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Its method.
    pub(crate) method: String,
    /// Its target.
    pub(crate) target: String,
    /// Its fields, in order, as spelt on the wire.
    pub(crate) fields: Vec<(String, String)>,
    /// Its body, without chunks.
    pub(crate) body: Vec<u8>,
    /// The number of the connection that it came on, from 0.
    pub(crate) connection: usize,
}

/// What is sent back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    bytes: Vec<u8>,
    closes: bool,
}

impl Answer {
    /// A status, with fields and a body; its length is added.
    pub(crate) fn new(status: u16, fields: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
        for (name, value) in fields {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        if status != 204 && status != 304 {
            write!(head, "Content-Length: {}\r\n", body.as_ref().len()).unwrap();
        }
        Self::raw([head.as_bytes(), b"\r\n", body.as_ref()].concat())
    }

    /// 200 with a body.
    pub(crate) fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, &[], body)
    }

    /// Exactly these bytes.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), closes: false }
    }

    /// The same, after which the connection is closed.
    pub(crate) fn and_close(mut self) -> Self {
        self.closes = true;
        self
    }
}

impl Received {
    /// The values of every field of this name.
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
}

impl Upstream {
    /// Answers every request like this.
    pub(crate) fn answering(answer: Answer) -> Self {
        Self::scripted(move |_| answer.clone())
    }

    /// Answers every request by a script, which may take its time.
    pub(crate) fn scripted(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::scripted_at("127.0.0.1:0".parse().unwrap(), script)
    }

    /// The same, at this address.
    pub(crate) fn scripted_at(address: SocketAddr, script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::accepting(address, move |stream, connection, seen| converse(stream, connection, seen, &script))
    }

    /// Leaves each connection to the script, which is told its number, from 0. Nothing is recorded but that it came.
    pub(crate) fn by_hand(script: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        Self::accepting("127.0.0.1:0".parse().unwrap(), move |stream, connection, _| script(stream, connection))
    }

    fn accepting(address: SocketAddr, serve: impl Fn(TcpStream, usize, &Seen) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let (address, seen, serve) = (listener.local_addr().unwrap(), Arc::<Seen>::default(), Arc::new(serve));
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_nodelay(true);
                let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
                let (serve, seen) = (Arc::clone(&serve), Arc::clone(&shared));
                thread::spawn(move || serve(stream, connection, &seen));
            }
        });
        Self { address, seen }
    }

    /// Every request so far, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// How many requests there were.
    pub(crate) fn count(&self) -> usize {
        self.seen.requests.lock().unwrap().len()
    }

    /// The latest request.
    #[track_caller]
    pub(crate) fn last(&self) -> Received {
        self.seen.requests.lock().unwrap().last().expect("a request has arrived").clone()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Every byte that arrived, whether it was part of a request or not.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.bytes.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.seen.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Reads one request after the other and answers each. Ends when either side does, and on bytes that are no request.
fn converse(mut stream: TcpStream, connection: usize, seen: &Seen, script: &dyn Fn(&Received) -> Answer) {
    let mut wire = Wire { stream: stream.try_clone().unwrap(), inbox: Vec::new(), seen };
    while let Some(request) = wire.request(connection) {
        seen.requests.lock().unwrap().push(request.clone());
        let answer = script(&request);
        if seen.stopped.load(Ordering::SeqCst) || stream.write_all(&answer.bytes).is_err() || answer.closes {
            return;
        }
    }
}

struct Wire<'s> {
    stream: TcpStream,
    inbox: Vec<u8>,
    seen: &'s Seen,
}

impl Wire<'_> {
    fn request(&mut self, connection: usize) -> Option<Received> {
        let head = self.through(b"\r\n\r\n")?;
        let head = String::from_utf8(head).ok()?;
        let mut lines = head.trim_end().split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut request = Received { method, target, fields, body: Vec::new(), connection };
        if !request.values("Expect").is_empty() {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        if request.values("Transfer-Encoding") == ["chunked"] {
            request.body = self.chunks()?;
        } else if let [length] = request.values("Content-Length").as_slice() {
            let length = length.parse().ok()?;
            request.body = self.take(length)?;
        }
        Some(request)
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = self.through(b"\r\n")?;
            let size = usize::from_str_radix(std::str::from_utf8(&size).ok()?.trim_end(), 16).ok()?;
            body.extend(self.take(size)?);
            if self.through(b"\r\n")? != b"\r\n" {
                return None;
            }
            if size == 0 {
                return Some(body);
            }
        }
    }

    fn through(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.inbox.windows(end.len()).position(|window| window == end) {
                return Some(self.inbox.drain(..at + end.len()).collect());
            }
            self.more()?;
        }
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.inbox.len() < count {
            self.more()?;
        }
        Some(self.inbox.drain(..count).collect())
    }

    fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 16 * 1024];
        self.stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let count = self.stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
        self.inbox.extend(&bytes[..count]);
        self.seen.bytes.lock().unwrap().extend(&bytes[..count]);
        Some(())
    }
}
