//! The configuration file.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::Conventions;
use crate::mistakes::ConfigError;
use crate::source::{self, Table};

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads and parses the file; an empty table if none is named and the default file does not exist.
pub(crate) fn read(conventions: &Conventions, path: Option<&Path>) -> Result<Table, ConfigError> {
    let default = conventions.default_file;
    let name = path.map_or(default.into(), Path::to_string_lossy);
    let mistake = |problem, fix: &str| ConfigError::of_file(&name, 0, problem, fix);
    let unreadable = |error: &std::io::Error| {
        let fix = format!("name a file that this user may read, {}", conventions.file_option);
        mistake(format!("The configuration file cannot be read: {error}."), &fix)
    };
    let file = match File::open(path.unwrap_or(Path::new(default))) {
        Ok(file) => file,
        Err(error) if path.is_none() && error.kind() == ErrorKind::NotFound => {
            return Ok(Table::new());
        }
        Err(error) => return Err(unreadable(&error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        let fix = "name the configuration file; this is another one";
        return Err(mistake("The file is larger than 1 MiB.".to_owned(), fix));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        mistake(format!("The file is not UTF-8, at byte {at}."), "save it as UTF-8")
    })?;
    source::parse(&name, &text)
}
