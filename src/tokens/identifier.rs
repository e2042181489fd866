//! What people call themselves: phone numbers and e-mail addresses, and the keys under which they are found and counted.
//!
//! Imports nothing of ours. An account is found and counted by the same key, so no spelling of an address gets a budget of
//! its own. Deliberately absent: whether anybody has the address.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// A phone number in E.164 form, which has one spelling only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PhoneNumber(Box<str>);

/// An e-mail address: as it was given, and the key under which it is found.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress {
    given: Box<str>,
    key: Box<str>,
}

/// By what a sign-in names an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Identifier<'a> {
    /// API A.
    Phone(&'a PhoneNumber),
    /// APIs B and C.
    Email(&'a EmailAddress),
}

/// Not a phone number in E.164 form: `+`, then 2 to 15 digits of which the first is not 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a phone number is `+` and 2 to 15 digits, the first of them not 0")]
pub struct InvalidPhoneNumber;

/// Not an e-mail address that can be used as an identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an e-mail address is at most 254 bytes without spaces or control characters, with one `@` inside")]
pub struct InvalidEmailAddress;

impl PhoneNumber {
    /// Checks the text; nothing is trimmed or repaired.
    ///
    /// # Errors
    /// [`InvalidPhoneNumber`].
    pub fn parse(text: &str) -> Result<Self, InvalidPhoneNumber> {
        let digits = text.strip_prefix('+').ok_or(InvalidPhoneNumber)?;
        let well_formed =
            (2..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
        if well_formed { Ok(Self(text.into())) } else { Err(InvalidPhoneNumber) }
    }

    /// The number with its `+`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ISO 3166 code of the country whose calling code it begins with. Where countries share a calling code it is the
    /// largest of them: an account can be given another.
    #[must_use]
    pub fn country(&self) -> Option<&'static str> {
        let digits = self.0.strip_prefix('+')?;
        (1..=3).rev().filter_map(|length| digits.get(..length)).find_map(country_of_calling_code)
    }
}

impl EmailAddress {
    /// The longest address, in bytes (RFC 5321 section 4.5.3.1.3, less the angle brackets).
    pub const MAX_LEN: usize = 254;

    /// Trims the text, checks it, and folds its key: NFKC and lower case, so that no spelling is another account.
    ///
    /// # Errors
    /// [`InvalidEmailAddress`].
    pub fn parse(text: &str) -> Result<Self, InvalidEmailAddress> {
        let given = text.trim();
        if given.len() > Self::MAX_LEN {
            return Err(InvalidEmailAddress);
        }
        let key: String = given.nfkc().flat_map(char::to_lowercase).nfkc().collect();
        let (name, host) = key.split_once('@').ok_or(InvalidEmailAddress)?;
        let printable = !key.chars().any(|c| c.is_whitespace() || c.is_control());
        let whole = !name.is_empty() && !host.is_empty() && !host.contains('@');
        if printable && whole { Ok(Self { given: given.into(), key: key.into() }) } else { Err(InvalidEmailAddress) }
    }

    /// The address as it was given.
    #[must_use]
    pub fn as_given(&self) -> &str {
        &self.given
    }

    /// The key under which it is found.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Identifier<'_> {
    /// A text that is different for every identifier of any sort; to be hashed, not to be kept.
    #[must_use]
    pub fn distinct_text(&self) -> String {
        match self {
            Self::Phone(phone) => format!("phone:{}", phone.as_str()),
            Self::Email(email) => format!("email:{}", email.key()),
        }
    }
}

impl fmt::Debug for PhoneNumber {
    /// The last two digits only: a log is no phone book.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhoneNumber(…{})", self.0.get(self.0.len().saturating_sub(2)..).unwrap_or_default())
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailAddress(…@{})", self.key.split_once('@').map(|(_, host)| host).unwrap_or_default())
    }
}

fn country_of_calling_code(code: &str) -> Option<&'static str> {
    CALLING_CODES.lines().filter_map(|line| line.split_once(' ')).find(|(known, _)| *known == code).map(|(_, country)| country)
}

/// Calling codes (ITU-T E.164) and the ISO 3166 codes of their countries, one pair a line.
const CALLING_CODES: &str = include_str!("calling_codes.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_number_has_one_spelling() {
        for good in ["+40711111298", "+12", "+123456789012345"] {
            assert!(PhoneNumber::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "+", "+1", "40711111298", "+0711111298", " +40711111298", "+40 711", "+1234567890123456", "+٤٠٧١١"]
        {
            assert_eq!(PhoneNumber::parse(bad), Err(InvalidPhoneNumber), "{bad:?}");
        }
    }

    #[test]
    fn the_longest_calling_code_names_the_country() {
        let country = |text: &str| PhoneNumber::parse(text).unwrap().country();
        assert_eq!(country("+40711111298"), Some("RO"));
        assert_eq!(country("+12025550100"), Some("US"));
        assert_eq!(country("+35312345678"), Some("IE"));
        assert_eq!(country("+99912345678"), None);
    }

    #[test]
    fn spellings_of_one_address_share_a_key_and_the_given_spelling_is_kept() {
        let email = EmailAddress::parse("  Ann.Ray@Example.COM ").unwrap();
        assert_eq!(email.as_given(), "Ann.Ray@Example.COM");
        for same in ["ann.ray@example.com", "ANN.RAY@EXAMPLE.COM", "ａnn.ray@example.com"] {
            assert_eq!(EmailAddress::parse(same).unwrap().key(), email.key(), "{same}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "a".repeat(EmailAddress::MAX_LEN));
        for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a\u{0}@c", "a\n@c", long.as_str()] {
            assert_eq!(EmailAddress::parse(bad), Err(InvalidEmailAddress), "{bad:?}");
        }
    }

    #[test]
    fn identifiers_are_not_printed_whole() {
        assert_eq!(format!("{:?}", PhoneNumber::parse("+40711111298").unwrap()), "PhoneNumber(…98)");
        assert_eq!(format!("{:?}", EmailAddress::parse("ann@example.com").unwrap()), "EmailAddress(…@example.com)");
    }
}
