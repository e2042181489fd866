//! Codes and questions leave for real: in production, by a webhook and by a mail server, and what arrives is what is answered.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{
    Answer, Encryption, Gateway, MailServer, Received, Request, Response, SECRET, Scratch, TOKEN, Upstream, now, run, until,
    unused_address, upstream,
};

const PHONE: &str = "+40711111298";
const EMAIL: &str = "ann@example.com";

/// A gateway in production with these APIs and carriers, in front of an upstream that answers 200.
struct World {
    gateway: Gateway,
    password: String,
    _app: Upstream,
}

impl World {
    #[track_caller]
    fn start(dir: Scratch, service: &str) -> Self {
        let app = Upstream::answering(Answer::ok("hello"));
        let config = format!(
            "environment = \"production\"\n\
             [token_service]\npublic_url = \"https://api.example\"\nhashing = {{ memory = \"7MiB\", passes = 1 }}\n{service}\n{}\n\
             [[route]]\npath = \"/sensitive\"\nupstream = \"app\"\nstyle = \"session\"\n\
             access = {{ bearer = {{ acr = [\"second-factor\"] }} }}\n",
            upstream("app", &[app.address], "")
        );
        let gateway = Gateway::start_beside(dir, &config);
        let added = gateway.command(&["account", "add", "--email", EMAIL, "--phone", PHONE]);
        let password = added.trim().rsplit("this once: ").next().unwrap().to_owned();
        Self { gateway, password, _app: app }
    }

    /// How many messages came to this end.
    fn count(&self, kind: &str, outcome: &str) -> Option<u64> {
        let page = Request::get("/metrics").to(self.gateway.admin);
        let name = format!("portcullis_notifications_total{{kind=\"{kind}\",outcome=\"{outcome}\"}} ");
        page.text().lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
    }
}

/// Somebody logged in to the session API.
struct Session<'w> {
    world: &'w World,
    key: String,
    token: String,
}

impl<'w> Session<'w> {
    #[track_caller]
    fn open(world: &'w World) -> Self {
        for channel in ["SMS", "AUTHY"] {
            world.gateway.command(&["account", "enrol", EMAIL, channel]);
        }
        let said = world.gateway.command(&["api-key", "add", "app"]);
        let key = said.trim().rsplit("this once: ").next().unwrap().to_owned();
        let body = json!({ "email": EMAIL, "password": { "value": world.password } });
        let answer = world.gateway.ask(&Request::json("/multi/login_with_password", &body).field("api-key", &key));
        assert_eq!(answer.status, 200, "{answer:#?}");
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        Self { world, key, token }
    }

    #[track_caller]
    fn call(&self, path: &str, body: &Value) -> Response {
        let request = Request::json(&format!("/multi/stepup/challenges/{path}"), body);
        self.world.gateway.ask(&request.field("api-key", &self.key).bearer(&self.token))
    }

    fn sensitive(&self) -> u16 {
        self.world.gateway.get_as(&self.token, "/sensitive").status
    }
}

fn webhook(to: &Upstream, carries: &str) -> String {
    format!(
        "[token_service.notifier.webhook]\nurl = \"http://{}/messages?tenant=7\"\nsecret = {{ env = \"{}\" }}\n\
         carries = [{carries}]\ndeadline = \"1m\"\n",
        to.address, TOKEN.0
    )
}

fn smtp(to: &MailServer, keys: &str) -> String {
    format!(
        "[token_service.notifier.smtp]\nserver = \"127.0.0.1\"\nport = {}\nfrom = \"Example <no-reply@example.com>\"\n\
         deadline = \"1m\"\n{keys}\n",
        to.address.port()
    )
}

/// The signature of a body, as both directions have it.
fn signature(secret: &str, published: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    STANDARD.encode(hmac::sign(&key, &[published.as_bytes(), b".", body].concat()))
}

/// What a message says, once it is seen to be signed.
#[track_caller]
fn told(message: &Received) -> Value {
    assert_eq!((&*message.method, &*message.target), ("POST", "/messages?tenant=7"));
    assert_eq!(message.only("Content-Type"), "application/json");
    let published = message.only("published-timestamp");
    assert_eq!(message.only("signature"), signature(TOKEN.1, published, &message.body));
    let body: Value = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(message.only("idempotency-key"), body["id"].as_str().unwrap());
    body
}

