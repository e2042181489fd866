//! Who is believed, how far, and what upstreams are told.

use proptest::prelude::*;

use super::*;

const PEER: &str = "10.0.0.1";

fn proxies() -> TrustedProxies {
    TrustedProxies(Box::new(["10.0.0.0/8".parse().unwrap(), "2001:db8:ffff::/48".parse().unwrap()]))
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, text) in fields {
        headers.append(*name, HeaderValue::from_bytes(text.as_bytes()).unwrap());
    }
    headers
}

fn client(peer: &str, fields: &[(&'static str, &str)]) -> String {
    proxies().client(peer.parse().unwrap(), &headers(fields)).to_string()
}

#[test]
fn nobody_is_believed_by_default_nor_is_a_peer_that_is_not_listed() {
    let fields = [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=192.0.2.7")];
    let nobody = TrustedProxies::default();
    assert_eq!(nobody.client(PEER.parse().unwrap(), &headers(&fields)).to_string(), PEER);
    assert_eq!(client("198.51.100.1", &fields), "198.51.100.1");
}

#[test]
fn the_client_is_the_nearest_hop_that_is_no_believed_proxy() {
    for (list, expected) in [
        ("192.0.2.7", "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7", "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7, 10.9.9.9", "192.0.2.7"),
        ("10.0.0.3,10.0.0.2", "10.0.0.3"),
        (" , 192.0.2.7 ,", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", PEER),
    ] {
        assert_eq!(client(PEER, &[("x-forwarded-for", list)]), expected, "{list}");
    }
    assert_eq!(client("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
    assert_eq!(client("2001:db8:ffff::1", &[("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
}

#[test]
fn behind_a_hop_that_is_no_address_nothing_is_believed() {
    for list in [
        "192.0.2.7, unknown",
        "192.0.2.7, _hidden",
        "192.0.2.7, 1.2.3",
        "192.0.2.7, 1.2.3.4:x",
        "192.0.2.7 10.0.0.2",
        "localhost",
        "é",
    ] {
        assert_eq!(client(PEER, &[("x-forwarded-for", list)]), PEER, "{list}");
    }
    assert_eq!(client(PEER, &[("x-forwarded-for", "192.0.2.7, junk, 10.0.0.2")]), "10.0.0.2");
}

#[test]
fn several_lines_are_one_list() {
    assert_eq!(client(PEER, &[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "10.0.0.2")]), "192.0.2.7");
    assert_eq!(client(PEER, &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
    assert_eq!(client(PEER, &[("forwarded", "for=6.6.6.6"), ("forwarded", "for=192.0.2.7, for=10.0.0.2")]), "192.0.2.7");
}

#[test]
fn the_standard_field_is_read_with_its_quotes() {
    for (text, expected) in [
        ("for=192.0.2.7", "192.0.2.7"),
        ("For=\"192.0.2.7:80\";proto=https;by=10.0.0.1", "192.0.2.7"),
        ("proto=http; for=\"[2001:db8::7]:4711\"", "2001:db8::7"),
        ("for=6.6.6.6;host=\"a,for=7.7.7.7\", for=192.0.2.7", "192.0.2.7"),
        ("for=192.0.2.7;host=\"a\\\",for=7.7.7.7\"", "192.0.2.7"),
        ("for=6.6.6.6, for=unknown", PEER),
        ("for=6.6.6.6, proto=https", PEER),
        ("for=6.6.6.6;for=192.0.2.7", PEER),
        ("for=6.6.6.6, for=\"192.0.2.7", PEER),
        ("192.0.2.7", PEER),
        ("for=2001:db8::7", "2001:db8::7"),
    ] {
        assert_eq!(client(PEER, &[("forwarded", text)]), expected, "{text}");
    }
}

#[test]
fn two_fields_that_disagree_are_nobodys_word() {
    let listed = ("x-forwarded-for", "192.0.2.7");
    assert_eq!(client(PEER, &[listed, ("forwarded", "for=6.6.6.6")]), PEER);
    assert_eq!(client(PEER, &[listed, ("forwarded", "junk")]), PEER);
    assert_eq!(client(PEER, &[listed, ("forwarded", "for=192.0.2.7")]), "192.0.2.7");
}

fn told(peer: &str, host: Option<&'static str>, fields: &[(&'static str, &str)]) -> [String; 4] {
    let host = host.map(HeaderValue::from_static);
    let fields = proxies().upstream_fields(peer.parse().unwrap(), Scheme::Http, host.as_ref(), &headers(fields));
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    [text(&fields.for_), text(&fields.proto), fields.host.as_ref().map(text).unwrap_or_default(), text(&fields.forwarded)]
}

#[test]
fn an_upstream_is_told_nothing_that_an_unknown_peer_made_up() {
    let forged = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https"), ("forwarded", "for=6.6.6.6;proto=https")];
    assert_eq!(
        told("198.51.100.1", Some("api.example.com:8080"), &forged),
        ["198.51.100.1", "http", "api.example.com:8080", "for=198.51.100.1;host=\"api.example.com:8080\";proto=http"],
    );
    assert_eq!(told("2001:db8::7", None, &[]), ["2001:db8::7", "http", "", "for=\"[2001:db8::7]\";proto=http"]);
}

#[test]
fn hops_and_scheme_of_a_believed_proxy_are_passed_on_and_what_lies_behind_the_client_is_not() {
    let fields = [
        ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2"),
        ("x-forwarded-proto", "HTTPS"),
        ("x-forwarded-host", "evil.test"),
    ];
    assert_eq!(
        told(PEER, Some("a.test"), &fields),
        [
            "192.0.2.7, 10.0.0.2, 10.0.0.1",
            "https",
            "a.test",
            "for=192.0.2.7;host=\"a.test\";proto=https, for=10.0.0.2, for=10.0.0.1",
        ],
    );
}

#[test]
fn a_scheme_that_is_reported_twice_or_is_none_is_not_believed() {
    for fields in [
        [("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")].as_slice(),
        &[("x-forwarded-proto", "https, http")],
        &[("x-forwarded-proto", "ftp")],
    ] {
        assert_eq!(told(PEER, None, fields)[1], "http");
    }
}

#[test]
fn a_host_that_is_none_is_not_told() {
    assert_eq!(told(PEER, Some("a\"b"), &[])[2..], ["", "for=10.0.0.1;proto=http"]);
}

#[test]
fn a_chain_is_followed_only_so_far() {
    let long = "10.0.0.2, ".repeat(1000);
    assert_eq!(told(PEER, None, &[("x-forwarded-for", &long)])[0].split(", ").count(), LONGEST_CHAIN + 1);
}

proptest! {
    #[test]
    fn a_client_cannot_choose_its_address_by_writing_further_left(spoofed in "[0-9a-f.:, \"=;\\[\\]_-]{0,40}") {
        let list = format!("{spoofed}, 192.0.2.7");
        prop_assert_eq!(client(PEER, &[("x-forwarded-for", &list)]), "192.0.2.7");
    }

    #[test]
    fn no_text_makes_it_panic_and_what_is_told_is_never_unknown(list in "[ -~]{0,60}", elements in "[ -~]{0,60}") {
        for fields in [vec![("x-forwarded-for", list.as_str())], vec![("forwarded", elements.as_str())]] {
            let [for_, _, _, forwarded] = told(PEER, Some("a"), &fields);
            prop_assert!(for_.ends_with(PEER) && forwarded.starts_with("for="), "{} {}", for_, forwarded);
        }
    }
}
