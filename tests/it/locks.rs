//! `/admin/locks` and `portcullis locks`: what is locked can be seen, looked up and cleared, also after a restart.

use std::ffi::OsStr;

use serde_json::{Value, json};

use crate::support::{ADMIN_TOKEN, Answer, Gateway, Quickstart, Request, Response, Upstream, epoch_seconds, run, upstream};

/// A login that knows one password: `right`.
fn login() -> Upstream {
    Upstream::scripted(|request| {
        let right = String::from_utf8_lossy(&request.body).contains("right");
        Answer::new(if right { 200 } else { 401 }, &[], "from the login")
    })
}

/// Two guards: one of accounts, one of sources.
fn config(app: &Upstream) -> String {
    let route = |name: &str| {
        format!(
            "[[route]]\npath = \"/{name}\"\nmethods = [\"POST\"]\nupstream = \"app\"\naccess = \"public\"\nlogin_guard = \"{name}\"\n"
        )
    };
    "[network]\ntrusted_proxies = [\"127.0.0.1\"]\n".to_owned()
        + &upstream("app", &[app.address], "")
        + "[login_guard.people]\naccount = { json = \"/email\" }\n"
        + "[login_guard.places]\naccount = { json = \"/email\" }\nby = [\"source\"]\nattempts = 2\nwithin = \"1h\"\n"
        + &route("people")
        + &route("places")
}

fn start(app: &Upstream) -> Gateway {
    Gateway::start(&config(app))
}

fn attempt(gateway: &Gateway, path: &str, email: &str, password: &str, from: &str) -> u16 {
    let request = Request::json(path, &json!({ "email": email, "password": password })).field("X-Forwarded-For", from);
    gateway.ask(&request).status
}

#[track_caller]
fn lock(gateway: &Gateway, email: &str) {
    for _ in 0..5 {
        assert_eq!(attempt(gateway, "/people", email, "wrong", "203.0.113.7"), 401);
    }
    assert_eq!(attempt(gateway, "/people", email, "right", "203.0.113.7"), 429);
}

fn ask(gateway: &Gateway, method: &'static str, query: &str) -> Response {
    Request::new(method, &format!("/admin/locks{query}")).bearer(ADMIN_TOKEN).to(gateway.admin)
}

#[track_caller]
fn listed(gateway: &Gateway, query: &str) -> Vec<Value> {
    let answer = ask(gateway, "GET", query);
    assert_eq!(answer.status, 200, "{answer:#?}");
    answer.json()["locks"].as_array().expect("a list").clone()
}

/// Without the instants, which are reckoned anew for each answer.
fn timeless(locks: &[Value]) -> Vec<Value> {
    let mut locks = locks.to_vec();
    for lock in &mut locks {
        lock.as_object_mut().unwrap().retain(|name, _| !matches!(&**name, "since" | "until"));
    }
    locks
}

