use std::collections::BTreeSet;

use http::HeaderMap;
use proptest::prelude::*;
use sfv::{BareItem, List, ListEntry, Parser};

use super::*;
use crate::rules::gcra::{Quota, Tat};

/// A limit of any name and size that a configuration can have.
fn limit() -> impl Strategy<Value = Limit> {
    let quota = (1_u32..=1_000_000, 1_u64..2_678_400, 1_u32..=1_000_000, 1_u32..=1_000_000);
    let quota = quota.prop_map(|(units, per, burst, cost)| Quota::new(units, Duration::from_secs(per), burst, cost.min(burst)));
    ("[A-Za-z0-9._-]{1,64}", quota, any::<bool>(), any::<bool>()).prop_map(|(name, quota, told, dry_run)| Limit {
        name: name.into(),
        index: 0,
        quota,
        key: Box::new([LimitKey::Source]),
        keys: 1,
        told,
        dry_run,
        exempt: None,
        shared: None,
    })
}

/// Limits of a route, and of each whether it is exempt and how many requests came before.
fn route() -> impl Strategy<Value = Vec<(Arc<Limit>, bool, u8)>> {
    let one = (limit(), any::<bool>(), 0_u8..20);
    prop::collection::vec(one, 1..=RouteLimits::MOST).prop_map(|all| {
        let place = |(index, (limit, exempt, before))| (Arc::new(Limit { index, ..limit }), exempt, before);
        all.into_iter().enumerate().map(place).collect()
    })
}

/// The members of a structured field (RFC 9651), each a string with whole numbers as its parameters.
fn members(headers: &HeaderMap, name: &str) -> Vec<(String, Vec<(String, u64)>)> {
    let Some(field) = headers.get(name) else { return Vec::new() };
    let list: List = Parser::new(field.as_bytes()).parse().unwrap_or_else(|error| panic!("{field:?}: {error}"));
    let whole = |value: &BareItem| {
        let BareItem::Integer(whole) = value else { panic!("{value:?} in {field:?}") };
        u64::try_from(i64::from(*whole)).unwrap()
    };
    let member = |entry: &ListEntry| match entry {
        ListEntry::Item(item) => {
            let BareItem::String(name) = &item.bare_item else { panic!("{item:?}") };
            let parameters = item.params.iter().map(|(key, value)| (key.as_str().to_owned(), whole(value)));
            (name.as_str().to_owned(), parameters.collect())
        }
        ListEntry::InnerList(inner) => panic!("{inner:?}"),
    };
    list.iter().map(member).collect()
}

proptest! {
    #[test]
    fn what_is_told_are_structured_fields_about_the_limits_that_count(route in route(), unspent in any::<bool>()) {
        let all: Vec<Arc<Limit>> = route.iter().map(|(limit, ..)| Arc::clone(limit)).collect();
        let (limits, mut standing) = (RouteLimits::new(&all), Standing::default());
        for (limit, exempt, before) in &route {
            if *exempt {
                standing.exempt.push(limit.index);
                continue;
            }
            let (mut tat, now) = (Tat::default(), Tick::from_millis(7));
            for _ in 0..*before {
                if let Verdict::Admitted { tat: after, .. } = limit.quota.decide(tat, now) {
                    tat = after;
                }
            }
            standing.note(limit, &limit.quota, limit.quota.decide(tat, now), unspent);
        }
        let mut headers = HeaderMap::new();
        standing.tell(&limits, Style::Problem, &mut headers);
        let (policies, told) = (members(&headers, "ratelimit-policy"), members(&headers, "ratelimit"));
        let names = |members: &[(String, Vec<(String, u64)>)]| members.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let expected: Vec<String> = route
            .iter()
            .filter(|(limit, exempt, _)| limit.told && !limit.dry_run && !exempt)
            .map(|(limit, ..)| (*limit.name).to_owned())
            .collect();
        prop_assert_eq!(names(&told), expected.clone());
        prop_assert_eq!(names(&policies), expected);
        for ((_, policy), (_, stands)) in policies.iter().zip(&told) {
            let keys = |parameters: &[(String, u64)]| parameters.iter().map(|(key, _)| key.clone()).collect::<BTreeSet<_>>();
            prop_assert_eq!(keys(policy), BTreeSet::from(["q".to_owned(), "w".to_owned()]));
            prop_assert_eq!(keys(stands), BTreeSet::from(["r".to_owned(), "t".to_owned()]));
            let value = |parameters: &[(String, u64)], name: &str| parameters.iter().find(|(key, _)| key == name).unwrap().1;
            prop_assert!(value(stands, "r") <= value(policy, "q") && value(stands, "t") <= value(policy, "w"));
        }
    }
}
