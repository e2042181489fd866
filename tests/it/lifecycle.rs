//! Starting, checking and stopping: what an operator sees.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, mpsc};
use std::thread;

use crate::support::{
    Answer, Gateway, Quickstart, Request, Scratch, Tokens, Upstream, assert_unauthenticated, run, until, upstream,
};

const GOOD: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
    [upstream.app]\nservers = [\"http://127.0.0.1:9\"]\n[[route]]\npath = \"/**\"\nupstream = \"app\"\naccess = \"public\"\n";

/// Three mistakes: a key that is none, a value that is none, and a name that nobody bears.
const BAD: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n[guard]\nhed_size = \"1KiB\"\nidle = \"soon\"\n\
    [upstream.orders]\nservers = [\"http://127.0.0.1:9\"]\n[[route]]\npath = \"/**\"\nupstream = \"order\"\naccess = \"public\"\n";

#[test]
fn a_good_file_is_checked_without_being_run() {
    let dir = Scratch::new();
    let finished = run(["check".as_ref(), dir.write("good.toml", GOOD).as_os_str()]);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
}

#[test]
fn every_mistake_of_a_bad_file_is_reported_at_once_with_its_place() {
    let dir = Scratch::new();
    let file = dir.write("bad.toml", BAD);
    let checked = run(["check".as_ref(), file.as_os_str()]);
    assert_eq!(checked.code, Some(2), "{checked:#?}");
    let report = format!("{}{}", checked.output, checked.errors);
    for part in ["bad.toml:4", "hed_size", "head_size", "bad.toml:5", "soon", "bad.toml:10", "order", "orders"] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
    let started = run(["run".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(started.code, Some(2), "{started:#?}");
    assert!(
        started.errors.contains("hed_size") && started.errors.contains("soon") && started.errors.contains("order"),
        "{started:#?}"
    );
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_missing() {
    for arguments in [["check", "no-such.toml"].as_slice(), &["run", "--config", "no-such.toml"]] {
        let finished = run(arguments);
        assert!(finished.code.is_some_and(|code| code != 0), "{finished:#?}");
        assert!(format!("{}{}", finished.output, finished.errors).contains("no-such.toml"), "{finished:#?}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let dir = Scratch::new();
    let file = dir.write("gateway.toml", &GOOD.replacen("127.0.0.1:0", &address.to_string(), 1));
    let finished = run(["run".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert!(finished.code.is_some_and(|code| code != 0), "{finished:#?}");
    assert!(finished.errors.contains(&address.to_string()), "{finished:#?}");
    assert!(!finished.errors.contains("panicked"), "{finished:#?}");
    drop(holder);
}

#[test]
fn a_second_gateway_keeps_off_the_database_of_the_first() {
    let first = Quickstart::start();
    let file = first.dir().join("gateway.toml");
    let finished = run(["run".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(finished.code, Some(2), "{finished:#?}");
    assert!(finished.errors.contains("another gateway runs on"), "{finished:#?}");
}

#[test]
fn a_request_under_way_is_finished_and_no_new_one_is_taken() {
    let (arrived, arrival) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let (arrived, gate) = (Mutex::new(arrived), Mutex::new(gate));
    let app = Upstream::scripted(move |_| {
        arrived.lock().unwrap().send(()).unwrap();
        let _ = gate.lock().unwrap().recv();
        Answer::ok("late but whole")
    });
    let route = "[[route]]\npath = \"/**\"\nupstream = \"app\"\naccess = \"public\"\n[server]\ndrain = \"1m\"\n";
    let gateway = Gateway::start(&(upstream("app", &[app.address], "") + route));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| gateway.ask(&Request::get("/slow")));
        arrival.recv().unwrap();
        gateway.terminate();
        until("no connection is taken any more", || TcpStream::connect(gateway.address).is_err());
        assert!(!waiting.is_finished());
        go.send(()).unwrap();
        let response = waiting.join().unwrap();
        assert_eq!((response.status, response.text()), (200, "late but whole"));
    });
    let finished = gateway.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
}

#[test]
fn a_gateway_with_nothing_to_do_stops_at_once_with_idle_connections_open() {
    let app = Upstream::answering(Answer::ok("fine"));
    let route = "[[route]]\npath = \"/**\"\nupstream = \"app\"\naccess = \"public\"\n[server]\ndrain = \"1h\"\n";
    let gateway = Gateway::start(&(upstream("app", &[app.address], "") + route));
    let mut idle = crate::support::Client::connect(gateway.address);
    idle.send(Request::get("/x").bytes());
    assert_eq!(idle.receive().status, 200);
    gateway.terminate();
    let finished = gateway.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(idle.closed_in_silence());
}

#[test]
fn the_quick_start_tells_where_it_is_and_makes_credentials_of_its_own() {
    let (first, second) = (Quickstart::start(), Quickstart::start());
    assert_eq!(first.value("URL"), format!("http://{}", first.address));
    assert_eq!(first.value("ADMIN_URL"), format!("http://{}", first.admin));
    for name in ["ADMIN_TOKEN", "OAUTH_CLIENT_SECRET", "ACCOUNT_PASSWORD", "INTROSPECT_CLIENT_SECRET"] {
        assert_ne!(first.value(name), second.value(name), "{name} is no default");
        assert!(first.value(name).len() >= 16, "{name}");
    }
    for name in ["OAUTH_CLIENT_ID", "OAUTH_REDIRECT_URI", "ACCOUNT_EMAIL", "ACCOUNT_PHONE", "INTROSPECT_CLIENT_ID"] {
        assert!(!first.value(name).is_empty(), "{name}");
    }
}

#[test]
fn started_again_in_the_same_place_the_quick_start_keeps_what_it_has() {
    let first = Quickstart::start();
    let tokens = first.tokens();
    let revoked = first.tokens();
    assert_eq!(first.revoke(&revoked.access).status, 200);
    let lasting = |quick: &Quickstart| -> HashMap<String, String> {
        quick.values().clone().into_iter().filter(|(name, _)| !name.ends_with("URL")).collect()
    };
    let before = lasting(&first);
    let (finished, dir) = first.stop();
    assert_eq!(finished.code, Some(0), "{finished:#?}");

    let second = Quickstart::start_in(dir);
    assert_eq!(lasting(&second), before);
    assert_eq!(second.get_as(&tokens.access, "/api/x").status, 200, "a token outlives the process");
    assert_unauthenticated(&second.get_as(&revoked.access, "/api/x"), "and so does its end");
    Tokens::of(&second.token(&second.renewal(&tokens.refresh)));
    second.tokens();
}

#[test]
fn what_the_quick_start_writes_can_be_run_and_checked() {
    let quick = Quickstart::start();
    let file = quick.dir().join("gateway.toml");
    let finished = run(["check".as_ref(), file.as_os_str()]);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
}

/// The configuration of a token service in this directory, which starts empty.
fn token_service(dir: &Scratch) -> PathBuf {
    let text = format!("environment = \"sandbox\"\n{GOOD}[token_service]\ndatabase = \"service.db\"\n[token_service.oauth]\n");
    dir.write("gateway.toml", &text)
}

#[track_caller]
fn succeed(arguments: &[&str], config: &Path) -> String {
    let finished = run(arguments.iter().map(AsRef::as_ref).chain(["--config".as_ref(), config.as_os_str()]));
    assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:#?}");
    finished.output
}

#[track_caller]
fn secret_of(output: &str) -> String {
    output.trim_end().rsplit_once(": ").expect("a secret, shown once").1.to_owned()
}

#[test]
fn accounts_are_added_listed_and_disabled_by_hand() {
    let dir = Scratch::new();
    let config = token_service(&dir);
    let added = succeed(&["account", "add", "--email", "ada@example.com", "--phone", "+40712345678"], &config);
    assert!(added.contains("ada@example.com") && secret_of(&added).len() >= 16, "{added}");
    let listed = succeed(&["account", "list"], &config);
    assert!(listed.contains("ada@example.com") && listed.contains("+40712345678") && listed.contains("active"), "{listed}");
    assert!(!listed.contains(&secret_of(&added)), "a password is shown once");

    let twice = run(["account", "add", "--email", "ADA@example.com", "--config"]
        .map(OsStr::new)
        .into_iter()
        .chain([config.as_os_str()]));
    assert!(twice.code.is_some_and(|code| code != 0), "{twice:#?}");
    let database = std::fs::read(dir.path().join("service.db")).unwrap();
    let password = secret_of(&added);
    assert!(!database.windows(password.len()).any(|window| window == password.as_bytes()), "a password is nowhere in clear");

    succeed(&["account", "disable", "ada@example.com"], &config);
    let listed = succeed(&["account", "list"], &config);
    assert!(listed.contains("disabled"), "{listed}");
    let unknown =
        run(["account", "disable", "bob@example.com", "--config"].map(OsStr::new).into_iter().chain([config.as_os_str()]));
    assert!(unknown.code.is_some_and(|code| code != 0) && unknown.errors.contains("bob@example.com"), "{unknown:#?}");
}

#[test]
fn a_disabled_account_loses_its_sessions_and_cannot_sign_in() {
    let quick = Quickstart::start();
    let tokens = quick.tokens();
    assert_eq!(quick.get_as(&tokens.access, "/api/x").status, 200);
    let body = quick.sign_in_body();
    let config = quick.dir().join("gateway.toml");
    succeed(&["account", "disable", quick.value("ACCOUNT_EMAIL")], &config);
    assert_unauthenticated(&quick.sign_in(&body), "a disabled account");
    // The command line is another process than the gateway, which asks again within seconds.
    until("its tokens end", || quick.get_as(&tokens.access, "/api/x").status == 401);
    assert_eq!(quick.token(&quick.renewal(&tokens.refresh)).status, 400);
    assert_eq!(quick.introspect(&tokens.access).text(), "{\"active\":false}");
}

#[test]
fn clients_are_added_and_get_new_secrets_by_hand() {
    let quick = Quickstart::start();
    let config = quick.dir().join("gateway.toml");
    let uri = "https://shop.example/callback";
    let first = secret_of(&succeed(&["client", "add", "shop", "--redirect-uri", uri], &config));
    let second = secret_of(&succeed(&["client", "rotate", "shop"], &config));
    assert_ne!(first, second);
    for secret in [&first, &second] {
        let mut body = quick.sign_in_body();
        body["clientId"] = "shop".into();
        body["clientSecret"] = secret.as_str().into();
        let signed_in = quick.sign_in(&body);
        assert_eq!(signed_in.status, 200, "both secrets are good for a while: {signed_in:#?}");
        let code = signed_in.json()["code"].as_str().unwrap().to_owned();
        let form = |uri| {
            [
                ("grant_type", "authorization_code"),
                ("code", &*code),
                ("redirect_uri", uri),
                ("client_id", "shop"),
                ("client_secret", secret),
            ]
        };
        assert_eq!(quick.token(&quick.redemption(&code)).status, 400, "another client's code");
        Tokens::of(&quick.token(&form(uri)));
    }
    let third = secret_of(&succeed(&["client", "rotate", "shop"], &config));
    let mut body = quick.sign_in_body();
    body["clientId"] = "shop".into();
    body["clientSecret"] = first.into();
    assert_unauthenticated(&quick.sign_in(&body), "a secret that was replaced twice");
    body = quick.sign_in_body();
    body["clientId"] = "shop".into();
    body["clientSecret"] = third.into();
    assert_eq!(quick.sign_in(&body).status, 200);
}