const SESSION: &str = "[token_service.session]\n";

#[test]
fn a_code_by_text_message_is_tried_until_it_is_taken_and_steps_the_token_up() {
    let tries = AtomicUsize::new(0);
    let receiver = Upstream::scripted(move |_| {
        let status = if tries.fetch_add(1, Ordering::SeqCst) < 2 { 503 } else { 202 };
        Answer::new(status, &[], "")
    });
    let world = World::start(Scratch::new(), &format!("{SESSION}{}", webhook(&receiver, "\"sms\"")));
    let session = Session::open(&world);
    assert_eq!(session.sensitive(), 403);
    assert_eq!(session.call("otp/SMS", &json!({})).status, 204);
    until("the message is taken", || world.count("sms", "sent") == Some(1));
    let messages = receiver.requests();
    let bodies: Vec<Value> = messages.iter().map(told).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    let code = bodies[0]["code"].as_str().unwrap();
    assert_eq!((&bodies[0]["kind"], &bodies[0]["to"], &bodies[0]["language"]), (&json!("sms"), &json!(PHONE), &json!("en")));
    assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()), "{code}");
    assert_eq!(session.call("otp/SMS/verify", &json!({ "verificationCode": code })).status, 204);
    assert_eq!(session.sensitive(), 200);
}

#[test]
fn a_question_is_asked_by_the_webhook_and_its_signed_answer_steps_the_token_up() {
    let receiver = Upstream::answering(Answer::new(204, &[], ""));
    let service =
        format!("{SESSION}callback_secret = {{ env = \"{}\" }}\n{}", SECRET.0, webhook(&receiver, "\"sms\", \"push\""));
    let world = World::start(Scratch::new(), &service);
    let session = Session::open(&world);
    let asked = session.call("push/AUTHY", &json!({}));
    assert_eq!(asked.status, 200, "{asked:#?}");
    until("the question arrives", || receiver.count() == 1);
    let question = told(&receiver.last());
    assert_eq!((&question["kind"], &question["channel"]), (&json!("push"), &json!("AUTHY")));
    assert_eq!(question["id"], asked.json()["id"]);
    assert!(question.get("code").is_none(), "{question}");

    let answer = json!({ "id": question["id"], "status": "APPROVED" });
    let published = now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis().to_string();
    let answered = |secret: &str| {
        let signature = signature(secret, &published, answer.to_string().as_bytes());
        let request = Request::json("/multi/callbacks/push", &answer);
        world.gateway.ask(&request.field("published-timestamp", &published).field("signature", &signature)).status
    };
    // The key of the way out is not the key of the way back.
    assert_eq!(answered(TOKEN.1), 401);
    assert_eq!(session.sensitive(), 403);
    assert_eq!(answered(SECRET.1), 204);
    assert_eq!(session.sensitive(), 200);
}

#[test]
fn a_number_that_is_nobodys_gets_the_same_answer_and_no_message() {
    let receiver = Upstream::answering(Answer::new(204, &[], ""));
    let world = World::start(Scratch::new(), &format!("[token_service.oauth]\n{}", webhook(&receiver, "\"sms\"")));
    let request = |phone: &str| {
        let body = json!({ "phoneNumber": phone, "language": "ro", "destination": "Phone" });
        world.gateway.ask(&Request::json("/v2/verification/request-code", &body))
    };
    let (nobodys, ours) = (request("+40700000000"), request(PHONE));
    assert_eq!((nobodys.status, ours.status), (200, 200));
    until("the message is taken", || world.count("sms", "sent") == Some(1));
    let message = told(&receiver.last());
    assert_eq!((receiver.count(), &message["to"], &message["language"]), (1, &json!(PHONE), &json!("ro")));
    let proof = json!({ "phoneNumber": PHONE, "verificationCode": message["code"] });
    let verified = world.gateway.ask(&Request::json("/v2/verification/verify-code", &proof));
    assert_eq!(verified.status, 200, "{verified:#?}");
}

