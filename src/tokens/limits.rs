//! Which window an attempt is counted in: an account's, a source's, or that of the two together.
//!
//! Imports `rules::window` and the store's charges. Whoever is no account is counted just like one, under a key that is kept nowhere
//! else; the store pushes such windows out when they are too many, and never an account's.

use crate::model::Source;
use crate::rules::window::WindowRule;
use crate::tokens::TokenService;
use crate::tokens::guard::Subject;
use crate::tokens::store::{Charge, Counts, Operation};

impl TokenService {
    /// The window of an account, or of a secret or identifier that is nobody's, from one source.
    pub(in crate::tokens) fn of_subject_from(
        &self,
        operation: Operation,
        rule: WindowRule,
        subject: Subject,
        source: Source,
    ) -> Charge {
        self.window(operation, rule, Counts::AtOnce, Some(subject), Some(source))
    }

    /// The window of an account, or of an identifier that is nobody's, wherever attempts come from.
    pub(in crate::tokens) fn of_subject(&self, operation: Operation, rule: WindowRule, subject: Subject) -> Charge {
        self.window(operation, rule, Counts::AtOnce, Some(subject), None)
    }

    /// The window of a source, whomever it names.
    pub(in crate::tokens) fn of_source(&self, operation: Operation, rule: WindowRule, source: Source) -> Charge {
        self.window(operation, rule, Counts::AtOnce, None, Some(source))
    }

    /// The window of the wrong passwords of a source, whoever's, if they are limited. A source that fails more often than one
    /// account can be failed at is trying many: it is spraying.
    pub(in crate::tokens) fn failures_of(&self, source: Source) -> Option<Charge> {
        let rule = self.guard.failures?;
        Some(self.window(Operation::FailureFrom, rule, Counts::Failed, None, Some(source)))
    }

    fn window(
        &self,
        operation: Operation,
        rule: WindowRule,
        counts: Counts,
        subject: Option<Subject>,
        source: Option<Source>,
    ) -> Charge {
        let source: Option<Box<str>> = source.map(|source| source.key().address().to_string().into());
        let key = subject.map(|subject| subject.key);
        Charge {
            caller: self.keyring.caller(operation, key, source.as_deref()),
            operation,
            rule,
            counts,
            account: subject.and_then(|subject| subject.account),
            subject: key,
            source,
        }
    }
}
