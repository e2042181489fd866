//! What was once wrong, each as the bytes that showed it. `r_` and what must never happen again.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::support::{
    Answer, Client, Gateway, Quickstart, Request, Response, TokenService, Upstream, assert_dressed, issuer, upstream,
};

/// A gateway with one public route to this upstream.
fn in_front_of(app: &Upstream, keys: &str) -> Gateway {
    let route = "[[route]]\npath = \"/**\"\nupstream = \"app\"\naccess = \"public\"\n";
    Gateway::start(&(keys.to_owned() + &upstream("app", &[app.address], "") + route))
}

/// What a client gets that asks an upstream which answers with these bytes, and then closes if it says so.
fn answer_to(gateway_of: &str, answer: Answer, request: &[u8]) -> (Response, bool) {
    let app = Upstream::answering(answer);
    let gateway = in_front_of(&app, gateway_of);
    let mut client = Client::connect(gateway.address);
    client.send(request);
    let response = client.receive();
    let closes = response.closes();
    (response, closes)
}

const ASK: &[u8] = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
const ASK_AS_1_0: &[u8] = b"GET /x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";

fn send_and_receive(to: SocketAddr, bytes: &[u8]) -> Response {
    let mut client = Client::connect(to);
    client.send(bytes);
    client.receive()
}

#[test]
fn r_a_field_that_is_no_utf8_does_not_end_the_request() {
    let (response, _) = answer_to("", Answer::raw(*b"HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nContent-Length: 2\r\n\r\nok"), ASK);
    assert_eq!((response.status, response.text()), (200, "ok"));
    assert_dressed(&response, "a field in Latin-1");
}

