//! Reading the configuration and the secrets that it names. Relative paths are relative to the configuration's folder.

use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use crate::app::machine;
use crate::config::Report;
use crate::plan::Plan;
use crate::plan::compile::{self, Machine, SecretSource};

/// The largest configuration or secret that is read, in bytes.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// A configuration that is good.
#[derive(Debug)]
pub struct Loaded {
    /// The plan.
    pub plan: Plan,
    /// What is worth a warning; mostly nothing.
    pub warnings: Report,
}

/// Why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Something in it is wrong; the report says what and where.
    #[error("the configuration has mistakes")]
    Mistakes(Report),
}

/// Loads a configuration: what `run`, `check`, `quickstart` and every other command start with.
///
/// # Errors
/// If the file cannot be read or holds any mistake.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let text = read(path).map_err(|cause| LoadError::Unreadable { path: path.to_owned(), cause })?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let secrets = Secrets { folder: folder.clone() };
    match compile::load(&path.display().to_string(), &text, &secrets, Machine { cores, folder: &folder }) {
        Ok((plan, warnings)) => Ok(Loaded { plan, warnings }),
        Err(report) => Err(LoadError::Mistakes(report)),
    }
}

fn read(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    if file.take(LARGEST_FILE + 1).read_to_string(&mut text)? as u64 > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    Ok(text)
}

/// The environment, and files below the configuration's folder.
#[derive(Debug)]
struct Secrets {
    folder: PathBuf,
}

impl SecretSource for Secrets {
    fn variable(&self, name: &str) -> Option<String> {
        machine::variable(name)
    }

    fn file(&self, path: &Path) -> io::Result<String> {
        read(&self.folder.join(path))
    }
}
