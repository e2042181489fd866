//! What routes do at token services behind them.

use std::time::Duration;

use crate::config::{self, AccessRule, At, Finding, Place};
use crate::model::{Ends, IssuerId, Location, NonEmpty, Role};
use crate::plan::Passage;
use crate::plan::compile::Workshop;
use crate::plan::compile::directory::Directory;
use crate::rules::access::Access;

/// How long a push is waited for when nothing else is said.
const PENDING: Duration = Duration::from_mins(5);

impl Workshop<'_> {
    /// The passage of a route; `None` if it has none, or a mistake that is in the report.
    pub(super) fn passage(
        &mut self,
        route: &config::Route,
        access: Option<&Access>,
        issuers: &Directory<IssuerId>,
    ) -> Option<Passage> {
        let ends = route.ends.as_ref();
        let Some(written) = &route.role else {
            return self.sign_out(route, ends?, access?);
        };
        let (passage, place) = (&written.value, written.place);
        let role = passage.role.as_ref()?;
        self.check_role(passage, role, ends);
        let token = match &passage.token {
            Some(token) => token.value.clone(),
            None => usual_location(role.value),
        };
        let subject = passage.subject.as_ref().map(|subject| subject.value.clone());
        self.check_body(passage, &token, subject.as_ref());
        Some(Passage {
            role: role.value,
            token,
            subject,
            issuers: self.concerned(passage, place, access, issuers)?,
            together: passage.issuers.is_some(),
            ends: ends.map(|ends| ends.value),
            success: passage.success.as_ref().map(|statuses| statuses.value.clone().into()),
            pending: passage.pending.as_ref().map_or(PENDING, |pending| pending.value),
        })
    }

    /// `ends` alone: a sign-out for the token that is presented.
    fn sign_out(&mut self, route: &config::Route, ends: &At<Ends>, access: &Access) -> Option<Passage> {
        let written = route.access.as_ref()?;
        match written.value {
            AccessRule::Bearer(_) => {}
            AccessRule::Public | AccessRule::Optional(_) => {
                let finding = Finding::error(ends.place, "this route ends what a token began, but needs no token");
                let finding = finding.context(written.place, "`bearer` is needed here");
                self.report.add(finding.help("or say with `role` where its requests show the token"));
                return None;
            }
        }
        Some(Passage {
            role: Role::Logout,
            token: Location::Bearer,
            subject: None,
            issuers: access.requirements()?.issuers.clone(),
            together: false,
            ends: Some(ends.value),
            success: None,
            pending: PENDING,
        })
    }

    fn check_role(&mut self, passage: &config::Passage, role: &At<Role>, ends: Option<&At<Ends>>) {
        let (takes_token, takes_ends) = match role.value {
            Role::Login | Role::Confirm => (false, false),
            Role::Refresh | Role::Logout | Role::Revoke => (true, true),
            Role::StepUpStart | Role::StepUpVerify | Role::PasswordUpdate => (true, false),
        };
        let starts = role.value == Role::StepUpStart;
        let updates = role.value == Role::PasswordUpdate;
        let useless = [
            (passage.token.as_ref().map(|token| token.place).filter(|_| !takes_token), "`token`"),
            (ends.map(|ends| ends.place).filter(|_| !takes_ends), "`ends`"),
            (passage.pending.as_ref().map(|pending| pending.place).filter(|_| !starts), "`pending`"),
            (passage.subject.as_ref().map(|subject| subject.place).filter(|_| !updates), "`subject`"),
        ];
        for (place, key) in useless {
            if let Some(place) = place {
                let finding = Finding::error(place, format!("{key} means nothing in this role"));
                self.report.add(finding.context(role.place, "the role"));
            }
        }
    }

    /// A body is read in one way: what is told in it is told in JSON or in a form, not in both.
    fn check_body(&mut self, passage: &config::Passage, token: &Location, subject: Option<&Location>) {
        let differ = matches!(
            (token, subject),
            (Location::Json(_), Some(Location::Form(_))) | (Location::Form(_), Some(Location::Json(_)))
        );
        if let (true, Some(written)) = (differ, &passage.subject) {
            self.report.add(Finding::error(written.place, "a body is either JSON or a form, and the token is in the other"));
        }
    }

    fn concerned(
        &mut self,
        passage: &config::Passage,
        place: Place,
        access: Option<&Access>,
        issuers: &Directory<IssuerId>,
    ) -> Option<NonEmpty<IssuerId>> {
        if let Some(written) = &passage.issuers {
            let found: Option<Vec<_>> = written.value.iter().map(|name| issuers.find(name, self.report).copied()).collect();
            return NonEmpty::new(found?).ok();
        }
        if let Some(requirements) = access?.requirements() {
            return Some(requirements.issuers.clone());
        }
        let names: Vec<String> = issuers.names().map(|name| format!("\"{name}\"")).collect();
        if let Some(only) = issuers.only() {
            return Some(NonEmpty::one(*only));
        }
        let finding = Finding::error(place, "it is not said whose tokens this is about");
        self.report.add(match names.as_slice() {
            [] => finding.help("add an [issuer.NAME]"),
            [..] => finding.help(format!("write {{ is = \"…\", issuers = [...] }} with some of {}", names.join(", "))),
        });
        issuers.spare();
        None
    }
}

fn usual_location(role: Role) -> Location {
    match role {
        Role::Revoke => Location::Form("token".into()),
        Role::Refresh => Location::Form("refresh_token".into()),
        Role::Login | Role::Confirm | Role::Logout | Role::StepUpStart | Role::StepUpVerify | Role::PasswordUpdate => {
            Location::Bearer
        }
    }
}
