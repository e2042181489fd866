//! What the answers of a token service say of a login: by a status, or by a status and a member of the JSON in the answer.

use serde_json::{Value as Json, json};

use crate::config::At;
use crate::config::node::{Kind, Node};
use crate::config::notation::{Flag, Keys, Notation, Placed, Whole, expected};
use crate::config::sections::role::POINTER;
use crate::config::table::Table;
use crate::config::{Finding, Place, Report};
use crate::model::{BodySign, Sign, Wanted};

/// A status, or a table.
pub(crate) struct SignNotation;

/// Statuses that have no body: nothing in it can tell anything.
const BODILESS: [u16; 3] = [204, 205, 304];

fn status() -> Whole<u16> {
    Whole(200..=499)
}

impl Notation for SignNotation {
    type Value = At<Sign>;

    fn read(&self, node: &Node, report: &mut Report) -> Option<At<Sign>> {
        let sign = match node.kind {
            Kind::Table(_) => Keys(read_sign).read(node, report)?,
            Kind::Text(_) | Kind::Whole(_) | Kind::Flag(_) | Kind::List(_) | Kind::Other(_) => {
                status().read(node, report).map(|status| Sign { status, body: None })
            }
        };
        Some(At::written(sign?, node.place))
    }

    fn show(&self, sign: &At<Sign>) -> Option<Json> {
        sign.value.body.is_none().then(|| sign.value.status.into())
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [status().schema(), Keys(read_sign).schema()] })
    }
}

/// `None` once what is wrong with it is reported.
fn read_sign(t: &mut Table<'_>) -> Option<Sign> {
    let status = t.required("status", Placed(status()), "The status of the answers that are looked into.");
    let pointer =
        t.required("pointer", POINTER, "Which member of the JSON object in the answer: \"/ok\" (RFC 6901).").map(|at| at.value);
    t.exactly_one(&["equals", "exists"]);
    let equals = t.optional("equals", Literal, "What it must be: a text, a whole number, true or false.");
    let exists = t.optional("exists", Flag, "Whether it must be there at all, whatever it is; null is not there.");
    let exists = exists.map(|at| if at.value { Wanted::There } else { Wanted::Absent });
    let status = status?.value;
    if BODILESS.contains(&status.value) {
        t.report(Finding::error(status.place, format!("an answer with {} has no body", status.value)));
        return None;
    }
    let body = BodySign { pointer: pointer?, wanted: equals.map(|at| at.value).or(exists)? };
    Some(Sign { status: status.value, body: Some(body) })
}

/// What a member can be compared with.
struct Literal;

impl Notation for Literal {
    type Value = Wanted;

    fn read(&self, node: &Node, report: &mut Report) -> Option<Wanted> {
        match &node.kind {
            Kind::Text(text) => Some(Wanted::Text((&**text).into())),
            Kind::Whole(number) => Some(Wanted::Whole(*number)),
            Kind::Flag(flag) => Some(Wanted::Flag(*flag)),
            Kind::List(_) | Kind::Table(_) | Kind::Other(_) => {
                expected("a string, a whole number, true or false", node, report);
                None
            }
        }
    }

    fn show(&self, _: &Wanted) -> Option<Json> {
        None
    }

    fn schema(&self) -> Json {
        json!({ "type": ["string", "integer", "boolean"] })
    }
}

/// The statuses by which a login is wrong, unless it is said.
pub(crate) fn refusals() -> Vec<At<Sign>> {
    [401, 403].into_iter().map(|status| At::default(Sign { status, body: None }, Place::default())).collect()
}
