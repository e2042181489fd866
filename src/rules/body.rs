//! Reading bodies in exactly one way, or not at all.
//!
//! A body that two readers may read differently lets a caller count against one account and sign in to another. So repeated
//! members and parameters, other encodings, trailing bytes and compressed bodies are refused, never resolved.
//! Imports `model`. Deliberately absent: gathering a body from a socket, and what its members mean.

use std::fmt;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::model::{Location, Pointer, Secret};

/// The largest body, in bytes.
pub const BODY_MAX: usize = 16 * 1024;

/// The media type of forms.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The media type of JSON.
pub const JSON: &str = "application/json";

/// The most parameters of a form: several times what any operation has, and few enough to compare each with each.
const PARAMETERS_MAX: usize = 64;

/// Why a body was not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// 415: another type or charset, or compressed.
    MediaType,
    /// 413.
    TooLarge,
    /// 400: not what its type says, or readable in more than one way.
    Malformed,
}

/// The parameters of a form (`application/x-www-form-urlencoded`), each at most once.
#[derive(Debug)]
pub struct Form(Vec<(String, Secret)>);

impl Form {
    /// A parameter; one without a value counts as absent (RFC 6749 section 3.2).
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&Secret> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value).filter(|value| !value.expose().is_empty())
    }

    /// The names of its parameters, whether they have values or not.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// Reads a form.
    ///
    /// # Errors
    /// `Malformed`: a repeated parameter, more than 64 of them, an escape that is none, or what is not UTF-8.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut form = Self(Vec::new());
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = form_decode(name).ok_or(Unreadable::Malformed)?;
            if form.0.len() == PARAMETERS_MAX || form.0.iter().any(|(known, _)| *known == name) {
                return Err(Unreadable::Malformed);
            }
            form.0.push((name, Secret::new(form_decode(value).ok_or(Unreadable::Malformed)?)));
        }
        Ok(form)
    }
}

/// The members of a JSON object, each at most once at every depth. `Debug` prints none of it.
pub struct Object(Map<String, Value>);

impl Object {
    /// A member that is a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// The member at this path, its names joined by full stops; null counts as absent.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let outer = self.0.get(first);
        let found = match rest {
            None => outer,
            Some(rest) => rest.split('.').fold(outer, |value, name| value?.as_object()?.get(name)),
        };
        found.filter(|value| !value.is_null())
    }

    /// The member that a pointer leads to.
    #[must_use]
    pub fn pointed(&self, pointer: &Pointer) -> Option<&Value> {
        let mut names = pointer.names();
        let outer = self.0.get(names.next()?);
        names.fold(outer, |value, name| value?.as_object()?.get(name))
    }

    /// Whether beside, or instead of, a member on the pointer's way there is one whose name differs from its in case only: many
    /// readers take either.
    #[must_use]
    pub fn has_lookalike(&self, pointer: &Pointer) -> bool {
        let mut members = Some(&self.0);
        pointer.names().any(|name| {
            let Some(here) = members else { return false };
            members = here.get(name).and_then(Value::as_object);
            here.keys().any(|found| found != name && is_alike(found, name))
        })
    }

    /// Reads a JSON object.
    ///
    /// # Errors
    /// `Malformed`: no object, a member that comes twice at any depth, trailing data.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let Single(value) = serde_json::from_str(text).map_err(|_| Unreadable::Malformed)?;
        match value {
            Value::Object(members) => Ok(Self(members)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(Unreadable::Malformed),
        }
    }

    /// Whether there is a member of this name, whatever it is.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Object(…)")
    }
}

/// A body that has been read.
#[derive(Debug)]
pub enum Body {
    /// A JSON object.
    Json(Object),
    /// A form.
    Form(Form),
}

