//! TLS listeners and HTTP/2: requests that come in frames are judged like those that come in lines.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;

use crate::support::{
    Answer, Gateway, PATIENCE, Request as Lines, THE_TWELVE, TokenService, Upstream, all_at_once, issuer, until, upstream,
};

const NAME: &str = "gateway.test";
const TOKEN: &str = "token-of-ada";

/// A gateway behind TLS with a public door, a guarded one and a small one, and what a client needs to trust it.
struct Scene {
    app: Upstream,
    gateway: Gateway,
    _service: TokenService,
    trusted: CertificateDer<'static>,
}

/// One HTTP/2 connection.
struct Connection {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
}

impl Scene {
    fn set(keys: &str) -> Self {
        Self::before(Upstream::scripted(|request| Answer::new(200, &[("Server", "secret/1.0")], &request.body)), keys)
    }

    fn before(app: Upstream, keys: &str) -> Self {
        Self::with(app, "", keys)
    }

    fn with(app: Upstream, app_keys: &str, keys: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let service = TokenService::start();
        service.issue(TOKEN, &json!({ "sub": "ada" }));
        let text = keys.to_owned()
            + &upstream("app", &[app.address], app_keys)
            + &issuer("main", service.address(), "")
            + "[[route]]\npath = \"/public/**\"\nupstream = \"app\"\naccess = \"public\"\n"
            + "[[route]]\npath = \"/small/**\"\nupstream = \"app\"\naccess = \"public\"\nbody_limit = \"1KiB\"\n"
            + "[login_guard.login]\naccount = { header = \"x-user\" }\n"
            + "[[route]]\npath = \"/login\"\nupstream = \"app\"\naccess = \"public\"\nlogin_guard = \"login\"\n"
            + "[[route]]\npath = \"/admin/**\"\nupstream = \"app\"\naccess = { bearer = { issuers = [\"main\"] } }\n";
        let gateway = Gateway::start_with_tls(&text, &made.cert.pem(), &made.signing_key.serialize_pem());
        Self { app, gateway, _service: service, trusted: made.cert.der().clone() }
    }

    fn client_config(&self, protocol: &str) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }

    fn connect(&self) -> Connection {
        self.connect_taking(65_535)
    }

    /// A client that takes so many bytes of an answer.
    fn connect_taking(&self, window: u32) -> Connection {
        Connection::open(self.gateway.address, self.client_config("h2"), window)
    }

    /// How many logins have come to this.
    #[track_caller]
    fn counted(&self, outcome: &str) -> u64 {
        let page = Lines::get("/metrics").to(self.gateway.admin);
        let line = format!("portcullis_guard_total{{guard=\"login\",outcome=\"{outcome}\"}} ");
        page.text().lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
    }
}

impl Connection {
    fn open(to: SocketAddr, config: Arc<ClientConfig>, window: u32) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let tcp = tokio::net::TcpStream::connect(to).await.unwrap();
            let name = ServerName::try_from(NAME).unwrap();
            let tls = TlsConnector::from(config).connect(name, tcp).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            // Nothing of an answer's body is taken before it is read.
            let mut builder = h2::client::Builder::new();
            let (sender, connection) = builder.initial_window_size(window).handshake(tls).await.unwrap();
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    /// Begins a request, whose body is still to come.
    fn begin(&self, request: Request<()>) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        self.runtime.block_on(async {
            let mut sender = self.sender.clone().ready().await.unwrap();
            sender.send_request(request, false).unwrap()
        })
    }

    /// Sends a request with a body and trailers; an error is a stream or connection that was reset.
    fn ask(&self, request: Request<()>, body: &[u8], trailers: Option<HeaderMap>) -> Result<Response<Bytes>, h2::Error> {
        let exchange = async {
            let mut sender = self.sender.clone().ready().await?;
            let bare = body.is_empty() && trailers.is_none();
            let (response, mut stream) = sender.send_request(request, bare)?;
            if !bare {
                let body = Bytes::copy_from_slice(body);
                // A server that has refused already does not take the rest.
                let sent = stream.send_data(body, trailers.is_none());
                if let (Ok(()), Some(trailers)) = (sent, trailers) {
                    let _ = stream.send_trailers(trailers);
                }
            }
            let (head, mut body) = response.await?.into_parts();
            let mut bytes = Vec::new();
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
                bytes.extend(data);
            }
            Ok(Response::from_parts(head, bytes.into()))
        };
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await.expect("an answer, or a reset") })
    }

    #[track_caller]
    fn get(&self, path: &str, fields: &[(&str, &str)]) -> Response<Bytes> {
        self.ask(request(Method::GET, path, fields), b"", None).unwrap()
    }
}

