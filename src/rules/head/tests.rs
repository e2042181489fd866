//! One test for each way in which a head is refused, the limits, drops, and no panic on any bytes.

use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { head_bytes: 512, target_bytes: 64, fields: 8 };

fn ask(text: impl AsRef<[u8]>) -> Result<Examined, Denial> {
    examine(text.as_ref(), 0, &LIMITS)
}

/// A GET with these lines after a good request line and Host.
fn with(fields: &str) -> Result<Examined, Denial> {
    ask(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

fn head(text: &str) -> Head {
    match ask(text) {
        Ok(Examined::Complete(head)) => head,
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn a_good_head_tells_its_length_and_that_there_is_no_body() {
    let text = "GET /a?b HTTP/1.1\r\nHost: example.com:80\r\nAccept: */*\r\nX: \t caf\u{e9}\tx\r\nEmpty:\r\n\r\n";
    let plain = Head {
        length: text.len(),
        framing: Framing::None,
        http10: false,
        upgrade: false,
        expects_continue: false,
        closes: false,
        asterisk_options: false,
    };
    assert_eq!(head(text), plain);
    assert_eq!(head(&format!("{text}GET /next")), plain);
    assert_eq!(head(&format!("\r\n{text}")), Head { length: text.len() + 2, ..plain });
}

#[test]
fn a_second_empty_line_before_the_request_is_refused() {
    assert_eq!(ask("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(MALFORMED));
}

#[test]
fn the_framing_is_told() {
    let post = |fields: &str| head(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")).framing;
    assert_eq!(post("content-LENGTH:  12 "), Framing::Length(12));
    assert_eq!(post("Content-Length: 0"), Framing::Length(0));
    assert_eq!(post("Content-Length: 9999999999999999999"), Framing::Length(9_999_999_999_999_999_999));
    assert_eq!(post("Transfer-Encoding: Chunked"), Framing::Chunked);
}

#[test]
fn options_of_the_server_and_http10_without_host_are_recognised() {
    assert!(head("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").asterisk_options);
    assert!(head("GET / HTTP/1.0\r\n\r\n").http10);
    assert!(head("GET / HTTP/1.0\r\nHost:\r\n\r\n").http10);
    assert!(head("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n").upgrade);
    assert!(head("GET / HTTP/1.1\r\nHost: a\r\nConnection: ,Close\r\n\r\n").closes);
}

#[test]
fn only_a_body_that_is_to_come_is_waited_for() {
    let expects =
        |fields: &str| head(&format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n{fields}\r\n")).expects_continue;
    assert!(expects("Content-Length: 1\r\n"));
    assert!(expects("Transfer-Encoding: chunked\r\n"));
    assert!(!expects("Content-Length: 0\r\n"));
    assert!(!expects(""));
    assert!(!head("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").expects_continue);
}

#[test]
fn a_request_line_in_any_other_form_is_refused() {
    for line in [
        "GET /",
        "GET / ",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/3.0",
        "GET / HTTP/0.9",
        "GET / HTTP/11",
        "GET / HTTP/1.10",
        "GET / HTTP/1.1 x",
        "GET /a b HTTP/1.1",
        "G(T / HTTP/1.1",
        "/ HTTP/1.1",
        " / HTTP/1.1",
        "GET * HTTP/1.1",
        "GET a HTTP/1.1",
        "GET ! HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET http://a/ HTTP/1.1",
        "OPTIONS ** HTTP/1.1",
        "GET /caf\u{e9} HTTP/1.1",
        "GET",
        "",
    ] {
        assert_eq!(ask(format!("{line}\r\nHost: a\r\n\r\n")), Err(MALFORMED), "{line}");
    }
    assert_eq!(ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(MALFORMED));
    assert_eq!(ask("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Denial::BadRequest(BadRequest::Path)));
}

#[test]
fn connect_is_a_method_that_no_route_has() {
    assert_eq!(ask("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"), Err(Denial::MethodNotAllowed(Box::default())));
    assert!(ask("brew /pot HTTP/1.1\r\nHost: a\r\n\r\n").is_ok());
}

#[test]
fn line_ends_other_than_crlf_are_refused_before_the_head_is_complete() {
    for text in [
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\rH",
        "GET / HTTP/1.1\r\nHost: a\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET / HTTP/1.1\r\n",
        "\rGET",
    ] {
        assert_eq!(ask(text), Err(MALFORMED), "{text:?}");
    }
}

#[test]
fn what_is_no_http_is_refused_before_it_is_complete() {
    assert_eq!(ask(b"\x16\x03\x01\x02\x00\x01"), Err(MALFORMED));
    assert_eq!(ask("GET /\r\n"), Err(MALFORMED));
    assert_eq!(ask("GET / HTTP/1.1\r\nX: a\0b"), Err(MALFORMED));
}

#[test]
fn fields_that_are_no_field_lines_are_refused() {
    for field in [
        "X",
        ": a",
        "X : a",
        "X\t: a",
        " X: a",
        "\tX: a",
        "X Y: a",
        "X\u{e9}: a",
        "(X): a",
        "X,Y: a",
        "\"X\": a",
        "X/: a",
        "@: a",
    ] {
        assert_eq!(with(&format!("{field}\r\n")), Err(MALFORMED), "{field}");
    }
    for value in ["a\x0bb", "a\x7fb", "a\x01", "a\x1b[0m", "a\0"] {
        assert_eq!(with(&format!("X: {value}\r\n")), Err(MALFORMED), "{value:?}");
    }
    assert_eq!(with("X: a\r\n folded\r\n"), Err(MALFORMED));
    assert_eq!(ask("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), Err(MALFORMED));
}

#[test]
fn exactly_one_good_host_is_needed() {
    for fields in
        ["", "Host:\r\n", "Host: \r\n", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: a, b\r\n", "Host: u@a\r\n"]
    {
        assert_eq!(ask(format!("GET / HTTP/1.1\r\n{fields}\r\n")), Err(BAD_HOST), "{fields:?}");
    }
    for host in ["a b", "a/b", "a?b", "a#b", "a:b", "http://a", "[::1", "a\u{e9}"] {
        assert_eq!(ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), Err(BAD_HOST), "{host}");
    }
    assert_eq!(ask("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), Err(BAD_HOST));
    assert_eq!(ask("GET / HTTP/1.0\r\nHost:\r\nHost: a\r\n\r\n"), Err(BAD_HOST));
}

#[test]
fn a_content_length_that_is_not_one_plain_number_is_refused() {
    for value in
        ["", "+5", "-1", "5, 5", "5,5", "5 5", "0x5", "5.0", "05", "00", "1e3", "5;", "99999999999999999999", "\u{665}", "5\t6"]
    {
        assert_eq!(with(&format!("Content-Length: {value}\r\n")), Err(BAD_FRAMING), "{value}");
    }
    assert_eq!(with("Content-Length: 5\r\nContent-Length: 5\r\n"), Err(BAD_FRAMING));
    assert_eq!(with("Content-Length: 5\r\ncontent-length: 6\r\n"), Err(BAD_FRAMING));
}

#[test]
fn a_transfer_encoding_other_than_chunked_alone_is_refused() {
    for value in [
        "",
        "gzip",
        "gzip, chunked",
        "chunked, chunked",
        "chunked, identity",
        "identity",
        "xchunked",
        "chunked;q=1",
        "chunked,",
        ",chunked",
        "\"chunked\"",
        "chunk",
        "chunked\tx",
        "chu nked",
    ] {
        assert_eq!(with(&format!("Transfer-Encoding: {value}\r\n")), Err(BAD_FRAMING), "{value}");
    }
    assert_eq!(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Err(BAD_FRAMING));
    assert_eq!(with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), Err(BAD_FRAMING));
    assert_eq!(with("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), Err(BAD_FRAMING));
    assert_eq!(ask("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), Err(BAD_FRAMING));
}

#[test]
fn look_alikes_of_the_framing_fields_are_refused() {
    for name in
        ["Transfer_Encoding", "transfer.encoding", "TRANSFER~ENCODING", "Content_Length", "content+length", "Content.Length"]
    {
        assert_eq!(with(&format!("{name}: 0\r\n")), Err(BAD_FRAMING), "{name}");
        assert_eq!(with(&format!("{name}: chunked\r\n")), Err(BAD_FRAMING), "{name}");
    }
}

#[test]
fn a_websocket_begins_without_a_body() {
    assert_eq!(with("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n"), Err(BAD_FRAMING));
    assert_eq!(with("Transfer-Encoding: chunked\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"), Err(BAD_FRAMING));
}

#[test]
fn an_upgrade_to_anything_else_is_ignored_with_its_body() {
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n",
        "Connection: upgrade\r\nUpgrade:\r\n",
    ] {
        let head = head(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 2\r\n\r\n"));
        assert_eq!((head.upgrade, head.framing), (false, Framing::Length(2)), "{fields}");
    }
    assert!(!head("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").upgrade);
}

#[test]
fn an_expectation_other_than_a_single_continue_is_refused() {
    for fields in [
        "Expect: \r\n",
        "Expect: 200-ok\r\n",
        "Expect: 100-continue, x\r\n",
        "Expect: 100-continue\r\nExpect: 100-continue\r\n",
    ] {
        assert_eq!(with(fields), Err(MALFORMED), "{fields}");
    }
}

#[test]
fn connection_options_cannot_name_end_to_end_fields() {
    for option in [
        "Host",
        "Content-Length",
        "close, transfer-encoding",
        "Authorization",
        "X-Forwarded-For",
        "x_forwarded_host",
        "Forwarded",
        "cookie",
        "X-Auth-Subject",
        "X-Real-IP",
        "Content-Type",
        "a b",
        "x=y",
        "\"close\"",
    ] {
        assert_eq!(with(&format!("Connection: {option}\r\n")), Err(MALFORMED), "{option}");
    }
    assert_eq!(with("Connection: close\r\nConnection: Host\r\n"), Err(MALFORMED));
    assert!(with("Connection: close, TE, keep-alive, X-Hop\r\n").is_ok());
}

#[test]
fn a_long_target_is_refused_as_soon_as_it_is_too_long() {
    let target = format!("/{}", "a".repeat(63));
    assert!(ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).is_ok());
    assert_eq!(ask(format!("GET {target} HTT")), Ok(Examined::Incomplete));
    assert_eq!(ask(format!("GET {target}a HTTP/1.1\r\nHost: a\r\n\r\n")), Err(Denial::TargetTooLong));
    assert_eq!(ask(format!("GET {target}a")), Err(Denial::TargetTooLong));
    assert_eq!(ask(format!("GET /{}", "a".repeat(1000))), Err(Denial::TargetTooLong));
}

#[test]
fn a_large_head_is_refused_as_soon_as_it_is_too_large() {
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let fill = |length: usize| "x".repeat(length - start.len() - 4);
    assert!(ask(format!("{start}{}\r\n\r\n", fill(512))).is_ok());
    assert_eq!(ask(format!("{start}{}\r\n\r\n", fill(513))), Err(Denial::HeadTooLarge));
    assert_eq!(ask(format!("{start}{}", fill(512 + 3))), Ok(Examined::Incomplete));
    assert_eq!(ask(format!("{start}{}", fill(512 + 4))), Err(Denial::HeadTooLarge));
    assert!(with(&"X: y\r\n".repeat(7)).is_ok());
    assert_eq!(with(&"X: y\r\n".repeat(8)), Err(Denial::HeadTooLarge));
    assert_eq!(ask("A".repeat(600)), Err(Denial::HeadTooLarge));
}

fn good_heads() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "GET /a?b HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\nConnection: close\r\n\r\n",
        "OPTIONS * HTTP/1.0\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\nHost: a.b.c\r\n\r\n",
    ])
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..700), from in 0_usize..800) {
        let _ = examine(&bytes, from, &LIMITS);
    }

    #[test]
    fn no_mutation_makes_it_panic_or_read_past_the_end(text in good_heads(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Examined::Complete(head)) = ask(&bytes) {
            prop_assert!(bytes[..head.length].ends_with(b"\r\n\r\n"));
        }
    }

    #[test]
    fn a_head_that_arrives_in_pieces_is_read_like_one_that_arrives_at_once(
        text in good_heads(),
        at in any::<prop::sample::Index>(),
        byte in prop::option::of(any::<u8>()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut bytes = text.as_bytes().to_vec();
        if let Some(byte) = byte {
            bytes[at.index(text.len())] = byte;
        }
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        ends.sort_unstable();
        ends.push(bytes.len());
        let mut from = 0;
        let mut result = Ok(Examined::Incomplete);
        for end in ends {
            result = examine(&bytes[..end], from, &LIMITS);
            if result != Ok(Examined::Incomplete) {
                break;
            }
            from = end;
        }
        prop_assert_eq!(result, ask(&bytes));
    }
}