impl Body {
    /// Reads a body in which something is told at `location`; `None` if it is empty, or if nothing is told in bodies there.
    ///
    /// # Errors
    /// `TooLarge` beyond [`BODY_MAX`]; `MediaType` if it is compressed or labelled as something else; `Malformed` if it can be
    /// read in more than one way. JSON under no label or that of a form is taken for what it is, because tools that send it
    /// without being told so label it like that, and whoever reads it behind us may not look at the label.
    pub fn read(location: &Location, headers: &HeaderMap, bytes: &[u8]) -> Result<Option<Self>, Unreadable> {
        if !location.is_in_body() || bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() > BODY_MAX {
            return Err(Unreadable::TooLarge);
        }
        if headers.contains_key(CONTENT_ENCODING) {
            return Err(Unreadable::MediaType);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Malformed)?;
        let is_form = is_of_type(headers, &[FORM]);
        match location {
            Location::Bearer | Location::Header(_) => Ok(None),
            Location::Form(name) if is_form => {
                let form = Form::parse(text)?;
                let exact = usize::from(form.value(name).is_some());
                // Empty values count here, since another reader may take them.
                if told_in_pairs(text, name) > exact { Err(Unreadable::Malformed) } else { Ok(Some(Self::Form(form))) }
            }
            Location::Json(_) if is_of_type(headers, &[JSON]) => Object::parse(text).map(|object| Some(Self::Json(object))),
            Location::Json(_) if (is_form || !headers.contains_key(CONTENT_TYPE)) && text.starts_with('{') => {
                Object::parse(text).map(|object| Some(Self::Json(object)))
            }
            Location::Json(_) | Location::Form(_) => Err(Unreadable::MediaType),
        }
    }

    /// What is told there; `None` if nothing is.
    ///
    /// # Errors
    /// `Malformed` if something else than a text is, or if a reader that takes names in any case finds another there.
    pub fn told(&self, location: &Location) -> Result<Option<&str>, Unreadable> {
        match (self, location) {
            (Self::Form(form), Location::Form(name)) => Ok(form.value(name).map(Secret::expose)),
            (Self::Json(object), Location::Json(pointer)) if object.has_lookalike(pointer) => Err(Unreadable::Malformed),
            (Self::Json(object), Location::Json(pointer)) => match object.pointed(pointer) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Ok(Some(text)),
                Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(Unreadable::Malformed),
            },
            (Self::Form(_) | Self::Json(_), _) => Ok(None),
        }
    }
}

/// How many parameters of a form or query some reader takes for the one of this name: names in another case, behind a byte order
/// mark, or behind a semicolon where others read a value. A name that cannot be decoded may be anything.
#[must_use]
pub fn told_in_pairs(text: &str, name: &str) -> usize {
    let names = text.split(['&', ';']).map(|pair| pair.split_once('=').map_or(pair, |(found, _)| found));
    names.filter(|found| form_decode(found).is_none_or(|found| is_alike(&found, name))).count()
}

/// Whether two names differ in case only, as Unicode folds it, or in a byte order mark.
fn is_alike(one: &str, other: &str) -> bool {
    let fold = |text: &str| -> String {
        text.trim_start_matches('\u{feff}').chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
    };
    fold(one) == fold(other)
}

/// Decodes a form's name or value, once. Bad escapes and anything but UTF-8 are refused: the lenient reader and the strict
/// one would see different texts.
#[must_use]
pub fn form_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Whether there is one Content-Type, one of these, with no charset but UTF-8.
#[must_use]
pub fn is_of_type(headers: &HeaderMap, wanted: &[&str]) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let Ok(only) = only.to_str() else { return false };
    let mut segments = only.split(';').map(str::trim);
    let fits = segments.next().is_some_and(|essence| wanted.iter().any(|media_type| essence.eq_ignore_ascii_case(media_type)));
    fits && segments.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        Some(_) | None => true,
    })
}

/// A JSON value in which no object has two members of the same name.
struct Single(Value);

impl<'de> Deserialize<'de> for Single {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SingleVisitor).map(Self)
    }
}

struct SingleVisitor;

