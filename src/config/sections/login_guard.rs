//! Guards on logins at token services that are not ours.

use std::time::Duration;

use crate::config::At;
use crate::config::notation::{Either, Filled, Flag, Keys, Lasting, Mapped, Notation, OneOrMore, Placed, Whole, Word};
use crate::config::sections::login_answer::{SignNotation, refusals};
use crate::config::sections::role::POINTER;
use crate::config::table::Table;
use crate::config::units::{days, minutes, seconds};
use crate::config::values::{HEADER, NAME, TEXT};
use crate::model::{AccountPlace, ClientPlace, CountedBy, Location, Sign, WithoutStore};

/// `[login_guard.NAME]`
#[derive(Debug)]
pub(crate) struct LoginGuard {
    pub(crate) account: Option<At<AccountPlace>>,
    pub(crate) client: Option<At<ClientPlace>>,
    pub(crate) success: Option<At<Vec<At<Sign>>>>,
    pub(crate) failure: At<Vec<At<Sign>>>,
    pub(crate) by: At<Vec<CountedBy>>,
    pub(crate) consecutive: At<u32>,
    pub(crate) lock_for: At<Duration>,
    pub(crate) attempts: Option<At<u32>>,
    pub(crate) within: Option<At<Duration>>,
    pub(crate) count_success: At<bool>,
    pub(crate) on_store_outage: At<WithoutStore>,
}

const COUNTERS: &[(&str, CountedBy)] = &[
    ("account", CountedBy::Account),
    ("source", CountedBy::Source),
    ("account+source", CountedBy::AccountAndSource),
    ("client", CountedBy::Client),
];

impl LoginGuard {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            account: t.required(
                "account",
                account(),
                "Where a login names its account: { json = \"/email\" }, { form = \"username\" }, { header = \"…\" }, or \"subject\" \
                 of the token that the route asks for.",
            ),
            client: t.optional(
                "client",
                client(),
                "Where a login names its client, to count by that: { form = \"client_id\" }, { json = \"/client\" }, { header = \
                 \"…\" }, or \"token\" for the client of the token that the route asks for.",
            ),
            success: t.optional(
                "success",
                Filled(SignNotation),
                "What says that a login is right: statuses, or { status = 200, pointer = \"/ok\", equals = true } about the JSON in \
                 the answer; all of 2xx when left out.",
            ),
            failure: t.or(
                "failure",
                Filled(SignNotation),
                refusals(),
                "What says that it is wrong, likewise; it goes before success. What is neither counts nothing.",
            ),
            by: t.or(
                "by",
                Filled(Word(COUNTERS)),
                vec![CountedBy::Account],
                "What is counted by, each for itself: \"account\", \"source\", \"account+source\", \"client\".",
            ),
            consecutive: t.or(
                "consecutive",
                Whole(1..=100),
                5,
                "Consecutive failures after which an account is locked; nothing locks where only a window is written.",
            ),
            lock_for: t.or("lock_for", Lasting(seconds(1)..=days(1)), minutes(30), "How long a lock lasts, from its start."),
            attempts: t.optional("attempts", Whole(1..=1000), "Failures that there may be in any stretch of time, `within`."),
            within: t.optional("within", Lasting(seconds(1)..=days(1)), "The stretch of time for `attempts`."),
            count_success: t.or("count_success", Flag, false, "Whether right attempts count in the window too."),
            on_store_outage: t.or(
                "on_store_outage",
                Word(&[("local", WithoutStore::Local), ("deny", WithoutStore::Deny)]),
                WithoutStore::Local,
                "While the store that gateways share is away: \"local\" allows this gateway's part of the budget, \"deny\" \
                 refuses with 503.",
            ),
        }
    }
}

fn account() -> impl Notation<Value = AccountPlace> {
    Either { text: Word(&[("subject", AccountPlace::Subject)]), other: Keys(place), example: "{ json = \"/email\" }" }
}

fn client() -> impl Notation<Value = ClientPlace> {
    Either { text: Word(&[("token", ClientPlace::Token)]), other: Keys(client_place), example: "{ form = \"client_id\" }" }
}

/// A guard that a route asks without trying a password.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) guard: Option<At<String>>,
    pub(crate) account: Option<At<AccountPlace>>,
}

impl Check {
    fn of(guard: At<String>) -> Self {
        Self { guard: Some(guard), account: None }
    }

    fn read(t: &mut Table<'_>) -> Self {
        Self {
            guard: t.required("guard", NAME, "The name of a [login_guard.NAME]."),
            account: t.optional(
                "account",
                account(),
                "Where requests of this route name their account, if not where those of the guard do.",
            ),
        }
    }
}

/// `check` of a route.
pub(crate) fn check() -> impl Notation<Value = Vec<Check>> {
    OneOrMore(Either {
        text: Mapped { notation: Placed(NAME), into: Check::of },
        other: Keys(Check::read),
        example: "{ guard = \"login\", account = { form = \"username\" } }",
    })
}

fn client_place(t: &mut Table<'_>) -> ClientPlace {
    location(t).map_or(ClientPlace::Token, ClientPlace::Told)
}

fn place(t: &mut Table<'_>) -> AccountPlace {
    location(t).map_or(AccountPlace::Subject, AccountPlace::Told)
}

/// One of them is there, or its absence is reported.
fn location(t: &mut Table<'_>) -> Option<Location> {
    t.exactly_one(&["header", "json", "form"]);
    let header = t.optional("header", HEADER, "In this header field.").map(|name| Location::Header(name.value));
    let json = t.optional("json", POINTER, "In this member of a JSON body (RFC 6901).").map(|at| Location::Json(at.value));
    let form = t.optional("form", TEXT, "In this parameter of a form.").map(|name| Location::Form(name.value.into()));
    header.or(json).or(form)
}
