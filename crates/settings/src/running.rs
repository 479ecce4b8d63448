//! What runs, compared with what the file says now.

use mintgate_domain::ConfigurationDigests;
use mintgate_domain::ports::{ConfigurationFile, RunningConfiguration};

use crate::{ConfigError, Settings};

impl Settings {
    /// Reads the same file again, under the same environment; `None` if they were not read from one.
    pub fn again(&self) -> Option<Result<Self, ConfigError>> {
        let origin = self.origin.as_ref()?;
        Some(Self::load(origin.path.as_deref(), origin.env.clone()))
    }

    pub(crate) fn digests(&self) -> ConfigurationDigests {
        ConfigurationDigests::of(&self.lines())
    }
}

impl RunningConfiguration for Settings {
    fn hash(&self) -> String {
        self.digests().hash()
    }

    fn file(&self) -> ConfigurationFile {
        match self.again() {
            None => ConfigurationFile::None,
            Some(Ok(now)) => {
                ConfigurationFile::Read { differing: now.digests().differing(&self.digests()) }
            }
            Some(Err(mistakes)) => ConfigurationFile::Unusable(mistakes.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    const FILE: &str = "[server]\npublic_url = \"http://localhost\"\n[limits]\nmax_sign_ins = 7\n\
        [[providers]]\nid = \"corp\"\nissuer = \"https://idp.example.com\"\nclient_id = \"a\"\n\
        client_secret = \"hunter2\"\nredirect_uris = [\"https://app.example.com/callback\"]\n";

    #[test]
    fn what_differs_is_named_and_the_former_file_put_back_differs_in_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mintgate.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let differing = |names: &[&str]| ConfigurationFile::Read {
            differing: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        write(FILE);
        let env = [("MINTGATE__REFRESH__GRACE_SECS", "11")];
        let env = env.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let running = Settings::load(Some(&path), env).unwrap();
        let hash = running.hash();
        assert_eq!(running.file(), differing(&[]));
        write(&format!("[refresh]\ngrace_secs = 5\n{}", FILE.replace("= 7", "= 8")));
        // The environment wins over the file.
        assert_eq!(running.file(), differing(&["limits.max_sign_ins"]));
        write("[server]\nlisten = \"nowhere\"\n");
        let ConfigurationFile::Unusable(why) = running.file() else { panic!() };
        assert!(why.contains("server.listen") && !why.contains("hunter2"), "{why}");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(running.file(), ConfigurationFile::Unusable(_)));
        write(FILE);
        assert_eq!(running.file(), differing(&[]));
        assert_eq!(running.hash(), hash);
    }

    #[test]
    fn a_text_has_no_file_and_the_environment_is_not_shown() {
        assert_eq!(Settings::from_toml(FILE).unwrap().file(), ConfigurationFile::None);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mintgate.toml");
        std::fs::write(&path, FILE).unwrap();
        let env = [(OsString::from("SECRET"), OsString::from("hunter3"))];
        let shown = format!("{:?}", Settings::load(Some(&path), env).unwrap());
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