#[test]
fn a_lock_is_listed_looked_up_and_cleared_and_a_restart_in_between_changes_nothing() {
    let app = login();
    let gateway = start(&app);
    assert_eq!(listed(&gateway, ""), [Value::Null; 0]);
    assert_eq!(ask(&gateway, "GET", "?account=ann@example.com").status, 404);
    lock(&gateway, "ann@example.com");
    lock(&gateway, "bob@example.com");
    for email in ["cid", "dan"] {
        assert_eq!(attempt(&gateway, "/places", email, "wrong", "2001:db8::7"), 401);
    }
    let before = listed(&gateway, "");
    assert_eq!(before.len(), 3);
    let gateway = Gateway::start_again(gateway.kill());
    // Of accounts, whose locks were on the disk before they were answered; a window is written down in the background.
    let after = listed(&gateway, "?guard=people");
    let same =
        |name: &str| before.iter().take(2).map(|lock| lock[name].clone()).eq(after.iter().map(|lock| lock[name].clone()));
    for name in ["guard", "mark", "source", "reason", "failures"] {
        assert!(same(name), "{name}: {before:#?} {after:#?}");
    }
    let anns = listed(&gateway, "?account=%20Ann@Example.com&guard=people");
    assert_eq!(anns.len(), 1);
    assert_eq!(
        (&anns[0]["guard"], &anns[0]["reason"], &anns[0]["failures"]),
        (&json!("people"), &json!("failures"), &json!(5))
    );
    assert_eq!(anns[0]["source"], Value::Null);
    let cleared = ask(&gateway, "DELETE", "?account=ann@example.com&guard=people");
    assert_eq!(
        (cleared.status, &cleared.json()["cleared"], &cleared.json()["locks"][0]["mark"]),
        (200, &json!(1), &anns[0]["mark"])
    );
    assert_eq!(ask(&gateway, "DELETE", "?account=ann@example.com&guard=people").status, 404, "once");
    let gateway = Gateway::start_again(gateway.kill());
    assert_eq!(
        attempt(&gateway, "/people", "ann@example.com", "right", "203.0.113.7"),
        200,
        "nor does a restart bring it back"
    );
    let bobs = listed(&gateway, "?guard=people");
    assert_eq!(bobs.len(), 1);
    let mark = bobs[0]["mark"].as_str().unwrap();
    assert_eq!(ask(&gateway, "DELETE", &format!("?mark={mark}")).status, 200);
    // All that was counted is forgotten, not the lock alone.
    lock(&gateway, "bob@example.com");
}

#[test]
fn a_source_is_listed_with_its_network_and_its_window_is_cleared() {
    let app = login();
    let gateway = start(&app);
    for email in ["cid", "dan"] {
        assert_eq!(attempt(&gateway, "/places", email, "wrong", "2001:db8::7"), 401);
    }
    assert_eq!(attempt(&gateway, "/places", "eve", "right", "2001:db8::1"), 429);
    let locks = listed(&gateway, "?source=2001:db8::99");
    assert_eq!(timeless(&locks), timeless(&listed(&gateway, "")));
    let [only] = &locks[..] else { panic!("{locks:#?}") };
    assert_eq!((&only["source"], &only["reason"], &only["mark"]), (&json!("2001:db8::"), &json!("window"), &Value::Null));
    assert_eq!(ask(&gateway, "DELETE", "?source=2001:db8::1").status, 200);
    assert_eq!(attempt(&gateway, "/places", "eve", "right", "2001:db8::1"), 200);
}

#[test]
fn a_list_comes_in_pages_and_each_lock_is_on_one_of_them() {
    let app = login();
    let gateway = start(&app);
    for number in 0..5 {
        lock(&gateway, &format!("person{number}"));
    }
    for place in ["203.0.113.1", "203.0.113.2"] {
        for _ in 0..2 {
            assert_eq!(attempt(&gateway, "/places", "x", "wrong", place), 401);
        }
    }
    let (mut seen, mut sizes, mut query) = (Vec::new(), Vec::new(), "?limit=2".to_owned());
    loop {
        let page = ask(&gateway, "GET", &query).json();
        let locks = page["locks"].as_array().unwrap().clone();
        sizes.push(locks.len());
        seen.extend(locks);
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=2&after={next}");
    }
    assert_eq!(sizes, [2, 2, 2, 1]);
    assert_eq!(timeless(&seen), timeless(&listed(&gateway, "")), "in the same order");
    assert_eq!(seen.len(), 7);
    assert_eq!(listed(&gateway, "?guard=places").len(), 2);
}

