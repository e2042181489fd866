//! Rate limits.

use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;
use serde_json::{Value as Json, json};

use crate::config::node::{Kind, Node};
use crate::config::notation::{Either, Filled, Flag, Keys, Mapped, Notation, Parsed, Placed, Whole, Word};
use crate::config::table::Table;
use crate::config::units::{parse_duration, show_duration};
use crate::config::values::{HEADER, NAME, NETWORK};
use crate::config::{At, Report};

/// The most units that there can be at once, or in a rate.
const MOST: u32 = 1_000_000;

/// `[limit.NAME]`
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) rate: Option<At<Rate>>,
    pub(crate) burst: Option<At<u32>>,
    pub(crate) key: Option<At<Vec<At<LimitKey>>>>,
    pub(crate) cost: At<u32>,
    pub(crate) keys: At<u32>,
    pub(crate) headers: At<bool>,
    pub(crate) dry_run: At<bool>,
    pub(crate) everywhere: At<bool>,
    pub(crate) exempt: Option<At<Vec<At<IpNet>>>>,
    pub(crate) shared: Option<At<bool>>,
    pub(crate) on_store_outage: Option<At<OnStoreOutage>>,
}

/// What a limit says while the shared store is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OnStoreOutage {
    Local,
    Deny,
    Allow,
}

/// What a route says of a limit.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct LimitUse {
    /// `None` if it is missing, which is reported.
    pub(crate) name: Option<At<String>>,
    pub(crate) cost: Option<At<u32>>,
}

/// So many units in a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rate {
    pub(crate) units: u32,
    pub(crate) per: Duration,
}

/// A part of what a limit counts by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum LimitKey {
    Source,
    Subject,
    Client,
    Session,
    Route,
    Header(HeaderName),
}

const RATE: Parsed<Rate> = Parsed {
    what: "a rate such as \"100/1m\"",
    parse: parse_rate,
    show: |rate| format!("{}/{}", rate.units, show_duration(rate.per)),
};

const PARTS: &[(&str, LimitKey)] = &[
    ("source", LimitKey::Source),
    ("subject", LimitKey::Subject),
    ("client", LimitKey::Client),
    ("session", LimitKey::Session),
    ("route", LimitKey::Route),
];

const OUTAGE: &[(&str, OnStoreOutage)] =
    &[("local", OnStoreOutage::Local), ("deny", OnStoreOutage::Deny), ("allow", OnStoreOutage::Allow)];

impl Limit {
    pub(crate) fn read(t: &mut Table<'_>) -> Self {
        Self {
            rate: t.required("rate", RATE, "How much comes back in which time, evenly: \"100/1m\"."),
            burst: t.optional("burst", Whole(1..=MOST), "How much may be spent at once; what `rate` gives when left out."),
            key: t.required(
                "key",
                KeyNotation,
                "Who has a quota each: \"source\", \"subject\", \"client\", \"session\", \"route\" or { header = \"…\" }; a list \
                 makes one key of several.",
            ),
            cost: t.or("cost", Whole(1..=MOST), 1, "What one request spends."),
            keys: t.or(
                "keys",
                Whole(1..=10_000_000),
                100_000,
                "How many are counted apart; beyond that, newcomers share a quota until others have theirs back.",
            ),
            headers: t.or("headers", Flag, true, "Whether answers tell how much is left (`RateLimit`, `RateLimit-Policy`)."),
            dry_run: t.or("dry_run", Flag, false, "Count and log what would be refused, and let it pass."),
            everywhere: t.or("everywhere", Flag, false, "Whether every route has it, whichever others it names."),
            exempt: t.optional(
                "exempt",
                Filled(Placed(NETWORK)),
                "Networks whose requests it does not count: those of health probes, say.",
            ),
            shared: t.optional(
                "shared",
                Flag,
                "Whether all gateways that share a store count together; they do when left out. false: each for itself.",
            ),
            on_store_outage: t.optional(
                "on_store_outage",
                Word(OUTAGE),
                "What holds while the shared store is away: \"local\", this gateway's part of it, as when left out; \"deny\" (503) \
                 or \"allow\".",
            ),
        }
    }
}

