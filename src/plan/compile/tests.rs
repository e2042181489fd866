use std::collections::HashMap;

use http::Method;

use super::*;
use crate::plan::{IssuerKind, Target};
use crate::rules::access::Access;
use crate::rules::routing::Found;

/// Secrets that a test sets.
#[derive(Debug, Default)]
struct Given(HashMap<&'static str, &'static str>);

impl SecretSource for Given {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|text| (*text).to_owned())
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        let text = path.to_str().and_then(|name| self.0.get(name));
        text.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn load_text(text: &str) -> Result<(Plan, Report), Report> {
    let secrets = Given([("ADMIN_TOKEN", "hush"), ("/run/secret", "hush\r\n")].into());
    load("gateway.toml", text, &secrets, Machine { cores: 4 })
}

fn plan_of(text: &str) -> Plan {
    load_text(text).unwrap_or_else(|report| panic!("{report}")).0
}

fn route_of<'p>(plan: &'p Plan, path: &str, method: &Method) -> &'p crate::plan::Route {
    match plan.table.find("gateway.example", path, method, None) {
        Found::Route(index) => &plan.routes[index],
        other => panic!("{path}: {other:?}"),
    }
}

const QUICK_START: &str = include_str!("../../../tests/config/quick-start.toml");

#[test]
fn the_quick_start_compiles_without_a_warning() {
    let (plan, report) = load_text(QUICK_START).unwrap_or_else(|report| panic!("{report}"));
    assert!(report.is_empty(), "{report}");
    assert!(matches!(plan.issuers[0].kind, IssuerKind::Embedded));
    assert_eq!(plan.token_service.as_ref().unwrap().public_url.as_ref(), "http://127.0.0.1:8080");
    assert_eq!(plan.admin.token.as_ref().unwrap().expose(), "hush");
    assert_eq!(plan.server.threads, 4);
    for (index, route) in plan.routes.iter().enumerate() {
        assert_eq!(route.index, index);
    }
}

#[test]
fn the_more_specific_route_asks_for_more() {
    let plan = plan_of(QUICK_START);
    let requirements = |path| route_of(&plan, path, &Method::GET).access.requirements().cloned().unwrap();
    assert!(requirements("/api").assurance.is_none());
    assert!(requirements("/api/sensitive/x").assurance.is_some());
    assert_eq!(requirements("/api/admin").scopes.to_string(), "admin");
    assert!(matches!(route_of(&plan, "/public/x", &Method::GET).access, Access::Public));
}

#[test]
fn the_apis_of_the_token_service_bring_their_routes_along() {
    let plan = plan_of(QUICK_START);
    for path in ["/v2/oauth/token", "/v2/oauth/revoke", "/v1/authentications/password", "/oauth2/introspect"] {
        let route = route_of(&plan, path, &Method::POST);
        assert!(matches!((&route.target, &route.access), (Target::TokenService, Access::Public)), "{path}");
        assert_eq!((route.body_limit, route.style()), (16 * 1024, crate::model::Style::OAuth), "{path}");
    }
    assert!(matches!(route_of(&plan, "/v1/accounts", &Method::GET).access, Access::Bearer(_)));
}