#[test]
fn a_message_that_is_refused_is_not_tried_again_and_the_answer_is_the_usual_one() {
    let receiver = Upstream::answering(Answer::new(422, &[], "no such number"));
    let world = World::start(Scratch::new(), &format!("{SESSION}{}", webhook(&receiver, "\"sms\"")));
    assert_eq!(Session::open(&world).call("otp/SMS", &json!({})).status, 204);
    until("the message is refused", || world.count("sms", "refused") == Some(1));
    assert_eq!(receiver.count(), 1);
}

#[test]
fn a_receiver_that_is_not_there_delays_no_answer_and_the_message_is_given_up() {
    let receiver = unused_address();
    let service = format!(
        "{SESSION}[token_service.notifier]\nattempts = 2\n\
         [token_service.notifier.webhook]\nurl = \"http://{receiver}/\"\nsecret = {{ env = \"{}\" }}\ncarries = [\"sms\"]\n",
        TOKEN.0
    );
    let world = World::start(Scratch::new(), &service);
    assert_eq!(Session::open(&world).call("otp/SMS", &json!({})).status, 204);
    until("the message is given up", || world.count("sms", "gave-up") == Some(1));
}

#[test]
fn a_stop_waits_for_the_message_that_is_on_its_way() {
    let (asked, stopped) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (script, tries) = ((Arc::clone(&asked), Arc::clone(&stopped)), AtomicUsize::new(0));
    let receiver = Upstream::scripted(move |_| {
        if tries.fetch_add(1, Ordering::SeqCst) > 0 {
            return Answer::new(204, &[], "");
        }
        script.0.wait();
        script.1.wait();
        Answer::new(503, &[], "")
    });
    let world = World::start(Scratch::new(), &format!("{SESSION}{}", webhook(&receiver, "\"sms\"")));
    assert_eq!(Session::open(&world).call("otp/SMS", &json!({})).status, 204);
    asked.wait();
    world.gateway.terminate();
    until("no more requests are taken", || TcpStream::connect(world.gateway.address).is_err());
    stopped.wait();
    let finished = world.gateway.finish();
    assert_eq!((finished.code, receiver.count()), (Some(0), 2), "{finished:?}");
}

/// Signs in to the back office API with the code out of the mail.
#[track_caller]
fn sign_in_by_mail(world: &World, mail: impl FnOnce() -> Vec<String>) {
    world.gateway.command(&["account", "email-factor", EMAIL, "on"]);
    let body = json!({ "email": EMAIL, "password": world.password });
    let asked = world.gateway.ask(&Request::json("/api/v2/signin", &body));
    assert_eq!(asked.status, 200, "{asked:#?}");
    let asked = asked.json();
    assert_eq!(asked["2faRequired"], json!(true), "{asked}");
    let mail = mail();
    for header in ["From: Example <no-reply@example.com>", "To: ann@example.com", "Content-Type: text/plain; charset=utf-8"] {
        assert!(mail.iter().any(|line| line == header), "{header}: {mail:#?}");
    }
    let code = mail.iter().find_map(|line| line.strip_prefix("Your code is ")?.strip_suffix('.'));
    let body = json!({ "token": asked["2faDetails"]["token"], "code": code.expect("a code in the mail") });
    let confirmed = world.gateway.ask(&Request::json("/api/v2/2fa/confirm", &body));
    assert_eq!(confirmed.status, 200, "{confirmed:#?}");
    assert!(confirmed.json()["accessToken"]["token"].is_string());
}

#[test]
fn a_mail_that_is_put_off_is_handed_over_again_and_its_code_completes_the_sign_in() {
    let server = MailServer::start(Encryption::None, |session| if session == 0 { "451 later" } else { "250 ok" });
    let service = format!("[token_service.back_office]\n{}", smtp(&server, "tls = \"none\"\nsubject = \"Ihr Code für heute\""));
    let world = World::start(Scratch::new(), &service);
    sign_in_by_mail(&world, || {
        let [first, second] = &server.sessions(2)[..] else { panic!("more than two sessions") };
        assert!(first.mail.is_empty() && first.commands[0] == "EHLO example.com", "{first:?}");
        assert!(second.mail.iter().any(|line| line == "Subject: Ihr Code =?utf-8?b?ZsO8cg==?= heute"), "{second:?}");
        second.mail.clone()
    });
    until("the mail is counted", || world.count("email", "sent") == Some(1));
}

