//! The arguments of `mintgate import`, and what it prints.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use mintgate_domain::model::ProfileClaims;
use mintgate_domain::{ImportClaims, ImportPeople};
use tokio::sync::mpsc;

use crate::csv;
use crate::keycloak::{Export, REALM};
use crate::mapping::{KnownProvider, Mapping};
use crate::person::Found;
use crate::report::{Class, Report};
use crate::run::{BATCH, Run};

/// The arguments of `mintgate import`.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportCommand {
    #[command(subcommand)]
    source: SourceArguments,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum SourceArguments {
    /// From a CSV file with a header: a line for each identity, those of one person together.
    Csv {
        /// The file.
        file: PathBuf,
        #[command(flatten)]
        options: Options,
    },
    /// From an export of a Keycloak realm (`kc.sh export`).
    Keycloak {
        /// The file, or the directory with the files.
        path: PathBuf,
        /// The realm whose users are imported; needed if the export has several.
        #[arg(long)]
        realm: Option<String>,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct Options {
    /// The file that says what the names of providers and roles in the source mean here.
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// Write; without it, the import only says what it would do.
    #[arg(long)]
    apply: bool,
    /// What may be found, besides people who can sign in here; of anything else, nothing is written, and the
    /// exit code is 3.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CLASS")]
    allow: Vec<Class>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What an import prints, and its exit code: 0; 1 if it ended before its end; 2 if the mapping has a
/// mistake; 3 if something was found that was not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The text for standard output.
    pub out: String,
    /// The text for standard error.
    pub err: String,
    /// The exit code.
    pub code: u8,
}

impl Done {
    /// Prints both texts; returns the exit code.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn print(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
        out.write_all(self.out.as_bytes())?;
        err.write_all(self.err.as_bytes())?;
        Ok(ExitCode::from(self.code))
    }

    fn mistake(text: &str) -> Self {
        Self { out: String::new(), err: format!("mintgate: {text}\n"), code: 2 }
    }
}

impl ImportCommand {
    /// Carries the command out. `kept` are the claims that the configuration keeps of a person.
    pub async fn run(
        &self,
        import: &ImportPeople,
        known: &[KnownProvider],
        kept: &ProfileClaims,
    ) -> Done {
        let options = match &self.source {
            SourceArguments::Csv { options, .. } | SourceArguments::Keycloak { options, .. } => {
                options
            }
        };
        let name = options.map.display();
        let mapping = match std::fs::read_to_string(&options.map) {
            Ok(text) => Mapping::parse(&text, known),
            Err(error) => Err(format!("it cannot be read: {error}")),
        };
        let mapping = match mapping {
            Ok(mapping) => mapping,
            Err(mistakes) => return Done::mistake(&format!("{name}: {mistakes}")),
        };
        let mut run = Run {
            import,
            mapping: &mapping,
            kept,
            apply: options.apply,
            report: Report::new(&mapping.source, options.apply, &options.allow),
            claims: ImportClaims::default(),
        };
        if let Err(error) = self.carry_out(&mut run).await {
            run.report.fail(error);
        }
        let report = run.report;
        let out = if options.json { report.json() } else { report.to_string() };
        Done { out, err: report.complaint(), code: report.exit_code() }
    }

    async fn carry_out(&self, run: &mut Run<'_>) -> Result<(), String> {
        let (sender, receiver) = mpsc::channel(BATCH);
        let send = move |found: Found| sender.blocking_send(found).is_ok();
        let (path, reading) = match &self.source {
            SourceArguments::Csv { file, .. } => {
                let path = file.clone();
                let open = move || {
                    let file = File::open(&path).map_err(|error| error.to_string())?;
                    csv::read(BufReader::with_capacity(1 << 16, file), send)
                };
                (file, tokio::task::spawn_blocking(open))
            }
            SourceArguments::Keycloak { path, realm, .. } => {
                let (file, realm) = (path.clone(), realm.clone());
                let with_realm = run.mapping.has(REALM);
                let open = move || Export::open(&file, realm, with_realm)?.read(send);
                (path, tokio::task::spawn_blocking(open))
            }
        };
        run.all(receiver).await?;
        match reading.await {
            Ok(Ok(())) => run.find_gone().await,
            Ok(Err(problem)) => Err(format!("{}: {problem}", path.display())),
            Err(error) => Err(error.to_string()),
        }
    }
}