/// The limits of a route, each by its name, or with what a request costs under it there.
pub(crate) fn limit_uses() -> impl Notation<Value = Vec<LimitUse>> {
    let by_name = Mapped { notation: Placed(NAME), into: |name| LimitUse { name: Some(name), cost: None } };
    Filled(Either { text: by_name, other: Keys(LimitUse::read), example: "{ name = \"per-subject\", cost = 5 }" })
}

impl LimitUse {
    fn read(t: &mut Table<'_>) -> Self {
        Self {
            name: t.required("name", NAME, "Which limit: the name of a [limit.NAME]."),
            cost: t.optional(
                "cost",
                Whole(1..=MOST),
                "What a request spends under it here; what the limit says when left out.",
            ),
        }
    }
}

/// One part, or a list of them.
struct KeyNotation;

impl Notation for KeyNotation {
    type Value = Vec<At<LimitKey>>;

    fn read(&self, node: &Node, report: &mut Report) -> Option<Self::Value> {
        match node.kind {
            Kind::List(_) => Filled(part()).read(node, report),
            Kind::Text(_) | Kind::Whole(_) | Kind::Flag(_) | Kind::Table(_) | Kind::Other(_) => {
                part().read(node, report).map(|part| vec![part])
            }
        }
    }

    fn show(&self, _: &Self::Value) -> Option<Json> {
        None
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [part().schema(), Filled(part()).schema()] })
    }
}

fn part() -> impl Notation<Value = At<LimitKey>> {
    Placed(Either { text: Word(PARTS), other: Keys(header), example: "{ header = \"X-Tenant\" }, or a list" })
}

fn header(t: &mut Table<'_>) -> LimitKey {
    // Its absence is reported; nothing is compiled then.
    t.required("header", HEADER, "What this header field says.").map_or(LimitKey::Source, |name| LimitKey::Header(name.value))
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    let parts = text.split_once('/').and_then(|(units, per)| Some((units, parse_duration(per)?)));
    let digits = |units: &&str| !units.is_empty() && units.bytes().all(|byte| byte.is_ascii_digit());
    let read = parts.and_then(|(units, per)| Some((Some(units).filter(digits)?, per)));
    let (units, per) = read.ok_or_else(|| format!("`{text}` is not a rate such as \"100/1m\" or \"5/1s\""))?;
    let units = units.parse().ok().filter(|units| (1..=MOST).contains(units));
    match (units, per) {
        (_, Duration::ZERO) => Err("a rate needs a time in which it comes back".to_owned()),
        (None, _) => Err(format!("a rate is 1 to {MOST} in a time")),
        (Some(units), per) => Ok(Rate { units, per }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_rate_is_read_as_it_is_written_and_nothing_else_is_one(
            units in 1_u32..=MOST, millis in 1_u64..=40 * 86_400_000, text in "[0-9/msh. +-]{0,10}",
        ) {
            let rate = Rate { units, per: Duration::from_millis(millis) };
            prop_assert_eq!(parse_rate(&(RATE.show)(&rate)), Ok(rate));
            if let Ok(rate) = parse_rate(&text) {
                prop_assert!((1..=MOST).contains(&rate.units) && !rate.per.is_zero(), "{text}");
                prop_assert!(text.starts_with(|first: char| first.is_ascii_digit()), "{text}");
                prop_assert_eq!(parse_rate(&(RATE.show)(&rate)), Ok(rate));
            }
        }
    }

    #[test]
    fn a_rate_is_a_whole_number_in_a_time() {
        assert_eq!(parse_rate("100/1m"), Ok(Rate { units: 100, per: Duration::from_mins(1) }));
        for bad in
            ["", "100", "100/", "/1m", "100/m", "0/1m", "1000001/1m", "1/0s", "+5/1s", "5 / 1s", "1.5/1s", "-1/1s", "5/1s/1s"]
        {
            assert!(parse_rate(bad).is_err(), "{bad:?}");
        }
    }
}
