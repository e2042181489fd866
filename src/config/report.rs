//! Everything that is wrong with a configuration, shown at once with line and caret.
//!
//! The only file that knows `annotate-snippets`. No secret is ever shown: places that hold one, or may hold one, are masked
//! in every excerpt.

use std::fmt;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::config::Place;

/// What was found in one file.
#[derive(Clone, Debug)]
pub struct Report {
    name: Box<str>,
    text: Box<str>,
    findings: Vec<Finding>,
    masked: Vec<Place>,
}

/// One finding: what, where, and what to do about it.
#[derive(Clone, Debug)]
pub struct Finding {
    severity: Severity,
    title: String,
    place: Place,
    label: String,
    context: Vec<(Place, String)>,
    help: Option<String>,
}

/// Whether a finding keeps the gateway from starting.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// It does.
    Error,
    /// It starts, but somebody should look.
    Warning,
}

impl Finding {
    /// A mistake that keeps the gateway from starting. The title is one sentence without a full stop.
    pub(crate) fn error(place: Place, title: impl Into<String>) -> Self {
        Self::new(Severity::Error, place, title.into())
    }

    /// Something that works but is hardly meant.
    pub(crate) fn warning(place: Place, title: impl Into<String>) -> Self {
        Self::new(Severity::Warning, place, title.into())
    }

    fn new(severity: Severity, place: Place, title: String) -> Self {
        Self { severity, title, place, label: String::new(), context: Vec::new(), help: None }
    }

    /// Says something beside the caret.
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Underlines a second place that has to do with it.
    pub(crate) fn context(mut self, place: Place, label: impl Into<String>) -> Self {
        self.context.push((place, label.into()));
        self
    }

    /// Says what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Suggests a name that exists, if one is near.
    pub(crate) fn suggest(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Whether it keeps the gateway from starting.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What was found, in one sentence.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    fn group<'a>(&'a self, name: &'a str, masked: &'a str) -> Group<'a> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let primary = AnnotationKind::Primary.span(within(self.place, masked)).label(self.label.as_str());
        let context = self
            .context
            .iter()
            .map(|(place, label)| AnnotationKind::Context.span(within(*place, masked)).label(label.as_str()));
        let snippet = Snippet::source(masked).path(name).annotation(primary).annotations(context);
        let help = self.help.as_deref().map(|help| Level::HELP.message(help));
        level.primary_title(self.title.as_str()).element(snippet).elements(help)
    }
}

impl Report {
    /// Findings beyond this number are counted but not kept.
    pub const MAX_FINDINGS: usize = 200;

    /// An empty report on a file of this name and text.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into(), findings: Vec::new(), masked: Vec::new() }
    }

    /// Adds a finding, unless it is known already: what stands in `[defaults]` is looked at for every route.
    pub(crate) fn add(&mut self, finding: Finding) {
        let known = self.findings.iter().any(|other| other.place == finding.place && other.title == finding.title);
        if !known && self.findings.len() < Self::MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Says what to do about the last finding, if nothing is said yet.
    pub(crate) fn help_with_last(&mut self, help: &str) {
        if let Some(finding) = self.findings.last_mut() {
            finding.help.get_or_insert_with(|| help.to_owned());
        }
    }

    /// Never shows the text at this place.
    pub(crate) fn mask(&mut self, place: Place) {
        self.masked.push(place);
    }

    /// Whether anything keeps the gateway from starting.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Whether there is nothing to say at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// What was found, in no particular order.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The whole report, in the order of the file, with colours for a terminal or as plain text.
    #[must_use]
    pub fn render(&self, colour: Colour) -> String {
        let renderer = match colour {
            Colour::Ansi => Renderer::styled(),
            Colour::Plain => Renderer::plain(),
        };
        let renderer = renderer.decor_style(DecorStyle::Unicode);
        let masked = self.masked_text();
        let mut sorted: Vec<&Finding> = self.findings.iter().collect();
        sorted.sort_by_key(|finding| (finding.place, finding.severity));
        let mut shown = String::new();
        for finding in sorted {
            shown.push_str(&renderer.render(&[finding.group(&self.name, &masked)]));
            shown.push_str("\n\n");
        }
        shown + &self.summary()
    }

    fn summary(&self) -> String {
        let errors = self.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        let counted = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{count} {what}s")),
        };
        let counts: Vec<String> =
            [counted(errors, "error"), counted(self.findings.len() - errors, "warning")].into_iter().flatten().collect();
        let counts = if counts.is_empty() { "nothing to complain about".to_owned() } else { counts.join(", ") };
        let more = if self.findings.len() == Self::MAX_FINDINGS { ", and perhaps more" } else { "" };
        format!("{}: {counts}{more}\n", self.name)
    }

    /// The text with every masked byte as `*`; lines and positions stay what they are.
    fn masked_text(&self) -> String {
        let mut bytes = self.text.to_string().into_bytes();
        for place in &self.masked {
            for byte in bytes.get_mut(place.range()).into_iter().flatten().filter(|byte| !matches!(byte, b'\n' | b'\r')) {
                *byte = b'*';
            }
        }
        String::from_utf8(bytes).unwrap_or_default()
    }
}

/// Whether a report is shown with colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Colour {
    /// ANSI escapes, for a terminal.
    Ansi,
    /// None, for a file or a log.
    Plain,
}

impl fmt::Display for Report {
    /// The whole report as plain text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colour::Plain))
    }
}

impl std::error::Error for Report {}

/// The place as a range that surely lies within the text, on the borders of characters.
fn within(place: Place, text: &str) -> std::ops::Range<usize> {
    let range = place.range();
    let start = text.floor_char_boundary(range.start);
    start..text.ceil_char_boundary(range.end).max(start)
}