fn request(method: Method, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let builder = Request::builder().method(method).uri(format!("https://{NAME}{path}"));
    fields.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(()).unwrap()
}

#[track_caller]
fn assert_answer(response: &Response<Bytes>, status: u16, what: &str) {
    assert_eq!(response.status().as_u16(), status, "{what}: {response:?}");
    for (name, value) in THE_TWELVE {
        let sent: Vec<_> = response.headers().get_all(name).iter().collect();
        assert_eq!(sent, [value], "{what}: {name}");
    }
    assert!(!response.headers().contains_key("server"), "{what}: {response:?}");
}

#[test]
fn a_request_over_tls_says_so_to_the_upstream() {
    let scene = Scene::set("");
    let name = ServerName::try_from(NAME).unwrap();
    let connection = ClientConnection::new(scene.client_config("http/1.1"), name).unwrap();
    let tcp = TcpStream::connect(scene.gateway.address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut tls = StreamOwned::new(connection, tcp);
    tls.write_all(b"GET /public/x HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    let _ = tls.read_to_string(&mut text);
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let seen = scene.app.last();
    assert_eq!((seen.only("X-Forwarded-Proto"), seen.only("Host")), ("https", NAME));
}

#[test]
fn a_request_in_frames_is_judged_like_one_in_lines() {
    let scene = Scene::set("");
    let connection = scene.connect();
    let bearer = ("authorization", "Bearer token-of-ada");
    assert_answer(&connection.get("/public/x", &[]), 200, "public");
    assert_answer(&connection.get("/admin/x", &[bearer]), 200, "with a token");
    let seen = scene.app.last();
    assert_eq!((seen.only("X-Auth-Subject"), seen.only("Host")), ("ada", NAME));
    assert_eq!((seen.only("X-Forwarded-Proto"), seen.only("X-Forwarded-For")), ("https", "127.0.0.1"));
    let before = scene.app.count();
    assert_answer(&connection.get("/admin/x", &[]), 401, "without a token");
    assert_answer(&connection.get("/admin/x", &[("authorization", "Bearer unknown")]), 401, "an unknown token");
    assert_answer(&connection.get("/admin/x", &[bearer, bearer]), 400, "two tokens");
    assert_answer(&connection.get("/nowhere", &[bearer]), 404, "no route");
    for path in ["/public/../admin/x", "/public/%2e%2e/admin/x", "//admin/x", "/public/..;/admin/x", "/public/%252e%252e/admin"]
    {
        assert_answer(&connection.get(path, &[]), 400, path);
    }
    let preflight = [("origin", "https://app.example"), ("access-control-request-method", "GET")];
    let preflight = connection.ask(request(Method::OPTIONS, "/admin/x", &preflight), b"", None).unwrap();
    assert_answer(&preflight, 204, "preflight");
    assert_eq!(scene.app.count(), before);
}

#[test]
fn streams_of_one_connection_share_the_quota_of_their_source() {
    let limit = "[defaults]\nlimits = [\"per-source\"]\n[limit.per-source]\nrate = \"4/1h\"\nkey = \"source\"\n";
    let scene = Scene::set(limit);
    let connection = scene.connect();
    let answers = all_at_once(12, |stream, start| {
        start.wait();
        connection.get(&format!("/public/{stream}"), &[])
    });
    let passed = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS).collect();
    assert_eq!((passed, refused.len()), (4, 8));
    assert_eq!(scene.app.count(), 4);
    for answer in &answers {
        let told: Vec<_> = answer.headers().get_all("ratelimit-policy").iter().collect();
        assert_eq!(told, ["\"per-source\";q=4;w=3600"]);
        assert_eq!(answer.headers().get_all("ratelimit").iter().count(), 1, "{answer:?}");
    }
    assert_answer(&connection.get("/admin/x", &[]), 429, "another route, the same limit");
    assert_eq!(refused[0].headers().get_all("retry-after").iter().count(), 1);
}

#[test]
fn nobody_says_who_he_is_in_frames_or_behind_them() {
    let scene = Scene::set("");
    let connection = scene.connect();
    for name in ["x-auth-subject", "x_auth_subject", "x.auth.subject", "x-forwarded-user", "x-real-ip", "x-original-url"] {
        let fields = [("authorization", "Bearer token-of-ada"), (name, "mallory")];
        let mut trailers = HeaderMap::new();
        trailers.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), "mallory".parse().unwrap());
        for (fields, trailers) in [(&fields[..], None), (&fields[..1], Some(trailers))] {
            let before = scene.app.count();
            let response = connection.ask(request(Method::POST, "/admin/x", fields), b"body", trailers);
            if response.is_ok_and(|response| response.status() == StatusCode::OK) {
                let seen = scene.app.last();
                assert!(!format!("{seen:?}").contains("mallory"), "{name}: {seen:#?}");
                assert_eq!(seen.only("X-Auth-Subject"), "ada", "{name}");
            } else {
                assert_eq!(scene.app.count(), before, "{name}");
            }
        }
    }
    assert!(!String::from_utf8_lossy(&scene.app.bytes()).contains("mallory"), "not in trailers either");
}

