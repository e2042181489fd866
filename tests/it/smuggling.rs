//! Messages that two readers could cut differently: none of them gets through, and nothing in them becomes a request.

use crate::support::{Answer, Client, Gateway, Silence, Upstream, assert_dressed, upstream};

fn gateway(app: &Upstream) -> Gateway {
    let route = "[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n";
    Gateway::start(&(upstream("app", &[app.address], "") + route))
}

/// What an attacker would like to see arrive.
const PRIZE: &str = "GET /public/smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

/// A POST with these field lines and this body, and the prize behind it.
fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /public/x HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}{PRIZE}").into_bytes()
}

/// Field lines of a POST with five bytes of body.
const LENGTHS: &[(&str, &str)] = &[
    ("two lengths", "Content-Length: 5\r\nContent-Length: 0\r\n"),
    ("the same length twice", "Content-Length: 5\r\nContent-Length: 5\r\n"),
    ("a list of lengths", "Content-Length: 5, 5\r\n"),
    ("a signed length", "Content-Length: +5\r\n"),
    ("a negative length", "Content-Length: -5\r\n"),
    ("a hexadecimal length", "Content-Length: 0x5\r\n"),
    ("a length with a leading zero", "Content-Length: 05\r\n"),
    ("an empty length", "Content-Length:\r\n"),
    ("a length with a space", "Content-Length: 5 5\r\n"),
    ("a length beyond all numbers", "Content-Length: 18446744073709551621\r\n"),
    ("a length with a decimal", "Content-Length: 5.0\r\n"),
    ("underscored length", "Content_Length: 5\r\n"),
    ("dotted length", "Content.Length: 5\r\n"),
    ("space before the colon", "Content-Length : 5\r\n"),
    ("tab before the colon", "Content-Length\t: 5\r\n"),
    ("folded length", "Content-Length:\r\n 5\r\n"),
    ("an expectation twice", "Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n"),
    ("an upgrade with a body", "Content-Length: 5\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
    ("a connection that names the length", "Content-Length: 5\r\nConnection: Content-Length\r\n"),
];

/// Field lines of a POST with a chunked body.
const CODINGS: &[(&str, &str)] = &[
    ("length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ("chunks and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    ("coding in a list", "Transfer-Encoding: gzip, chunked\r\n"),
    ("chunked twice", "Transfer-Encoding: chunked, chunked\r\n"),
    ("two coding fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ("chunked then identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    ("identity", "Transfer-Encoding: identity\r\n"),
    ("an unknown coding", "Transfer-Encoding: xchunked\r\n"),
    ("a quoted coding", "Transfer-Encoding: \"chunked\"\r\n"),
    ("a coding with a parameter", "Transfer-Encoding: chunked;q=1\r\n"),
    ("an empty coding", "Transfer-Encoding:\r\n"),
    ("a trailing comma", "Transfer-Encoding: chunked,\r\n"),
    ("a vertical tab", "Transfer-Encoding:\u{b}chunked\r\n"),
    ("a folded coding", "Transfer-Encoding:\r\n chunked\r\n"),
    ("space before the coding's colon", "Transfer-Encoding : chunked\r\n"),
    ("underscored coding", "Transfer_Encoding: chunked\r\n"),
    ("coding with a NUL", "Transfer-Encoding: chunked\0\r\n"),
    ("a name that begins with a space", " Transfer-Encoding: chunked\r\n"),
    ("a bare LF before the coding", "X: y\nTransfer-Encoding: chunked\r\n"),
    ("a bare CR before the coding", "X: y\rTransfer-Encoding: chunked\r\n"),
    ("an upgrade with chunks", "Transfer-Encoding: chunked\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
    ("a connection that names the coding", "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n"),
];

/// Field lines of a GET.
const FIELDS: &[(&str, &str)] = &[
    ("a folded field", "Host: h\r\nX: a\r\n b\r\n"),
    ("a NUL in a value", "Host: h\r\nX: a\0b\r\n"),
    ("a NUL in a name", "Host: h\r\nX\0: a\r\n"),
    ("a bare CR in a value", "Host: h\r\nX: a\rb\r\n"),
    ("a bare LF ends a field", "Host: h\nX: a\r\n"),
    ("a field without a name", "Host: h\r\n: a\r\n"),
    ("a field without a colon", "Host: h\r\nX\r\n"),
    ("a name with a space", "Host: h\r\nX Y: a\r\n"),
    ("a name outside ASCII", "Host: h\r\nXä: a\r\n"),
    ("no host", ""),
    ("an empty host", "Host:\r\n"),
    ("two hosts", "Host: h\r\nHost: h\r\n"),
    ("two hosts in one", "Host: h, g\r\n"),
    ("a host with a user", "Host: me@h\r\n"),
    ("a host with a path", "Host: h/admin\r\n"),
    ("a host with a query", "Host: h?x\r\n"),
    ("a host with a fragment", "Host: h#x\r\n"),
    ("a host with a space", "Host: h g\r\n"),
    ("a host with an odd port", "Host: h:80:80\r\n"),
    ("a host with a port of words", "Host: h:x\r\n"),
    ("an unknown expectation", "Host: h\r\nExpect: magic\r\n"),
];

/// Request lines.
const LINES: &[(&str, &str)] = &[
    ("an absolute target", "GET http://other.example/public/x HTTP/1.1"),
    ("an authority as target", "GET other.example:80 HTTP/1.1"),
    ("an asterisk as target", "GET * HTTP/1.1"),
    ("a target without a slash", "GET public/x HTTP/1.1"),
    ("a target with a fragment", "GET /public/x#y HTTP/1.1"),
    ("a target with a space", "GET /public/x y HTTP/1.1"),
    ("a target outside ASCII", "GET /public/ä HTTP/1.1"),
    ("a target with a tab", "GET /public/\tx HTTP/1.1"),
    ("two spaces", "GET  /public/x HTTP/1.1"),
    ("a tab for a space", "GET\t/public/x HTTP/1.1"),
    ("a space before the method", " GET /public/x HTTP/1.1"),
    ("a space after the version", "GET /public/x HTTP/1.1 "),
    ("no version", "GET /public/x"),
    ("a version of one digit", "GET /public/x HTTP/1"),
    ("a lower-case version", "GET /public/x http/1.1"),
    ("an unknown version", "GET /public/x HTTP/1.2"),
    ("a later version", "GET /public/x HTTP/2.0"),
    ("a method that is no token", "GE(T /public/x HTTP/1.1"),
    ("an empty method", " /public/x HTTP/1.1"),
];

/// Heads that must be refused before anything of them goes upstream. The prize stands behind each.
fn ambiguous_heads() -> Vec<(&'static str, Vec<u8>)> {
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    let old = format!("POST /public/x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{PRIZE}");
    let folded = format!("GET /public/x HTTP/1.1\r\n Host: h\r\nHost: h\r\n\r\n{PRIZE}");
    let bare = format!("GET /public/x HTTP/1.1\r\nHost: h\r\n\n{PRIZE}");
    let mut heads = vec![
        ("chunks in HTTP/1.0", old.into_bytes()),
        ("a fold before the first field", folded.into_bytes()),
        ("a bare LF ends the head", bare.into_bytes()),
    ];
    heads.extend(LENGTHS.iter().map(|(what, fields)| (*what, post(fields, "hello"))));
    heads.extend(CODINGS.iter().map(|(what, fields)| (*what, post(fields, chunks))));
    let get = |fields: &str| format!("GET /public/x HTTP/1.1\r\n{fields}\r\n{PRIZE}").into_bytes();
    heads.extend(FIELDS.iter().map(|(what, fields)| (*what, get(fields))));
    let with = |line: &str| format!("{line}\r\nHost: h\r\n\r\n{PRIZE}").into_bytes();
    heads.extend(LINES.iter().map(|(what, line)| (*what, with(line))));
    heads
}

/// Bodies that begin well and break off in the middle.
fn broken_chunks() -> Vec<(&'static str, String)> {
    let whole = |body: &str| body.to_owned();
    vec![
        ("an extension", whole("5;x=y\r\nhello\r\n0\r\n\r\n")),
        ("an empty extension", whole("5;\r\nhello\r\n0\r\n\r\n")),
        ("an extension with a line end", whole("5;x=\"\n\"\r\nhello\r\n0\r\n\r\n")),
        ("a space after the size", whole("5 \r\nhello\r\n0\r\n\r\n")),
        ("a space before the size", whole(" 5\r\nhello\r\n0\r\n\r\n")),
        ("a signed size", whole("+5\r\nhello\r\n0\r\n\r\n")),
        ("a prefixed size", whole("0x5\r\nhello\r\n0\r\n\r\n")),
        ("an empty size", whole("\r\nhello\r\n0\r\n\r\n")),
        ("no digit", whole("g\r\nhello\r\n0\r\n\r\n")),
        ("an underscored size", whole("0_5\r\nhello\r\n0\r\n\r\n")),
        ("a size beyond all numbers", whole("10000000000000005\r\nhello\r\n0\r\n\r\n")),
        ("a bare LF after the size", whole("5\nhello\r\n0\r\n\r\n")),
        ("a bare CR after the size", whole("5\rhello\r\n0\r\n\r\n")),
        ("a bare LF after the data", whole("5\r\nhello\n0\r\n\r\n")),
        ("nothing after the data", whole("5\r\nhello0\r\n\r\n")),
        ("more data than said", whole("3\r\nhello\r\n0\r\n\r\n")),
        ("a bare LF at the end", whole("5\r\nhello\r\n0\r\n\n")),
        ("a trailer", whole("5\r\nhello\r\n0\r\nX-Auth-Subject: admin\r\n\r\n")),
        ("a trailer that frames", whole("5\r\nhello\r\n0\r\nContent-Length: 0\r\n\r\n")),
        ("a trailer that is a request", format!("5\r\nhello\r\n0\r\n{PRIZE}")),
    ]
}

#[test]
fn an_ambiguous_head_is_refused_and_nothing_of_it_goes_upstream() {
    let app = Upstream::answering(Answer::ok("fine"));
    let gateway = gateway(&app);
    for (what, bytes) in ambiguous_heads() {
        let mut client = Client::connect(gateway.address);
        client.send(&bytes);
        let response = client.try_receive("GET").unwrap_or_else(|silence| panic!("{what}: {silence:?}"));
        assert_eq!(response.status, 400, "{what}: {response:#?}");
        assert_dressed(&response, what);
        assert!(client.closed_in_silence(), "{what}: what follows must not be taken for a request");
        assert_eq!(app.connections(), 0, "{what}: {}", String::from_utf8_lossy(&app.bytes()));
    }
}

#[test]
fn a_chunked_body_that_breaks_is_refused_and_no_request_ends_or_begins_in_it() {
    let app = Upstream::answering(Answer::ok("fine"));
    let gateway = gateway(&app);
    for (what, body) in broken_chunks() {
        let mut client = Client::connect(gateway.address);
        client.send(post("Transfer-Encoding: chunked\r\n", &body));
        match client.try_receive("POST") {
            Ok(response) => {
                assert_eq!(response.status, 400, "{what}: {response:#?}");
                assert_dressed(&response, what);
            }
            Err(silence) => assert_eq!(silence, Silence::Closed, "{what}"),
        }
        assert!(client.closed_in_silence(), "{what}: what follows must not be taken for a request");
        assert_eq!(app.count(), 0, "{what}: {}", String::from_utf8_lossy(&app.bytes()));
    }
    assert!(!String::from_utf8_lossy(&app.bytes()).contains("smuggled"));
    assert!(!String::from_utf8_lossy(&app.bytes()).contains("admin"));
}

#[test]
fn a_broken_body_is_found_wherever_the_bytes_are_cut() {
    let app = Upstream::answering(Answer::ok("fine"));
    let gateway = gateway(&app);
    let bytes = post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX: y\r\n\r\n");
    for cut in 1..bytes.len() {
        let mut client = Client::connect(gateway.address);
        client.offer(&bytes[..cut]);
        client.offer(&bytes[cut..]);
        if let Ok(response) = client.try_receive("POST") {
            assert_eq!(response.status, 400, "cut at {cut}: {response:#?}");
        }
    }
    assert_eq!(app.count(), 0);
}

#[test]
fn good_messages_pass_wherever_the_bytes_are_cut() {
    let app = Upstream::scripted(|request| Answer::ok(&request.body));
    let gateway = gateway(&app);
    let chunked =
        "POST /public/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let sized = "POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world";
    for message in [chunked, sized] {
        for cut in 1..message.len() {
            let mut client = Client::connect(gateway.address);
            client.send(&message[..cut]);
            client.send(&message[cut..]);
            let response = client.receive();
            assert_eq!((response.status, response.text()), (200, "hello world"), "cut at {cut}");
        }
    }
}

#[test]
fn the_upstream_gets_a_message_that_can_be_read_in_one_way_only() {
    let app = Upstream::scripted(|request| Answer::ok(&request.body));
    let gateway = gateway(&app);
    let mut client = Client::connect(gateway.address);
    client.send(
        "POST /public/%78?q=1 HTTP/1.1\r\nhOsT: h\r\ntRANSFER-eNCODING: Chunked\r\nX-Odd:\t a  b \t\r\nX_Under: 1\r\n\
         Keep-Alive: timeout=5\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    assert_eq!(client.receive().text(), "hello");
    let seen = app.last();
    assert_eq!((&*seen.method, &*seen.target), ("POST", "/public/x?q=1"));
    assert_eq!(seen.only("Host"), "h");
    let framing = seen.values("Content-Length").len() + seen.values("Transfer-Encoding").len();
    assert_eq!(framing, 1, "{seen:#?}");
    assert_eq!(seen.only("X-Odd"), "a  b");
    for gone in ["X_Under", "Keep-Alive", "TE", "Proxy-Connection", "Trailer"] {
        assert!(seen.values(gone).is_empty(), "{gone}: {seen:#?}");
    }
    let bytes = String::from_utf8(app.bytes()).unwrap();
    assert!(bytes.split("\r\n").all(|line| !line.contains(['\r', '\n', '\0'])), "{bytes:?}");
}
