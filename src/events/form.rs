//! The one parameter of a form that is asked for. Others are not understood and do not matter, whatever they are.

/// The media type of forms.
pub(super) const TYPE: &str = "application/x-www-form-urlencoded";

/// The value of the only parameter of this name; `None` if there is none, more than one, or a name or value that cannot be
/// decoded in exactly one way. Reads the text once.
pub(super) fn only(text: &str, name: &str) -> Option<String> {
    let mut found = None;
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key)? == name && found.replace(decode(value)?).is_some() {
            return None;
        }
    }
    found
}

fn decode(text: &str) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_parameter_of_the_name_is_taken() {
        assert_eq!(only("logout_token=a.b.c", "logout_token").as_deref(), Some("a.b.c"));
        assert_eq!(only("x=1&logout%5Ftoken=a%2Eb&y", "logout_token").as_deref(), Some("a.b"));
        for bad in ["", "x=1", "logout_token=a&logout_token=a", "logout_token=a&logout%5ftoken=b", "logout_token=%f", "%=1"] {
            assert_eq!(only(bad, "logout_token"), None, "{bad}");
        }
    }
}
