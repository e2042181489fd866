//! Reading the bodies of API B: all that is wrong with one is told at once, member by member (contract section 2).

use crate::model::Secret;
use crate::rules::body::Object;
use crate::token_api::session::words::{InSession, kind_word};
use crate::tokens::identifier::EmailAddress;
use crate::tokens::identity::{IdentityId, IdentityKind, NamedIdentity};

/// A member that is not as it must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct InvalidField {
    pub(crate) field: &'static str,
    pub(crate) rule: Rule,
    pub(crate) params: Vec<&'static str>,
}

/// The rule that a member breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// It is absent.
    Required,
    /// It is no text, or an empty one.
    HasText,
    /// It is too long.
    Size,
    /// It is none of these.
    In,
    /// It has another form.
    Regex,
}

impl Rule {
    /// Its name in bodies.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Required => "REQUIRED",
            Self::HasText => "HAS_TEXT",
            Self::Size => "SIZE",
            Self::In => "IN",
            Self::Regex => "REGEX",
        }
    }
}

/// How long a text may be, in characters.
pub(crate) struct Length {
    most: usize,
    /// The least and the most, as they are told.
    told: [&'static str; 2],
}

/// Of a one-time code.
pub(crate) const CODE_LENGTH: Length = Length { most: 50, told: ["0", "50"] };
/// Of a password that somebody logs in with.
const PASSWORD_LENGTH: Length = Length { most: 100, told: ["0", "100"] };

/// The field in which a caller names a call, so that it is carried out once.
pub(crate) const REFERENCE: &str = "idempotency-ref";

/// The value of that field, if it is one: 1 to 255 visible ASCII characters.
pub(crate) fn reference(text: &str) -> Option<&str> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    (visible && (1..=255).contains(&text.len())).then_some(text)
}

/// The field is no reference, or there are two.
pub(crate) fn reference_invalid() -> InSession {
    InSession::Invalid(vec![InvalidField { field: REFERENCE, rule: Rule::Regex, params: vec!["^[!-~]{1,255}$"] }])
}

/// A body that is looked through. Members are named by their path, `password.value`.
pub(crate) struct Inspection<'a> {
    input: &'a Object,
    invalid: Vec<InvalidField>,
}

impl<'a> Inspection<'a> {
    pub(crate) fn of(input: &'a Object) -> Self {
        Self { input, invalid: Vec::new() }
    }

    /// What was read; or, if anything is missing of it, all that is wrong.
    pub(crate) fn complete<T>(self, read: Option<T>) -> Result<T, InSession> {
        read.ok_or(InSession::Invalid(self.invalid))
    }

    /// A text that is not empty.
    pub(crate) fn text(&mut self, field: &'static str) -> Option<&'a str> {
        match self.input.at(field) {
            None => self.refuse(field, Rule::Required, &[]),
            Some(value) => match value.as_str() {
                None | Some("") => self.refuse(field, Rule::HasText, &[]),
                Some(text) => Some(text),
            },
        }
    }

    /// A text that is not too long.
    pub(crate) fn at_most(&mut self, field: &'static str, length: &Length) -> Option<&'a str> {
        let text = self.text(field)?;
        if text.chars().count() > length.most { self.refuse(field, Rule::Size, &length.told) } else { Some(text) }
    }

    /// A password, as a login takes it.
    pub(crate) fn password(&mut self, field: &'static str) -> Option<Secret> {
        self.at_most(field, &PASSWORD_LENGTH).map(|text| Secret::new(text.to_owned()))
    }

    /// An e-mail address.
    pub(crate) fn email(&mut self, field: &'static str) -> Option<EmailAddress> {
        let text = self.text(field)?;
        EmailAddress::parse(text).ok().or_else(|| self.refuse(field, Rule::Regex, &[]))
    }

    /// One of these words; what it stands for.
    pub(crate) fn one_of<T: Copy>(&mut self, field: &'static str, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(field)?;
        let known = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        let listed: Vec<&'static str> = words.iter().map(|(word, _)| *word).collect();
        known.or_else(|| self.refuse(field, Rule::In, &listed))
    }

    /// A number in digits.
    fn number(&mut self, field: &'static str) -> Option<i64> {
        let text = self.text(field)?;
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        // Digits that are no number of ours are a good text that names nothing.
        if digits { Some(text.parse().unwrap_or(-1)) } else { self.refuse(field, Rule::Regex, &["^[0-9]+$"]) }
    }

    fn refuse<T>(&mut self, field: &'static str, rule: Rule, params: &[&'static str]) -> Option<T> {
        self.invalid.push(InvalidField { field, rule, params: params.to_vec() });
        None
    }
}

/// The identity as which somebody wants to act.
pub(crate) fn identity_to_act_as(input: &Object) -> Result<NamedIdentity, InSession> {
    let mut form = Inspection::of(input);
    if input.at("identity").is_none() {
        let missing: Option<NamedIdentity> = form.refuse("identity", Rule::Required, &[]);
        return form.complete(missing);
    }
    let kinds = IdentityKind::ALL.map(|kind| (kind_word(kind), kind));
    let (kind, id) = (form.one_of("identity.type", &kinds), form.number("identity.id"));
    let (kind, id) = form.complete(kind.zip(id))?;
    Ok(NamedIdentity { kind, id: IdentityId(id) })
}