#[test]
fn what_belongs_to_lines_is_refused_in_frames() {
    let scene = Scene::set("");
    let smuggled = "x\r\n\r\nGET /admin/smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for (fields, body) in [
        (&[("transfer-encoding", "chunked")][..], "0\r\n\r\n"),
        (&[("connection", "x-auth-subject")], ""),
        (&[("content-length", "3")], smuggled),
        (&[("content-length", "3"), ("content-length", "4")], "abc"),
        (&[("content-length", "+3")], "abc"),
        (&[("host", "evil.example")], ""),
        (&[("host", NAME), ("host", NAME)], ""),
        (&[("content_length", "0"), ("transfer_encoding", "chunked")], "abc"),
    ] {
        // Each on a connection of its own: some of these end it.
        let connection = scene.connect();
        let before = scene.app.count();
        let answer = connection.ask(request(Method::POST, "/public/x", fields), body.as_bytes(), None);
        if answer.is_ok_and(|response| response.status() == StatusCode::OK) {
            let seen = scene.app.last();
            assert_eq!(seen.body, body.as_bytes(), "{fields:?}: framed as it came: {seen:#?}");
            assert_eq!(seen.only("Host"), NAME, "{fields:?}");
            assert!(seen.values("content_length").is_empty() && seen.values("transfer_encoding").is_empty(), "{seen:#?}");
        } else {
            assert_eq!(scene.app.count(), before, "{fields:?}");
        }
    }
    assert!(scene.app.requests().iter().all(|request| request.target == "/public/x"), "{:#?}", scene.app.requests());
}

#[test]
fn the_bounds_hold_for_frames_too() {
    let scene = Scene::set("");
    let connection = scene.connect();
    let large = connection.ask(request(Method::POST, "/small/x", &[]), &[b'x'; 1025], None).unwrap();
    let long = connection.get(&format!("/public/{}", "x".repeat(9 * 1024)), &[]);
    let many: Vec<(String, &str)> = (0..200).map(|number| (format!("x-{number}"), "x")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, *value)).collect();
    let many = connection.get("/public/x", &many);
    let wide = connection.get("/public/x", &[("x-wide", &"x".repeat(17 * 1024))]);
    let statuses = [&large, &long, &many, &wide].map(|response| response.status().as_u16());
    assert_eq!(statuses, [413, 414, 431, 431], "a large body, a long target, many fields, a wide field");
    assert_answer(&large, 413, "a large body");
    assert_answer(&long, 414, "a long target");
    assert_answer(&many, 431, "many fields");
    assert_eq!(scene.app.count(), 0);
    assert_answer(&connection.get("/public/x", &[]), 200, "and the connection goes on");
}

