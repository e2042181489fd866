//! What goes into a statement and comes out of a column: five kinds of value, and how Rust's own types are written as them.
//!
//! Imports nothing of ours. What cannot be read back is a fault, never a default. Deliberately absent: the types of the token
//! service, which say beside their tables how they are written.

/// A value in a statement or a column. A truth is an integer, 0 or 1, as far as it is written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Value<'a> {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// A truth, which only an expression of PostgreSQL is; a column never.
    Truth(bool),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// What can be written into a statement.
pub(crate) trait Bind {
    /// As a value.
    fn bind(&self) -> Value<'_>;
}

/// What can be read from a column.
pub(crate) trait FromColumn: Sized {
    /// From a value; `None` if it is none of these.
    fn from_column(value: Value<'_>) -> Option<Self>;
}

impl<T: Bind + ?Sized> Bind for &T {
    fn bind(&self) -> Value<'_> {
        (**self).bind()
    }
}

impl<T: Bind> Bind for Option<T> {
    fn bind(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, Bind::bind)
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: Value<'_>) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::from_column(value).map(Some) }
    }
}

impl Bind for i64 {
    fn bind(&self) -> Value<'_> {
        Value::Integer(*self)
    }
}

impl FromColumn for i64 {
    fn from_column(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(number),
            Value::Null | Value::Truth(_) | Value::Text(_) | Value::Blob(_) => None,
        }
    }
}

impl Bind for u32 {
    fn bind(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl FromColumn for u32 {
    fn from_column(value: Value<'_>) -> Option<Self> {
        i64::from_column(value)?.try_into().ok()
    }
}

impl FromColumn for bool {
    fn from_column(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Truth(truth) => Some(truth),
            Value::Integer(0) => Some(false),
            Value::Integer(1) => Some(true),
            Value::Null | Value::Integer(_) | Value::Text(_) | Value::Blob(_) => None,
        }
    }
}

impl Bind for str {
    fn bind(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Bind for Box<str> {
    fn bind(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Bind for String {
    fn bind(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl FromColumn for Box<str> {
    fn from_column(value: Value<'_>) -> Option<Self> {
        text(value).map(Into::into)
    }
}

impl Bind for [u8] {
    fn bind(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl Bind for Box<[u8]> {
    fn bind(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl<const N: usize> Bind for [u8; N] {
    fn bind(&self) -> Value<'_> {
        Value::Blob(self)
    }
}

impl FromColumn for Box<[u8]> {
    fn from_column(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.into()),
            Value::Null | Value::Integer(_) | Value::Truth(_) | Value::Text(_) => None,
        }
    }
}

impl<const N: usize> FromColumn for [u8; N] {
    fn from_column(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Blob(bytes) => bytes.try_into().ok(),
            Value::Null | Value::Integer(_) | Value::Truth(_) | Value::Text(_) => None,
        }
    }
}

/// The text of a column, for types that are written as their names.
pub(crate) fn text(value: Value<'_>) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Null | Value::Integer(_) | Value::Truth(_) | Value::Blob(_) => None,
    }
}

/// The values of a statement, by their place (`?1`) or their name (`:now`).
pub(crate) trait Params {
    /// The value for a parameter as it is written in the statement; `None` if there is none.
    fn value(&self, parameter: &str) -> Option<Value<'_>>;
}

/// The values at their places.
fn placed<'a>(values: &[&'a dyn Bind], parameter: &str) -> Option<Value<'a>> {
    let place: usize = parameter.strip_prefix('?')?.parse().ok()?;
    let value: &'a dyn Bind = *values.get(place.checked_sub(1)?)?;
    Some(value.bind())
}

impl<T: Bind, const N: usize> Params for [T; N] {
    fn value(&self, parameter: &str) -> Option<Value<'_>> {
        let place: usize = parameter.strip_prefix('?')?.parse().ok()?;
        self.get(place.checked_sub(1)?).map(Bind::bind)
    }
}

impl Params for () {
    fn value(&self, _parameter: &str) -> Option<Value<'_>> {
        None
    }
}

/// Implements [`Params`] for a tuple.
macro_rules! tuples {
    ($(($($part:ident),+))+) => {$(
        impl<$($part: Bind),+> Params for ($($part,)+) {
            #[expect(non_snake_case, reason = "a part is named as its type")]
            fn value(&self, parameter: &str) -> Option<Value<'_>> {
                let ($($part,)+) = self;
                placed(&[$($part as &dyn Bind),+], parameter)
            }
        }
    )+};
}

tuples! { (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E) (A, B, C, D, E, F) (A, B, C, D, E, F, G) (A, B, C, D, E, F, G, H) }

/// Values by their names, as [`named_params!`] makes them.
impl Params for &[(&'static str, &dyn Bind)] {
    fn value(&self, parameter: &str) -> Option<Value<'_>> {
        self.iter().find(|(name, _)| *name == parameter).map(|(_, value)| value.bind())
    }
}

/// The values of a statement by their names: `named_params! { ":now": At(now), ":sid": sid }`.
macro_rules! named_params {
    ($($name:literal : $value:expr),+ $(,)?) => {
        &[$(($name, &$value as &dyn $crate::store::sql::Bind)),+] as &[(&'static str, &dyn $crate::store::sql::Bind)]
    };
}
pub(crate) use named_params;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_what_it_is_and_as_nothing_else() {
        assert_eq!(i64::from_column(Value::Integer(7)), Some(7));
        assert_eq!(u32::from_column(Value::Integer(-1)), None);
        assert_eq!(bool::from_column(Value::Integer(2)), None);
        assert_eq!(bool::from_column(Value::Truth(true)), Some(true));
        assert_eq!(i64::from_column(Value::Text("7")), None);
        assert_eq!(Box::<str>::from_column(Value::Blob(b"a")), None);
        assert_eq!(<[u8; 2]>::from_column(Value::Blob(b"abc")), None);
        assert_eq!(Option::<i64>::from_column(Value::Null), Some(None));
        assert_eq!(Option::<i64>::from_column(Value::Text("x")), None);
    }

    #[test]
    fn a_parameter_finds_its_value_by_place_or_by_name_or_not_at_all() {
        let at = (1_i64, "two");
        assert_eq!((at.value("?1"), at.value("?2")), (Some(Value::Integer(1)), Some(Value::Text("two"))));
        assert_eq!((at.value("?0"), at.value("?3"), at.value(":one")), (None, None, None));
        let named = named_params! { ":one": 1_i64, ":two": "two" };
        assert_eq!((named.value(":two"), named.value(":three"), named.value("?1")), (Some(Value::Text("two")), None, None));
    }
}
