//! Tokens that die of disuse at the running gateway, though their service goes on calling them active.

use serde_json::json;

use crate::support::{Answer, Gateway, TokenService, Upstream, issuer, until, upstream};

/// A route that counts use and one that does not, both of which ask the service for every request; tokens end a second after
/// their last use.
fn config(app: &Upstream, service: &TokenService) -> String {
    let bearer = "upstream = \"app\"\naccess = { bearer = { issuers = [\"main\"] } }";
    upstream("app", &[app.address], "")
        + &issuer("main", service.address(), "idle = \"1s\"")
        + &format!("[[route]]\npath = \"/desk/**\"\nmax_revocation_lag = \"0s\"\n{bearer}\n")
        + &format!("[[route]]\npath = \"/poll/**\"\nmax_revocation_lag = \"0s\"\nactivity = false\n{bearer}\n")
}

#[test]
fn a_token_that_is_only_polled_with_ends_and_no_route_takes_it_after_that() {
    let (app, service) = (Upstream::answering(Answer::ok("fine")), TokenService::start());
    let gateway = Gateway::start(&config(&app, &service));
    service.issue("polled", &json!({ "sub": "ada" }));
    assert_eq!(gateway.get_as("polled", "/poll/news").status, 200, "its first use here");
    assert_eq!(service.calls(), 1);
    // Each question comes well before a second has passed since the one before. Did it count, this would never end.
    until("the token ends", || gateway.get_as("polled", "/poll/news").status == 401);
    let asked = service.calls();
    for path in ["/desk/x", "/poll/news", "/desk/x"] {
        assert_eq!(gateway.get_as("polled", path).status, 401, "{path}");
    }
    assert_eq!(service.calls(), asked, "to ask about it would look like use");
    service.issue("other", &json!({ "sub": "ada" }));
    assert_eq!(gateway.get_as("other", "/desk/x").status, 200);
}