#[test]
fn many_streams_on_one_connection_keep_their_callers_apart() {
    let scene = Scene::set("");
    let connection = scene.connect();
    connection.runtime.block_on(async {
        let ask = |number: usize| {
            let mut sender = connection.sender.clone();
            async move {
                let fields = [("authorization", ["Bearer token-of-ada", "Bearer unknown"][number % 2])];
                poll_fn(|context| sender.poll_ready(context)).await.unwrap();
                let (response, _) = sender.send_request(request(Method::GET, "/admin/x", &fields), true).unwrap();
                response.await.unwrap().status().as_u16()
            }
        };
        let asked: Vec<_> = (0..60).map(|number| tokio::spawn(ask(number))).collect();
        for (number, answer) in asked.into_iter().enumerate() {
            assert_eq!(answer.await.unwrap(), [200, 401][number % 2], "{number}");
        }
    });
    assert_eq!(scene.app.count(), 30);
}

#[test]
fn many_logins_on_one_connection_are_no_more_guesses() {
    let scene = Scene::before(Upstream::answering(Answer::new(401, &[], "")), "");
    let connection = scene.connect();
    connection.runtime.block_on(async {
        let ask = |number: usize| {
            let mut sender = connection.sender.clone();
            async move {
                let fields = [("x-user", ["ann", "ANN", "a nn"][number % 3])];
                poll_fn(|context| sender.poll_ready(context)).await.unwrap();
                let (response, _) = sender.send_request(request(Method::POST, "/login", &fields), true).unwrap();
                response.await.unwrap().status().as_u16()
            }
        };
        let asked: Vec<_> = (0..100).map(|number| tokio::spawn(ask(number))).collect();
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answer.await.unwrap());
        }
        answers.sort_unstable();
        assert_eq!(answers, [[401; 5].as_slice(), &[429; 95]].concat());
    });
    assert_eq!(scene.app.count(), 5);
}

#[test]
fn r_a_cookie_that_came_in_pieces_goes_upstream_in_one() {
    let scene = Scene::set("");
    let cookies = [("cookie", "a=b"), ("cookie", "c=d"), ("cookie", "e=f")];
    assert_answer(&scene.connect().get("/public/x", &cookies), 200, "three cookies");
    assert_eq!(scene.app.last().only("Cookie"), "a=b; c=d; e=f");
}

#[test]
fn r_a_length_told_twice_in_frames_is_refused() {
    let scene = Scene::set("");
    for fields in [
        &[("content-length", "4"), ("content-length", "4")][..],
        &[("content-length", "04")],
        &[("content_length", "4")],
        &[("expect", "200-ok")],
    ] {
        let answer = scene.connect().ask(request(Method::POST, "/public/x", fields), b"body", None);
        assert_answer(&answer.unwrap(), 400, &format!("{fields:?}"));
    }
    assert_eq!(scene.app.count(), 0);
}

#[test]
fn r_connect_in_frames_is_refused_in_our_words() {
    let scene = Scene::set("");
    let connect = Request::builder().method(Method::CONNECT).uri("gateway.test:443").body(()).unwrap();
    assert_answer(&scene.connect().ask(connect, b"", None).unwrap(), 405, "CONNECT");
}

#[test]
fn r_fields_of_the_upstreams_connection_do_not_break_a_stream() {
    let app = Upstream::answering(Answer::new(200, &[("Keep-Alive", "timeout=5"), ("TE", "gzip"), ("Upgrade", "h2c")], "ok"));
    let scene = Scene::before(app, "");
    assert_answer(&scene.connect().get("/public/x", &[]), 200, "fields that HTTP/2 does not have");
}

