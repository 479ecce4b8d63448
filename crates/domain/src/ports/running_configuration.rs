//! The configuration that a process runs with, beside the one that its file has now.

/// How the file compares with what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigurationFile {
    /// The configuration does not come from a file or the environment.
    None,
    /// The keys whose values differ, by name; none if a restart would change nothing. Secrets are not
    /// compared.
    Read {
        /// The names, as `section.key`, in order.
        differing: Vec<String>,
    },
    /// The service would not start with it: the words of `mintgate config check`.
    Unusable(String),
}

/// Compares the configuration that runs with its file.
pub trait RunningConfiguration: Send + Sync {
    /// A digest of the configuration that runs: the one that the audit log names.
    fn hash(&self) -> String;

    /// Reads the file again. This blocks.
    fn file(&self) -> ConfigurationFile;
}