#[test]
fn r_a_response_that_tells_its_length_twice_is_no_response() {
    for head in [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2, 2",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        let (response, _) =
            answer_to("", Answer::raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n2\r\nok\r\n0\r\n\r\n")).and_close(), ASK);
        assert_eq!(response.status, 502, "{head}");
        assert_dressed(&response, head);
    }
    let old = Answer::raw(*b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").and_close();
    assert_eq!(answer_to("", old, ASK).0.status, 502, "chunks in HTTP/1.0");
}

#[test]
fn r_fields_of_the_upstreams_connection_stay_with_it() {
    let fields = [
        ("Connection", "close, X-Private"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Authenticate", "Basic"),
        ("Upgrade", "h2c"),
        ("Trailer", "X-Sum"),
        ("TE", "gzip"),
        ("X-Private", "1"),
        ("X-Public", "2"),
    ];
    let (response, closes) = answer_to("", Answer::new(200, &fields, "ok"), ASK);
    assert!(!closes, "whether the client's connection goes on is ours to say");
    assert_eq!(response.only("X-Public"), "2");
    for name in ["Keep-Alive", "Proxy-Authenticate", "Upgrade", "Trailer", "TE", "X-Private"] {
        assert!(response.values(name).is_empty(), "{name}: {response:#?}");
    }
}

#[test]
fn r_a_failure_after_an_interim_response_is_still_told() {
    for (what, rest) in [("nothing", ""), ("garbage", "garbage\r\n\r\n"), ("half a head", "HTTP/1.1 200 OK\r\nConte")] {
        let (response, _) = answer_to("", Answer::raw(format!("HTTP/1.1 103 Early Hints\r\n\r\n{rest}")).and_close(), ASK);
        assert_eq!((response.status, &*response.interim), (502, &[103][..]), "{what}");
        assert_dressed(&response, what);
    }
}

#[test]
fn r_an_interim_response_brings_links_and_nothing_else() {
    let app = Upstream::answering(Answer::raw(
        *b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nServer: x\r\nAccess-Control-Allow-Origin: evil\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ));
    let gateway = in_front_of(&app, "");
    let mut client = Client::connect(gateway.address);
    client.send(ASK);
    let hints = client.receive_head();
    assert_eq!((hints.status, &*hints.fields), (103, &[("Link".to_owned(), "</a>".to_owned())][..]));
    assert_eq!(client.receive().status, 200);
}

#[test]
fn r_a_client_of_http_1_0_gets_no_interim_response_and_no_chunks() {
    let chunked = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    for (what, answer) in
        [("chunks", Answer::raw(chunked)), ("a body until the end", Answer::raw(*b"HTTP/1.1 200 OK\r\n\r\nok").and_close())]
    {
        let (response, _) = answer_to("", answer, ASK_AS_1_0);
        assert_eq!((response.status, response.text()), (200, "ok"), "{what}: {response:#?}");
        assert!(response.interim.is_empty() && response.values("Transfer-Encoding").is_empty(), "{what}: {response:#?}");
    }
    let (response, closes) = answer_to("", Answer::ok("ok"), ASK_AS_1_0);
    assert_eq!((response.text(), closes), ("ok", false), "what has a length may keep the connection");
}

#[test]
fn r_the_version_in_a_response_is_ours() {
    // The client of these tests takes HTTP/1.1 only.
    let old = Answer::raw(*b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok").and_close();
    assert_eq!(answer_to("", old, ASK).0.text(), "ok");
}

#[test]
fn r_no_content_has_no_length() {
    for head in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let (response, _) = answer_to("", Answer::raw(format!("HTTP/1.1 204 No Content\r\n{head}\r\n\r\n")), ASK);
        assert_eq!(response.status, 204, "{head}");
        assert!(response.values("Content-Length").is_empty() && response.values("Transfer-Encoding").is_empty(), "{head}");
    }
}

#[test]
fn r_a_client_that_offers_h2c_with_its_body_is_served_in_http_1() {
    let app = Upstream::scripted(|request| Answer::ok(&request.body));
    let gateway = in_front_of(&app, "");
    let offers = Request::new("POST", "/x")
        .field("Connection", "Upgrade, HTTP2-Settings")
        .field("Upgrade", "h2c")
        .field("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA")
        .body("hello");
    assert_eq!(gateway.ask(&offers).text(), "hello");
    let unconnected = Request::get("/x").field("Upgrade", "websocket");
    assert_eq!(gateway.ask(&unconnected).status, 200);
    for seen in app.requests() {
        for name in ["Upgrade", "Connection", "HTTP2-Settings"] {
            assert!(seen.values(name).is_empty(), "{name}: {seen:#?}");
        }
    }
}

#[test]
fn r_one_cookie_field_goes_upstream() {
    let app = Upstream::answering(Answer::ok(""));
    let gateway = in_front_of(&app, "");
    gateway.ask(&Request::get("/x").field("Cookie", "a=b").field("Cookie", "c=d"));
    assert_eq!(app.last().only("Cookie"), "a=b; c=d");
}

#[test]
fn r_identity_names_of_one_route_cannot_be_lent_on_another() {
    let (app, service) = (Upstream::answering(Answer::ok("")), TokenService::start());
    let text = upstream("app", &[app.address], "")
        + &issuer("main", service.address(), "")
        + "[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n"
        + "[[route]]\npath = \"/api/**\"\nupstream = \"app\"\naccess = { bearer = {} }\nidentity = { subject = \"X-User\" }\n";
    let gateway = Gateway::start(&text);
    let request = Request::get("/public/x").field("X-User", "root").field("x_user", "root").field("X-Users", "all");
    assert_eq!(gateway.ask(&request).status, 200);
    let seen = app.last();
    assert!(seen.values("X-User").is_empty() && seen.values("x_user").is_empty(), "{seen:#?}");
    assert_eq!(seen.only("X-Users"), "all");
}

#[test]
fn r_whoever_pipelines_and_closes_his_side_gets_every_answer() {
    let app = Upstream::scripted(|request| Answer::ok(&request.target));
    let gateway = in_front_of(&app, "");
    let mut client = Client::connect(gateway.address);
    client.send(["/1", "/2", "/3"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).concat());
    client.hang_up();
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.receive().text(), path);
    }
    assert!(client.closed_in_silence());
}

#[test]
fn r_a_client_that_does_not_send_its_body_is_told_so_rather_than_the_upstream_blamed() {
    let app = Upstream::answering(Answer::ok(""));
    let keys = "[guard]\nbody_idle = \"300ms\"\n";
    let route = "[[route]]\npath = \"/**\"\nupstream = \"app\"\naccess = \"public\"\n";
    let gateway = Gateway::start(&(keys.to_owned() + &upstream("app", &[app.address], "read_timeout = \"300ms\"") + route));
    for framing in ["Content-Length: 5\r\n\r\nhe", "Transfer-Encoding: chunked\r\n\r\n5\r\nhe"] {
        let response = send_and_receive(gateway.address, format!("POST /x HTTP/1.1\r\nHost: h\r\n{framing}").as_bytes());
        assert_eq!(response.status, 408, "{framing:?}");
        assert_dressed(&response, framing);
    }
}

#[test]
fn r_the_embedded_service_is_asked_for_the_path_that_was_routed_on() {
    let quickstart = Quickstart::start();
    let asked = |path: &str| Request::form(path, &[("grant_type", "password")]).to(quickstart.address);
    let (straight, escaped) = (asked("/v2/oauth/token"), asked("/v2/oauth/%74oken"));
    assert_eq!((straight.status, straight.json()["code"].as_str()), (400, Some("OldAppVersion")));
    assert_eq!((escaped.status, escaped.json()), (straight.status, straight.json()));
}

#[test]
fn r_a_request_that_names_no_host_gets_one_on_its_way_up() {
    let app = Upstream::answering(Answer::ok(""));
    let gateway = in_front_of(&app, "");
    assert_eq!(send_and_receive(gateway.address, b"GET /x HTTP/1.0\r\n\r\n").status, 200);
    let seen = app.last();
    assert_eq!(seen.only("Host"), "");
    assert!(seen.values("X-Forwarded-Host").is_empty(), "nobody said so: {seen:#?}");
}

#[test]
fn r_an_answer_whose_head_drips_has_one_deadline_however_many_drops_come() {
    for drop in [&b"x"[..], b"HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let app = Upstream::by_hand(move |mut stream, _| {
            let mut heard = [0; 4096];
            if !matches!(stream.read(&mut heard), Ok(1..)) {
                return;
            }
            if drop == b"x" {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-Drip: ");
            }
            // The pace of the upstream, and nothing that is waited for: it drips for as long as it is let.
            for _ in 0..600 {
                if stream.write_all(drop).is_err() {
                    return;
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        let text = upstream("app", &[app.address], "total_timeout = \"500ms\"\nretries = 0")
            + "[[route]]\npath = \"/**\"\nupstream = \"app\"\naccess = \"public\"\n";
        let gateway = Gateway::start(&text);
        let response = gateway.ask(&Request::get("/x"));
        assert_eq!(response.status, 504, "{response:#?}");
        assert_dressed(&response, "a head that drips");
        // Nor does it help the upstream that the client has closed its side.
        let mut client = Client::connect(gateway.address);
        client.send(Request::get("/x").bytes());
        client.hang_up();
        assert_eq!(client.receive().status, 504);
    }
}