#[test]
fn a_body_in_frames_that_is_looked_into_reaches_the_upstream_unchanged() {
    let scene = Scene::set("[[route]]\npath = \"/revoke\"\nupstream = \"app\"\naccess = \"public\"\nrole = \"revoke\"\n");
    let connection = scene.connect();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let start = format!("token={TOKEN}&x=");
    for (length, status) in [(0, 200), (1, 200), (9_000, 200), (16_384 - start.len(), 200), (16_385 - start.len(), 413)] {
        let body = start.clone() + &"y".repeat(length);
        let before = scene.app.count();
        let answer = connection.ask(request(Method::POST, "/revoke", &form), body.as_bytes(), None).unwrap();
        assert_eq!((answer.status().as_u16(), scene.app.count() - before), (status, usize::from(status == 200)), "{length}");
        assert!(status != 200 || scene.app.last().body == body.as_bytes(), "{length}");
    }
}

/// A login that answers 401, but not before the sender is dropped.
fn held_login() -> (mpsc::Sender<()>, Upstream) {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let app = Upstream::scripted(move |_| {
        let _ = held.lock().unwrap().recv();
        Answer::new(401, &[], "")
    });
    (release, app)
}

const ANN: [(&str, &str); 1] = [("x-user", "ann")];

#[test]
fn a_login_in_frames_that_drips_is_waited_for_no_longer_than_total_timeout_and_has_tried() {
    let (_release, app) = held_login();
    let scene = Scene::with(app, "total_timeout = \"500ms\"", "");
    let connection = scene.connect();
    let (answer, mut body) = connection.begin(request(Method::POST, "/login", &ANN));
    let answer = connection.runtime.block_on(async {
        let mut answer = std::pin::pin!(answer);
        // The pace of the client, and nothing that is waited for: it drips for as long as it is let.
        for _ in 0..600 {
            let _ = body.send_data(Bytes::from_static(b"x"), false);
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(20), &mut answer).await {
                return Some(answer.unwrap());
            }
        }
        None
    });
    assert_eq!(answer.expect("an answer while it drips").status(), 408);
    until("it is counted", || scene.counted("failed") == 1);
}

#[test]
fn a_login_in_frames_that_is_never_finished_is_waited_for_no_longer_than_read_timeout_and_has_tried() {
    let (_release, app) = held_login();
    let scene = Scene::with(app, "read_timeout = \"500ms\"", "");
    let connection = scene.connect();
    let (answer, mut body) = connection.begin(request(Method::POST, "/login", &ANN));
    body.send_data(Bytes::from_static(b"wrong"), false).unwrap();
    let answer = connection.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await });
    assert_eq!(answer.expect("an answer to silence").unwrap().status(), 408);
    until("it is counted", || scene.counted("failed") == 1);
}

#[test]
fn who_resets_a_stream_before_the_answer_has_tried_all_the_same() {
    let (release, app) = held_login();
    let scene = Scene::before(app, "");
    let connection = scene.connect();
    for number in 1..=5 {
        let (answer, mut body) = connection.begin(request(Method::POST, "/login", &ANN));
        // Once all of the request is there, and once all that matters of it.
        body.send_data(Bytes::from_static(b"wrong"), number % 2 == 0).unwrap();
        until("the login has it", || scene.app.bytes().windows(5).filter(|bytes| bytes == b"wrong").count() == number);
        body.send_reset(h2::Reason::CANCEL);
        drop(answer);
        until("it is counted", || scene.counted("failed") == number as u64);
    }
    drop(release);
    let refused = connection.ask(request(Method::POST, "/login", &ANN), b"right", None).unwrap();
    assert_eq!(refused.status(), 429, "locked: {refused:?}");
    assert_eq!(scene.counted("given-back"), 0);
}

#[test]
fn who_takes_nothing_of_an_answer_is_waited_for_no_longer_than_body_idle() {
    let scene = Scene::set("[guard]\nbody_idle = \"500ms\"\n");
    let connection = scene.connect_taking(0);
    let answer = connection.ask(request(Method::POST, "/public/x", &[]), b"say that again", None);
    let broken = answer.expect_err("nobody took it");
    assert!(broken.is_reset(), "{broken:?}");
}