#[test]
fn a_question_that_cannot_be_read_in_one_way_is_refused_and_clears_nothing() {
    let app = login();
    let gateway = start(&app);
    lock(&gateway, "ann");
    for query in [
        "",
        "?guard=people",
        "?account=ann&mark=00000000",
        "?account=ann&account=bob",
        "?account=",
        "?account=ann&guard=nobody",
        "?account=ann&force=1",
        "?source=here",
        "?account=ann&after=people~x",
        "?account=ann&limit=0",
        "?account=%ff",
    ] {
        let refused = ask(&gateway, "DELETE", query);
        assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("malformed")), "{query}: {refused:#?}");
    }
    for query in ["?limit=201", "?limit=x", "?after=nothing", "?guard=nobody", "?x=1"] {
        assert_eq!(ask(&gateway, "GET", query).status, 400, "{query}");
    }
    for query in ["?mark=xyz", "?mark=00000000", "?account=bob", "?source=203.0.113.7"] {
        assert_eq!(ask(&gateway, "DELETE", query).status, 404, "{query}");
    }
    assert!(ask(&gateway, "GET", "?guard=nobody").text().contains("people, places"));
    assert_eq!(Request::new("DELETE", "/admin/locks?account=ann").to(gateway.admin).status, 401);
    assert_eq!(Request::get("/admin/locks").bearer("guess").to(gateway.admin).status, 401);
    assert_eq!(ask(&gateway, "POST", "").status, 405);
    assert_eq!(listed(&gateway, "").len(), 1);
}

#[test]
fn what_is_cleared_is_in_the_audit_log_with_who_and_no_name_of_an_account() {
    let app = login();
    let gateway = start(&app);
    lock(&gateway, "ann@example.com");
    let mark = listed(&gateway, "")[0]["mark"].clone();
    assert_eq!(ask(&gateway, "DELETE", "?account=ann@example.com").status, 200);
    assert_eq!(ask(&gateway, "DELETE", "?account=ann@example.com").status, 404);
    assert_eq!(ask(&gateway, "DELETE", "?guard=places&source=203.0.113.7").status, 404);
    gateway.terminate();
    let log = gateway.finish().errors;
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let audited: Vec<_> = lines.iter().filter(|line| line["target"] == "portcullis::audit").collect();
    let said: Vec<_> = audited.iter().map(|line| line["message"].as_str().unwrap()).collect();
    let refused = "an admin call was refused";
    assert_eq!(said, ["lock cleared", "no lock to clear", refused, "no lock to clear", refused], "{log}");
    assert!(audited.iter().all(|line| (&line["actor"], &line["from"]) == (&json!("admin"), &json!("127.0.0.1"))), "{log}");
    let of = |number: usize, names: [&str; 3]| names.map(|name| audited[number][name].clone());
    assert_eq!(of(0, ["guard", "mark", "failures"]), [json!("people"), mark, json!(5)]);
    assert_eq!(of(1, ["guard", "by", "mark"]), [json!(null), json!("account"), json!(null)]);
    assert_eq!(of(3, ["guard", "by", "source"]), [json!("places"), json!("source"), json!("203.0.113.7")]);
    assert!(!log.contains("ann@"), "{log}");
}

#[test]
fn the_command_lists_shows_and_clears() {
    let app = login();
    let gateway = start(&app);
    lock(&gateway, "ann");
    lock(&gateway, "bob");
    let at = format!("http://{}", gateway.admin);
    let config = gateway.dir().join("gateway.toml");
    let locks = |arguments: &[&str]| {
        let common = ["locks".as_ref(), "--config".as_ref(), config.as_os_str(), "--admin".as_ref(), at.as_ref()];
        run(common.into_iter().chain(arguments.iter().map(OsStr::new)))
    };
    let all = locks(&["list"]);
    assert_eq!((all.code, all.output.lines().count()), (Some(0), 2), "{all:#?}");
    assert_eq!(locks(&["list", "--guard", "places"]).output, "");
    let shown = locks(&["show", "--account", "ANN", "--guard", "people"]);
    assert_eq!((shown.code, shown.output.lines().count()), (Some(0), 1), "{shown:#?}");
    assert!(shown.output.contains("people") && shown.output.contains("5 failures in a row"), "{shown:#?}");
    let cleared = locks(&["clear", "--account", "ann"]);
    assert_eq!(cleared.code, Some(0), "{cleared:#?}");
    assert!(cleared.output.ends_with("cleared: 1\n"), "{cleared:#?}");
    let none = locks(&["clear", "--account", "ann"]);
    assert_eq!(none.code, Some(2), "{none:#?}");
    assert!(none.errors.contains("nobody who is meant is locked"), "{none:#?}");
    assert_eq!(locks(&["clear"]).code, Some(2), "nobody is named");
    assert_eq!(attempt(&gateway, "/people", "ann", "right", "203.0.113.7"), 200);
    assert_eq!(attempt(&gateway, "/people", "bob", "right", "203.0.113.7"), 429);
}