#[test]
fn a_mail_server_is_spoken_to_over_tls_and_told_who_we_are() {
    let server = MailServer::start(Encryption::Implicit, |_| "250 ok");
    let dir = Scratch::new();
    dir.write("ca.pem", &server.certificate);
    let login = format!("login = {{ username = \"gateway\", password = {{ env = \"{}\" }} }}\nca_file = \"ca.pem\"", TOKEN.0);
    let world = World::start(dir, &format!("[token_service.back_office]\n{}", smtp(&server, &login)));
    sign_in_by_mail(&world, || {
        let session = server.sessions(1).remove(0);
        let login = STANDARD.encode(format!("\0gateway\0{}", TOKEN.1));
        assert!(session.commands.contains(&format!("AUTH PLAIN {login}")), "{session:?}");
        session.mail
    });
}

#[test]
fn a_mail_server_is_asked_for_tls_where_it_begins_in_the_clear() {
    let server = MailServer::start(Encryption::StartTls, |_| "250 ok");
    let dir = Scratch::new();
    dir.write("ca.pem", &server.certificate);
    let keys = smtp(&server, "tls = \"starttls\"\nca_file = \"ca.pem\"");
    let world = World::start(dir, &format!("[token_service.back_office]\n{keys}"));
    sign_in_by_mail(&world, || server.sessions(1).remove(0).mail);
}

#[test]
fn a_mail_server_that_offers_no_tls_is_told_nothing() {
    let server = MailServer::start(Encryption::None, |_| "250 ok");
    let service = format!("[token_service.back_office]\n{}", smtp(&server, "tls = \"starttls\""));
    let world = World::start(Scratch::new(), &service);
    world.gateway.command(&["account", "email-factor", EMAIL, "on"]);
    let body = json!({ "email": EMAIL, "password": world.password });
    assert_eq!(world.gateway.ask(&Request::json("/api/v2/signin", &body)).status, 200);
    until("the mail is refused", || world.count("email", "refused") == Some(1));
    let said = server.sessions(1).remove(0).commands;
    assert_eq!(said, ["EHLO example.com"]);
}

#[test]
fn a_check_says_that_the_certificates_of_a_carrier_are_not_there() {
    let dir = Scratch::new();
    let config = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[token_service]\npublic_url = \"https://api.example\"\n{SESSION}\
         [token_service.notifier.webhook]\nurl = \"https://127.0.0.1:1/\"\nsecret = {{ env = \"{}\" }}\ncarries = [\"sms\"]\n\
         ca_file = \"ca.pem\"\n[upstream.app]\nservers = [\"http://127.0.0.1:1\"]\n\
         [[route]]\npath = \"/x\"\nupstream = \"app\"\naccess = \"public\"\n",
        TOKEN.0
    );
    let file = dir.write("gateway.toml", &config);
    let check = || run(["check".as_ref(), file.as_os_str()]);
    let refused = check();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.errors.contains("ca.pem"), "{refused:?}");
    dir.write("ca.pem", &MailServer::start(Encryption::Implicit, |_| "250 ok").certificate);
    let accepted = check();
    assert_eq!(accepted.code, Some(0), "{accepted:?}");
}

#[test]
fn a_mail_server_whose_certificate_is_not_trusted_gets_no_code() {
    let (server, other) =
        (MailServer::start(Encryption::Implicit, |_| "250 ok"), MailServer::start(Encryption::Implicit, |_| "250 ok"));
    let dir = Scratch::new();
    dir.write("ca.pem", &other.certificate);
    let keys = format!("{}[token_service.notifier]\nattempts = 1\n", smtp(&server, "ca_file = \"ca.pem\""));
    let world = World::start(dir, &format!("[token_service.back_office]\n{keys}"));
    world.gateway.command(&["account", "email-factor", EMAIL, "on"]);
    let body = json!({ "email": EMAIL, "password": world.password });
    assert_eq!(world.gateway.ask(&Request::json("/api/v2/signin", &body)).status, 200);
    until("the mail is given up", || world.count("email", "gave-up") == Some(1));
    assert!(server.sessions(0).is_empty());
}
