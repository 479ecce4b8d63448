//! The arguments of `mintgate import`, and what it prints.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use mintgate_domain::model::ProfileClaims;
use mintgate_domain::{ImportClaims, ImportPeople, SecretText};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::database::{self, Tables};
use crate::keycloak::{Export, REALM};
use crate::mapping::{KnownProvider, Mapping};
use crate::person::Found;
use crate::report::{Class, Report};
use crate::run::{BATCH, Run};
use crate::{better_auth, csv, supabase, supertokens};

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
    /// From the database of Supabase Auth.
    Supabase {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        options: Options,
    },
    /// From the Postgres database of SuperTokens.
    Supertokens {
        /// The role of people who may not sign in; SuperTokens itself has no bans.
        #[arg(long, value_name = "ROLE")]
        banned_role: Option<String>,
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        options: Options,
    },
    /// From the Postgres database of Better Auth.
    BetterAuth {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        options: Options,
    },
}

/// Where the database is, and what its tables are called.
#[derive(Debug, Clone, clap::Args)]
struct Database {
    /// The file with the address, `postgres://…`; it is only read from. `sslmode=require` in it demands TLS.
    #[arg(long, value_name = "FILE")]
    url_file: PathBuf,
    /// The schema of the tables, if it is another than that system's own.
    #[arg(long)]
    schema: Option<String>,
    /// What the names of all tables begin with.
    #[arg(long, default_value = "")]
    prefix: String,
    /// A table with a name of its own: `NAME=ITS_NAME`.
    #[arg(long, value_name = "NAME=ITS_NAME", value_parser = renamed)]
    table: Vec<(String, String)>,
}

fn renamed(text: &str) -> Result<(String, String), &'static str> {
    let (name, its_name) = text.split_once('=').ok_or("write NAME=ITS_NAME")?;
    Ok((name.to_owned(), its_name.to_owned()))
}

impl Database {
    fn tables(&self, schema: &str) -> Tables {
        Tables {
            schema: self.schema.clone().unwrap_or_else(|| schema.to_owned()),
            prefix: self.prefix.clone(),
            renamed: self.table.iter().cloned().collect(),
        }
    }

    async fn connect(&self) -> Result<tokio_postgres::Client, String> {
        let url = std::fs::read_to_string(&self.url_file).map(SecretText::new);
        let url = url.map_err(|error| format!("{}: {error}", self.url_file.display()))?;
        database::connect(&url).await
    }
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
            SourceArguments::Csv { options, .. }
            | SourceArguments::Keycloak { options, .. }
            | SourceArguments::Supabase { options, .. }
            | SourceArguments::Supertokens { options, .. }
            | SourceArguments::BetterAuth { options, .. } => options,
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
        let found = sender.clone();
        let send = move |person: Found| sender.blocking_send(person).is_ok();
        let reading = match &self.source {
            SourceArguments::Csv { file, .. } => {
                let path = file.clone();
                tokio::task::spawn_blocking(move || {
                    drop(found);
                    let file = File::open(&path).map_err(|error| error.to_string());
                    let read = file
                        .and_then(|file| csv::read(BufReader::with_capacity(1 << 16, file), send));
                    read.map_err(|problem| format!("{}: {problem}", path.display()))
                })
            }
            SourceArguments::Keycloak { path, realm, .. } => {
                let (path, realm) = (path.clone(), realm.clone());
                let with_realm = run.mapping.has(REALM);
                tokio::task::spawn_blocking(move || {
                    drop(found);
                    let export = Export::open(&path, realm, with_realm);
                    let read = export.and_then(|export| export.read(send));
                    read.map_err(|problem| format!("{}: {problem}", path.display()))
                })
            }
            SourceArguments::Supabase { database, .. } => {
                let mut client = database.connect().await?;
                let query = supabase::query(&database.tables(supabase::SCHEMA));
                drop(send);
                tokio::spawn(async move {
                    database::read(&mut client, &query, supabase::person, &found).await
                })
            }
            SourceArguments::Supertokens { database, banned_role, .. } => {
                let mut client = database.connect().await?;
                let query = supertokens::query(&database.tables(supertokens::SCHEMA));
                let banned = banned_role.clone();
                drop(send);
                tokio::spawn(async move {
                    let person = |row: &Value| supertokens::person(row, banned.as_deref());
                    database::read(&mut client, &query, person, &found).await
                })
            }
            SourceArguments::BetterAuth { database, .. } => {
                let mut client = database.connect().await?;
                let tables = database.tables(better_auth::SCHEMA);
                let query = better_auth::query(&client, &tables).await?;
                drop(send);
                tokio::spawn(async move {
                    database::read(&mut client, &query, better_auth::person, &found).await
                })
            }
        };
        run.all(receiver).await?;
        reading.await.map_err(|error| error.to_string())??;
        run.find_gone().await
    }
}