#[test]
fn a_lock_of_the_embedded_service_outlives_a_restart_is_listed_and_is_cleared_by_somebody_named() {
    let quick = Quickstart::start();
    // Made before the lock, during which no code is looked at.
    let mut bodies: Vec<Value> = (0..8).map(|_| quick.sign_in_body()).collect();
    for body in &mut bodies[..6] {
        body["password"] = json!("wrong");
    }
    for body in &bodies[..5] {
        assert_eq!(quick.sign_in(body).status, 401);
    }
    assert_eq!(quick.sign_in(&bodies[6]).status, 429);
    let ask = |quick: &Quickstart, method: &str, query: &str| {
        Request::new(method, &format!("/admin/locks{query}")).bearer(quick.value("ADMIN_TOKEN")).to(quick.admin)
    };
    let before = ask(&quick, "GET", "").json();
    let quick = quick.survive_a_power_cut();
    assert_eq!(ask(&quick, "GET", "?guard=embedded").json(), before, "a restart changes nothing");
    let locks = before["locks"].as_array().unwrap();
    let [lock] = &locks[..] else { panic!("{before:#}") };
    assert_eq!(lock["guard"], "embedded");
    assert_eq!((&lock["reason"], &lock["failures"], &lock["source"]), (&json!("failures"), &json!(5), &json!(null)));
    let seconds = |name: &str| lock[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    let now = i64::try_from(epoch_seconds()).unwrap();
    assert!(seconds("since") <= now && now < seconds("until") && seconds("until") <= now + 1_801, "{lock:#}");
    let (email, masked) = (quick.value("ACCOUNT_EMAIL"), lock["identifier"].as_str().unwrap());
    assert!(masked.starts_with(&email[..1]) && masked.contains('…') && !masked.contains(email), "{masked}");
    let phone = Request::query(&[("account", quick.value("ACCOUNT_PHONE"))]);
    assert_eq!(ask(&quick, "GET", &format!("?{phone}")).json()["locks"], before["locks"]);
    assert_eq!(ask(&quick, "GET", "?account=nobody@example.com").status, 404);
    let (config, at) = (quick.dir().join("gateway.toml"), format!("http://{}", quick.admin));
    let run = |arguments: &[&str]| {
        let common = ["locks".as_ref(), "--config".as_ref(), config.as_os_str(), "--admin".as_ref(), at.as_ref()];
        run(common.into_iter().chain(arguments.iter().map(OsStr::new)))
    };
    let listed = run(&["list"]);
    assert!(listed.output.contains(masked) && listed.output.contains("5 failures in a row"), "{listed:#?}");
    let mark = lock["mark"].as_str().unwrap();
    let cleared = run(&["clear", "--mark", mark]);
    assert!(cleared.output.ends_with("cleared: 1\n"), "{cleared:#?}");
    assert_eq!(quick.sign_in(&bodies[5]).status, 401);
    assert_eq!(ask(&quick, "DELETE", &format!("?mark={mark}")).status, 404, "nothing is locked, but a failure is forgotten");
    assert_eq!(quick.sign_in(&bodies[7]).status, 200);
    assert_eq!(ask(&quick, "GET", "").json()["locks"], json!([]));
    let (email, (finished, _)) = (email.to_owned(), quick.stop());
    let lines: Vec<Value> = finished.errors.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let audited = lines.iter().filter(|line| line["target"] == "portcullis::audit" && line["guard"] == "embedded");
    let [cleared, forgotten] = &audited.collect::<Vec<_>>()[..] else { panic!("{finished:#?}") };
    for (line, message) in [(cleared, "lock cleared"), (forgotten, "failures forgotten")] {
        assert_eq!((&line["message"], &line["actor"], &line["mark"]), (&json!(message), &json!("admin"), &json!(mark)));
    }
    assert_eq!(forgotten["counters"], 1);
    assert!(!finished.errors.contains(&email), "{finished:#?}");
}
