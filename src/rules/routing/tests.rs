//! Who wins, what ties, and that the table agrees with a slow search that follows the rule's words.

use proptest::prelude::*;

use super::*;

fn key(host: &str, path: &str, methods: Option<&[Method]>) -> RouteKey {
    RouteKey {
        host: HostPattern::parse(host).unwrap(),
        path: PathPattern::parse(path).unwrap(),
        methods: methods.map(Into::into),
    }
}

fn table(paths: &[&str]) -> RouteTable {
    RouteTable::build(&paths.iter().map(|path| key("*", path, None)).collect::<Vec<_>>()).unwrap()
}

/// The route of a GET.
fn get(table: &RouteTable, host: &str, path: &str) -> Option<usize> {
    match table.find(host, path, &Method::GET, None) {
        Found::Route(route) => Some(route),
        Found::None => None,
        other @ (Found::WrongMethod { .. } | Found::Options(_)) => panic!("{other:?}"),
    }
}

#[test]
fn the_most_specific_path_wins_segment_by_segment() {
    let table = table(&["/**", "/users/**", "/users/{id}", "/users/me", "/users/{id}/keys", "/*/me"]);
    for (path, route) in [
        ("/", 0),
        ("/other", 0),
        ("/users", 1),
        ("/users/", 1),
        ("/users/7", 2),
        ("/users/7/", 1),
        ("/users/me", 3),
        ("/users/me/keys", 4),
        ("/users/7/keys", 4),
        ("/users/7/keys/1", 1),
        ("/others/me", 5),
        ("/others/me/", 0),
    ] {
        assert_eq!(get(&table, "a", path), Some(route), "{path}");
    }
}

#[test]
fn a_path_that_no_route_has_is_not_found() {
    let table = table(&["/a", "/b/", "/c/{id}", "/d/**"]);
    for path in ["/", "/a/", "/a/b", "/b", "/ab", "/c", "/c/", "/c/1/2", "/dd", "/d%2Fx", "/A"] {
        assert_eq!(get(&table, "a", path), None, "{path}");
    }
    assert_eq!(get(&RouteTable::default(), "a", "/"), None);
}

#[test]
fn the_most_specific_host_wins_and_the_next_is_tried_only_if_it_lacks_the_path() {
    let keys = ["*", "*.example.com", "*.api.example.com", "v1.api.example.com"].map(|host| key(host, "/x", None));
    let extra = [key("*", "/only-any", None), key("v1.api.example.com", "/y", Some(&[Method::POST])), key("*", "/y", None)];
    let table = RouteTable::build(&[keys.as_slice(), &extra].concat()).unwrap();
    for (host, route) in [
        ("v1.api.example.com", 3),
        ("v2.api.example.com", 2),
        ("a.b.api.example.com", 2),
        ("api.example.com", 1),
        ("example.com", 0),
        ("notexample.com", 0),
        ("", 0),
    ] {
        assert_eq!(get(&table, host, "/x"), Some(route), "{host}");
    }
    assert_eq!(get(&table, "v1.api.example.com", "/only-any"), Some(4));
    let wrong = table.find("v1.api.example.com", "/y", &Method::GET, None);
    assert!(matches!(wrong, Found::WrongMethod { route: 5, .. }), "{wrong:?}");
}

#[test]
fn a_method_that_the_most_specific_pattern_lacks_does_not_fall_through() {
    let keys = [key("*", "/a/**", None), key("*", "/a/b", Some(&[Method::POST])), key("*", "/a/b", Some(&[Method::GET]))];
    let table = RouteTable::build(&keys).unwrap();
    let find = |method: Method| table.find("h", "/a/b", &method, None);
    assert_eq!(find(Method::POST), Found::Route(1));
    assert_eq!(find(Method::GET), Found::Route(2));
    assert_eq!(find(Method::HEAD), Found::Route(2));
    let allowed = [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST];
    for method in [Method::PUT, Method::TRACE, Method::from_bytes(b"get").unwrap(), Method::from_bytes(b"BREW").unwrap()] {
        assert_eq!(find(method), Found::WrongMethod { route: 1, allowed: &allowed });
    }
}

