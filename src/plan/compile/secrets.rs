//! Secrets, fetched from where the file says they are.

use crate::config::{At, Finding, SecretReference};
use crate::model::Secret;
use crate::plan::compile::Workshop;

impl Workshop<'_> {
    /// Fetches a secret. A line break at its end does not count; an empty one is none.
    pub(super) fn secret(&mut self, reference: &At<SecretReference>) -> Option<Secret> {
        let (source, text) = match &reference.value {
            SecretReference::Variable(name) => {
                let text = self.secrets.variable(name).ok_or_else(|| "it is not set".to_owned());
                (format!("the environment variable `{name}`"), text)
            }
            SecretReference::File(path) => {
                let text = self.secrets.file(path).map_err(|error| error.to_string());
                (format!("the file `{}`", path.display()), text)
            }
        };
        let secret = text.and_then(|text| match text.trim_end_matches(['\r', '\n']) {
            "" => Err("it is empty".to_owned()),
            trimmed => Ok(Secret::new(trimmed.to_owned())),
        });
        let complain = |why| Finding::error(reference.place, format!("{source} holds no secret")).label(why);
        secret.map_err(|why| self.report.add(complain(why))).ok()
    }
}
