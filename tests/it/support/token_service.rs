//! A scripted token service that answers introspection (RFC 7662), well or badly.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, PATIENCE, Received, Upstream};

/// A token service on a port of its own.
#[derive(Debug)]
pub(crate) struct TokenService {
    server: Upstream,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    tokens: Mutex<HashMap<String, Value>>,
    latency: Mutex<Duration>,
    /// Answered to everything instead of the truth.
    instead: Mutex<Option<Answer>>,
    holding: Mutex<Holding>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Holding {
    /// How many of the coming answers are to be held back.
    wanted: usize,
    /// How many are held back.
    held: usize,
    /// Rises each time those that are held back may go.
    releases: usize,
}

impl TokenService {
    /// A service that knows no token.
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    /// The same, at this address.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let server = Upstream::scripted_at(address, move |request| shared.introspect(request));
        Self { server, state }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Makes a token active, with these claims beside `active`.
    pub(crate) fn issue(&self, token: &str, claims: &Value) {
        let mut answer = claims.clone();
        answer["active"] = json!(true);
        self.state.tokens.lock().unwrap().insert(token.to_owned(), answer);
    }

    /// Makes a token inactive.
    pub(crate) fn revoke(&self, token: &str) {
        self.state.tokens.lock().unwrap().remove(token);
    }

    /// Something that makes a token inactive, for another server's script.
    pub(crate) fn revoker(&self) -> impl Fn(&str) + Send + Sync + 'static + use<> {
        let state = Arc::clone(&self.state);
        move |token| drop(state.tokens.lock().unwrap().remove(token))
    }

    /// From now on every answer takes this long.
    pub(crate) fn take(&self, latency: Duration) {
        *self.state.latency.lock().unwrap() = latency;
    }

    /// From now on everything is answered like this.
    pub(crate) fn answer_everything(&self, answer: Answer) {
        *self.state.instead.lock().unwrap() = Some(answer);
    }

    /// From now on the truth is told again, at once.
    pub(crate) fn recover(&self) {
        *self.state.instead.lock().unwrap() = None;
        *self.state.latency.lock().unwrap() = Duration::ZERO;
        self.release();
    }

    /// Holds back the next so many answers. What they say is settled when the question comes, not when they go.
    pub(crate) fn hold(&self, answers: usize) {
        self.state.holding.lock().unwrap().wanted = answers;
    }

    /// Waits until so many answers are held back.
    pub(crate) fn await_held(&self, answers: usize) {
        let holding = self.state.holding.lock().unwrap();
        let waited = self.state.changed.wait_timeout_while(holding, PATIENCE, |holding| holding.held < answers).unwrap();
        assert!(!waited.1.timed_out(), "the token service was not asked");
    }

    /// Lets go what is held back.
    pub(crate) fn release(&self) {
        self.state.holding.lock().unwrap().releases += 1;
        self.state.changed.notify_all();
    }

    /// How often it was asked.
    pub(crate) fn calls(&self) -> usize {
        self.server.count()
    }

    /// The latest question.
    #[track_caller]
    pub(crate) fn last(&self) -> Received {
        self.server.last()
    }
}

impl State {
    fn introspect(&self, request: &Received) -> Answer {
        let body = std::str::from_utf8(&request.body).unwrap_or_default();
        let token = body.split('&').find_map(|pair| pair.strip_prefix("token=")).map(decode).unwrap_or_default();
        let truth = self.tokens.lock().unwrap().get(&token).cloned().unwrap_or(json!({ "active": false }));
        let answer = Answer::new(200, &[("Content-Type", "application/json")], truth.to_string());
        let answer = self.instead.lock().unwrap().clone().unwrap_or(answer);
        self.hold_back();
        let latency = *self.latency.lock().unwrap();
        thread::sleep(latency);
        answer
    }

    fn hold_back(&self) {
        let mut holding = self.holding.lock().unwrap();
        if holding.wanted == 0 {
            return;
        }
        holding.wanted -= 1;
        holding.held += 1;
        self.changed.notify_all();
        let seen = holding.releases;
        let (mut holding, _) = self.changed.wait_timeout_while(holding, PATIENCE, |holding| holding.releases == seen).unwrap();
        holding.held -= 1;
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()));
        if let Some(byte) = escaped.flatten() {
            out.push(byte);
            at += 3;
        } else {
            out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
