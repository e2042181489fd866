//! Messages with random damage, the same on every run: whatever comes in, what goes out on either side is well-formed.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use crate::support::{
    Answer, Client, Gateway, Request, Response, Silence, THE_TWELVE, Upstream, issuer, unused_address, upstream,
};

/// Pieces that readers of HTTP have disagreed about.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b"\x0c",
    b"\x7f",
    b"\x80",
    b"\xff",
    b":",
    b"::",
    b",",
    b";",
    b"/",
    b"//",
    b"\\",
    b"..",
    b"%2e",
    b"%2f",
    b"%5c",
    b"%00",
    b"%25",
    b"%",
    b"#",
    b"?",
    b"@",
    b"<",
    b">",
    b"\"",
    b"'",
    b"`",
    b"{",
    b"}",
    b"|",
    b"^",
    b"[",
    b"]",
    b"\xc3\xa4",
    b"chunked",
    b"gzip",
    b"identity",
    b"0",
    b"+1",
    b"-1",
    b"0x1",
    b"00",
    b"99999999999999999999",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"\r\nContent-Length: 0",
    b"\r\nContent-Length: 3",
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nTransfer-Encoding:\x0bchunked",
    b"\r\nConnection: close",
    b"\r\nConnection: x-auth-subject",
    b"\r\nHost: evil.example",
    b"\r\nExpect: 100-continue",
    b"\r\nUpgrade: websocket",
    b"\r\nX-Auth-Subject: root",
    b"\r\nx_auth_subject: root",
    b"\r\n folded",
    b"0\r\n\r\n",
    b"\r\n\r\n",
    b"GET /admin HTTP/1.1\r\nHost: h\r\n\r\n",
    b"../admin",
    b"..%2fadmin",
    b";/../admin",
    b"\r\nTrailer: x-auth-subject",
];

/// A small generator (xorshift64*): the point is that every run has the same cases.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }

    /// One to three pieces of damage.
    fn damage(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..=self.below(3) {
            let (at, piece) = (self.below(bytes.len() + 1), PIECES[self.below(PIECES.len())]);
            let end = (at + self.below(6)).min(bytes.len());
            match self.below(4) {
                0 => bytes.splice(at..end, []).for_each(drop),
                1 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
                2 => bytes.splice(at..at, piece.iter().copied()).for_each(drop),
                _ => bytes.splice(at..end, piece.iter().copied()).for_each(drop),
            }
        }
        bytes
    }
}

fn is_dressed(response: &Response) -> bool {
    THE_TWELVE.iter().all(|(name, value)| response.values(name) == [*value]) && response.values("Server").is_empty()
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    let first: Vec<&String> = wrong.iter().take(12).collect();
    assert!(wrong.is_empty(), "{} cases, the first of them: {first:#?}", wrong.len());
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn a_damaged_request_is_answered_in_our_words_or_forwarded_in_one_reading() {
    let app = Upstream::answering(Answer::ok("fine"));
    let routes = "[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n\
        [[route]]\npath = \"/admin/**\"\nupstream = \"app\"\naccess = { bearer = { issuers = [\"main\"] } }\n";
    // Nobody is there to vouch for any token, so nothing below /admin may ever arrive.
    let issuer = issuer("main", unused_address(), "");
    let gateway = Gateway::start(
        &("[guard]\nhead_deadline = \"100ms\"\nbody_idle = \"100ms\"\n".to_owned()
            + &upstream("app", &[app.address], "")
            + &issuer
            + routes),
    );
    let good: &[&[u8]] = &[
        b"GET /public/a/b?c=d HTTP/1.1\r\nHost: h\r\nX-Some: thing\r\n\r\n",
        b"POST /public/a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-Some: thing\r\n\r\nhello",
        b"POST /public/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET /admin/a HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\nGET /public/b HTTP/1.1\r\nHost: h\r\n\r\n",
    ];
    let (mut chance, mut wrong) = (Chance(0x5EED), Vec::new());
    for case in 0..4000 {
        let bytes = chance.damage(good[case % good.len()]);
        let mut client = Client::connect(gateway.address);
        client.offer(&bytes);
        client.hang_up();
        loop {
            match client.try_receive("POST") {
                Ok(response) if is_dressed(&response) => {}
                Ok(response) => wrong.push(format!("{case}: {} undressed to {}", response.status, shown(&bytes))),
                Err(Silence::Closed) => break,
                Err(silence) => {
                    wrong.push(format!("{case}: {silence:?} to {}", shown(&bytes)));
                    break;
                }
            }
        }
    }
    assert_none(&wrong);
    let requests = app.requests();
    assert!(requests.len() > 400, "most damage is harmless enough to show something: {}", requests.len());
    for request in &requests {
        assert!(request.target.starts_with("/public") && !request.target.contains("admin"), "{request:#?}");
        let path = request.target.split('?').next().unwrap();
        assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{request:#?}");
        assert!(!format!("{request:?}").contains("root"), "{request:#?}");
        assert!(request.values("Content-Length").len() + request.values("Transfer-Encoding").len() <= 1, "{request:#?}");
        assert_eq!(request.values("Host").len(), 1, "{request:#?}");
    }
}

#[test]
fn a_damaged_answer_never_reaches_a_client_as_it_is_nor_the_next_request() {
    let damaged = Arc::new(Mutex::new(Vec::new()));
    let next = Arc::clone(&damaged);
    let app = Upstream::by_hand(move |mut stream, _| {
        let (mut text, mut bytes) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            text.extend(&bytes[..count]);
            if !text.ends_with(b"\r\n\r\n") {
                continue;
            }
            let poison = text.windows(7).any(|window| window == b"/poison");
            text.clear();
            let answer = if poison {
                next.lock().unwrap().clone()
            } else {
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine".to_vec()
            };
            // Hanging up after damage spares everybody the wait for bytes that never come.
            if stream.write_all(&answer).is_err() || poison {
                return;
            }
        }
    });
    // The upstream hangs up after damage, and the next request may still find the kept connection: that is what retries are for.
    let text = upstream("app", &[app.address], "retries = 2")
        + "[server]\nthreads = 1\n[[route]]\npath = \"/**\"\nupstream = \"app\"\naccess = \"public\"\n";
    let gateway = Gateway::start(&text);
    let good: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: secret\r\nX-Some: thing\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Frame-Options: x\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: null\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ];
    let (mut chance, mut wrong) = (Chance(0xA45_3E5), Vec::new());
    for case in 0..2000 {
        let bytes = chance.damage(good[case % good.len()]);
        damaged.lock().unwrap().clone_from(&bytes);
        let mut client = Client::connect(gateway.address);
        client.send(Request::get("/poison").bytes());
        match client.try_receive("GET") {
            Ok(response) if is_dressed(&response) => {}
            Ok(response) => wrong.push(format!("{case}: {} undressed after {}", response.status, shown(&bytes))),
            // A body that breaks off must be seen to break off; a head must not.
            Err(Silence::Broken(what)) if what.starts_with("closed in the middle") => {}
            Err(silence) => wrong.push(format!("{case}: {silence:?} after {}", shown(&bytes))),
        }
        let after = gateway.ask(&Request::get("/next"));
        if (after.status, after.text()) != (200, "fine") {
            wrong.push(format!("{case}: the next request got {after:?} after {}", shown(&bytes)));
        }
    }
    assert_none(&wrong);
}