#[test]
fn an_options_request_is_answered_for_the_route_that_the_browser_asks_about() {
    let keys =
        [key("*", "/a", Some(&[Method::POST])), key("*", "/a", Some(&[Method::GET])), key("*", "/b", Some(&[Method::OPTIONS]))];
    let table = RouteTable::build(&keys).unwrap();
    let find = |path: &str, requested: Option<&Method>| table.find("h", path, &Method::OPTIONS, requested);
    assert_eq!(find("/a", Some(&Method::GET)), Found::Options(1));
    assert_eq!(find("/a", Some(&Method::HEAD)), Found::Options(1));
    assert_eq!(find("/a", Some(&Method::PUT)), Found::Options(0));
    assert_eq!(find("/a", None), Found::Options(0));
    assert_eq!(find("/b", None), Found::Route(2));
    assert_eq!(find("/c", None), Found::None);
}

#[test]
fn routes_between_which_no_rule_decides_are_ties() {
    let keys = [
        key("*", "/a/{id}", None),
        key("*", "/a/{name}", Some(&[Method::GET, Method::POST])),
        key("*", "/a/*", Some(&[Method::OPTIONS])),
        key("a", "/a/{id}", None),
        key("A.", "/a/%7Bid%7D", None),
        key("*", "/a/*", Some(&[Method::HEAD])),
    ];
    assert_eq!(RouteTable::build(&keys).unwrap_err(), [Tie { first: 0, second: 1 }, Tie { first: 0, second: 5 }]);
}

#[test]
fn a_route_that_names_a_method_twice_does_not_tie_with_itself() {
    assert!(RouteTable::build(&[key("*", "/a", Some(&[Method::GET, Method::GET]))]).is_ok());
}

/// How specific a segment is; less is more.
fn rank(segment: &Segment) -> u8 {
    match segment {
        Segment::Literal(_) => 0,
        Segment::Single(_) => 2,
        Segment::Rest => 3,
    }
}

/// The rule in words, slowly: of all patterns that match, the one whose segments rank first; an end of the pattern ranks
/// before `**` and after nothing.
fn slow(patterns: &[PathPattern], path: &str) -> Option<usize> {
    let asked: Vec<&str> = path[1..].split('/').collect();
    let matches = |pattern: &PathPattern| {
        let mut left = asked.as_slice();
        for segment in pattern.segments() {
            match (segment, left.split_first()) {
                (Segment::Rest, _) => return true,
                (Segment::Literal(text), Some((first, after))) if **text == **first => left = after,
                (Segment::Single(_), Some((first, after))) if !first.is_empty() => left = after,
                (Segment::Literal(_) | Segment::Single(_), _) => return false,
            }
        }
        left.is_empty()
    };
    let ranks = |pattern: &PathPattern| pattern.segments().iter().map(rank).chain([1]).collect::<Vec<_>>();
    (0..patterns.len()).filter(|index| matches(&patterns[*index])).min_by_key(|index| ranks(&patterns[*index]))
}

fn patterns() -> impl Strategy<Value = Vec<PathPattern>> {
    let segment = prop::sample::select(vec!["a", "b", "c", "*", "{x}"]);
    let end = prop::sample::select(vec!["", "", "/", "/**"]);
    let pattern = (prop::collection::vec(segment, 0..4), end).prop_map(|(segments, end)| {
        let mut count = 0;
        let names = segments.iter().map(|segment| {
            count += 1;
            if *segment == "{x}" { format!("/{{x{count}}}") } else { format!("/{segment}") }
        });
        let text = names.collect::<String>() + end;
        PathPattern::parse(if text.is_empty() { "/" } else { &text }).unwrap()
    });
    prop::collection::vec(pattern, 0..12)
}

proptest! {
    #[test]
    fn the_table_finds_what_a_slow_search_finds(
        patterns in patterns(),
        path in prop::collection::vec(prop::sample::select(vec!["/a", "/b", "/c", "/d"]), 0..5),
        slash in any::<bool>(),
    ) {
        let path = path.concat() + if slash { "/" } else { "" };
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let mut unique: Vec<PathPattern> = Vec::new();
        for pattern in patterns {
            let shape = |pattern: &PathPattern| pattern.to_string().replace(char::is_numeric, "").replace("{x}", "*");
            if unique.iter().all(|other| shape(other) != shape(&pattern)) {
                unique.push(pattern);
            }
        }
        let keys: Vec<RouteKey> =
            unique.iter().map(|path| RouteKey { host: HostPattern::any(), path: path.clone(), methods: None }).collect();
        let table = RouteTable::build(&keys).unwrap();
        prop_assert_eq!(get(&table, "h", &path), slow(&unique, &path));
    }
}
