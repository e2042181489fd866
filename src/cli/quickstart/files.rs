//! Files of the quick start: private, and never left half written.

use std::fs::{File, OpenOptions, Permissions, rename};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::cli::Failure;
use crate::cli::accounts::failed;

/// Whether there is such a file.
pub(super) fn exists(path: &Path) -> bool {
    path.exists()
}

/// The text of a small file.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(64 * 1024).read_to_string(&mut text));
    read.map_err(|error| failed(&format!("cannot read {}: {error}", path.display())))?;
    Ok(text)
}

/// Replaces a file as a whole; only its owner can read it.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let beside = path.with_extension("new");
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).and_then(|mut file| {
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        rename(&beside, path)
    });
    written.map_err(|error| failed(&format!("cannot write {}: {error}", path.display())))
}