impl<'de> Visitor<'de> for SingleVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Single(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Single(value))) = members.next_entry::<String, Single>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("two members of the same name"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_refused_at_every_depth() {
        for bad in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"b":[{"a":1,"a":2}]}"#, r#"{"b":{"c":{"a":1,"a":2}}}"#] {
            assert_eq!(Object::parse(bad).unwrap_err(), Unreadable::Malformed, "{bad}");
        }
        assert_eq!(Object::parse(r#"{"b":{"a":1},"a":"x"}"#).unwrap().text("a"), Some("x"));
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        for bad in ["", "[]", "null", "\"a\"", "{} {}", "{}x", "{", "{'a':1}", "\u{feff}{}"] {
            assert_eq!(Object::parse(bad).unwrap_err(), Unreadable::Malformed, "{bad}");
        }
        assert_eq!(Object::parse(&"[".repeat(10_000)).unwrap_err(), Unreadable::Malformed, "deep nesting must not recurse");
    }

    fn read(location: &Location, label: Option<&str>, body: &str) -> Result<Option<String>, Unreadable> {
        let mut headers = HeaderMap::new();
        if let Some(label) = label {
            headers.insert(CONTENT_TYPE, label.parse().unwrap());
        }
        let read = Body::read(location, &headers, body.as_bytes())?;
        read.map_or(Ok(None), |body| Ok(body.told(location)?.map(str::to_owned)))
    }

    #[test]
    fn what_is_told_is_found_where_it_is_said_to_be_and_nowhere_else() {
        let (json, form) = (Location::Json(Pointer::parse("/a/b").unwrap()), Location::Form("a".into()));
        let found = Ok(Some("x".to_owned()));
        assert_eq!(read(&json, Some(JSON), r#"{"a":{"b":"x"}}"#), found);
        assert_eq!(read(&json, Some(FORM), r#"{"a":{"b":"x"}}"#), found);
        assert_eq!(read(&json, None, r#"{"a":{"b":"x"}}"#), found);
        assert_eq!(read(&form, Some(FORM), "a=x&b=y"), found);
        for absent in ["{}", r#"{"a":"x"}"#, r#"{"a":{"b":null}}"#, r#"{"a":[{"b":"x"}]}"#, ""] {
            assert_eq!(read(&json, Some(JSON), absent), Ok(None), "{absent}");
        }
        assert_eq!(read(&form, Some(FORM), "b=x"), Ok(None));
    }

    #[test]
    fn what_two_readers_may_read_differently_is_refused() {
        let (json, form) = (Location::Json(Pointer::parse("/a").unwrap()), Location::Form("a".into()));
        for bad in [r#"{"a":["x"]}"#, r#"{"a":1}"#, r#"{"a":"x","a":"y"}"#, r#"{"a":"x"}{}"#, "{"] {
            assert_eq!(read(&json, Some(JSON), bad), Err(Unreadable::Malformed), "{bad}");
        }
        assert_eq!(read(&form, Some(FORM), "a=x&a=y"), Err(Unreadable::Malformed));
        assert_eq!(read(&form, Some(JSON), r#"{"a":"x"}"#), Err(Unreadable::MediaType));
        assert_eq!(read(&form, None, "a=x"), Err(Unreadable::MediaType));
        assert_eq!(read(&json, Some(FORM), "a=x"), Err(Unreadable::MediaType));
        assert_eq!(read(&json, Some("text/plain"), "{}"), Err(Unreadable::MediaType));
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(BODY_MAX));
        assert_eq!(read(&json, Some(JSON), &large), Err(Unreadable::TooLarge));
    }

    #[test]
    fn a_form_is_decoded_once_and_repeated_parameters_are_refused() {
        let form = Form::parse("a=%2B40&b=app%3A%2F%2Fauth&c=x+y%2541&d=&&e").unwrap();
        let value = |name| form.value(name).map(|value| value.expose().to_owned());
        assert_eq!(value("a").as_deref(), Some("+40"));
        assert_eq!(value("b").as_deref(), Some("app://auth"));
        assert_eq!(value("c").as_deref(), Some("x y%41"));
        assert_eq!((value("d"), value("e"), value("f")), (None, None, None));
        for bad in ["a=1&a=1", "a=1&%61=2", "a=&a=1", "a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert_eq!(Form::parse(bad).unwrap_err(), Unreadable::Malformed, "{bad}");
        }
        let many = |count: usize| (0..count).map(|n| format!("p{n}=x")).collect::<Vec<_>>().join("&");
        assert!(Form::parse(&many(64)).is_ok());
        assert_eq!(Form::parse(&many(65)).unwrap_err(), Unreadable::Malformed);
    }
}
