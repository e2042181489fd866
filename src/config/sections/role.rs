//! What a route's requests do at a token service behind it, and where they say to whom.

use std::time::Duration;

use crate::config::At;
use crate::config::notation::{Either, Filled, Keys, Lasting, Mapped, Notation, Parsed, Placed, Whole, Word};
use crate::config::table::Table;
use crate::config::units::{minutes, seconds};
use crate::config::values::{HEADER, NAME, TEXT};
use crate::model::{Location, Pointer, Role};

/// `role` of a route.
#[derive(Clone, Debug)]
pub(crate) struct Passage {
    pub(crate) role: Option<At<Role>>,
    pub(crate) token: Option<At<Location>>,
    pub(crate) subject: Option<At<Location>>,
    pub(crate) issuers: Option<At<Vec<At<String>>>>,
    pub(crate) success: Option<At<Vec<u16>>>,
    pub(crate) pending: Option<At<Duration>>,
}

const ROLES: &[(&str, Role)] = &[
    ("login", Role::Login),
    ("confirm", Role::Confirm),
    ("refresh", Role::Refresh),
    ("logout", Role::Logout),
    ("revoke", Role::Revoke),
    ("stepup-start", Role::StepUpStart),
    ("stepup-verify", Role::StepUpVerify),
    ("password-update", Role::PasswordUpdate),
];

pub(crate) const POINTER: Parsed<Pointer> = Parsed {
    what: "a JSON pointer such as \"/refreshToken\"",
    parse: |text| {
        Pointer::parse(text).ok_or_else(|| format!("`{text}` is not a JSON pointer such as \"/refreshToken\" (RFC 6901)"))
    },
    show: ToString::to_string,
};

impl Passage {
    /// A role with everything else left out.
    pub(crate) fn of(role: At<Role>) -> Self {
        Self { role: Some(role), token: None, subject: None, issuers: None, success: None, pending: None }
    }

    fn read(t: &mut Table<'_>) -> Self {
        Self {
            role: t.required("is", Word(ROLES), "What its requests do: \"logout\", \"revoke\", …"),
            token: t.optional(
                "token",
                location(),
                "Where they show the token that it is about: \"bearer\", { header = \"…\" }, { json = \"/refreshToken\" } or { form = \"token\" }. When left out: { form = \"token\" } for `revoke`, { form = \"refresh_token\" } for `refresh`, else \"bearer\".",
            ),
            subject: t.optional(
                "subject",
                location(),
                "For `password-update` without a token: where they name the subject.",
            ),
            issuers: t.optional(
                "issuers",
                Filled(Placed(NAME)),
                "Whose tokens it is about: names of [issuer.NAME], for all of which a session or subject is the same one. When left out, the one whose token is shown among those that `access` names, or the only one.",
            ),
            success: t.optional(
                "success",
                Filled(Whole(200..=599_u16)),
                "The statuses by which the token service says that it did it; all of 2xx when left out.",
            ),
            pending: t.optional(
                "pending",
                Lasting(seconds(1)..=minutes(30)),
                "For `stepup-start`: for how long nothing about the token is remembered, because it may be stepped up any moment; 5 minutes when left out.",
            ),
        }
    }
}

/// A role as a word, or as a table with more.
pub(crate) fn passage() -> impl Notation<Value = Passage> {
    Either {
        text: Mapped { notation: Placed(Word(ROLES)), into: Passage::of },
        other: Keys(Passage::read),
        example: "{ is = \"revoke\", token = { form = \"token\" } }",
    }
}

fn location() -> impl Notation<Value = Location> {
    Either { text: Word(&[("bearer", Location::Bearer)]), other: Keys(place), example: "{ form = \"token\" }" }
}

fn place(t: &mut Table<'_>) -> Location {
    t.exactly_one(&["header", "json", "form"]);
    let header = t.optional("header", HEADER, "In this header field.").map(|name| Location::Header(name.value));
    let json = t.optional("json", POINTER, "In this member of a JSON body (RFC 6901).").map(|at| Location::Json(at.value));
    let form = t.optional("form", TEXT, "In this parameter of a form.").map(|name| Location::Form(name.value.into()));
    // One of them is there, or its absence is reported.
    header.or(json).or(form).unwrap_or(Location::Bearer)
}
