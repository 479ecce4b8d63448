//! The `mintgate` command.

use std::io::Write as _;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mintgate::app::{self, Application};
use mintgate::keys::KeysCommand;
use mintgate::people_import::import;
use mintgate::roles_command::RolesCommand;
use mintgate::settings::{
    self, AdministrationSettings, ConfigError, Configuration, Settings, StoreSettings,
};
use mintgate::system::{OsEntropy, SystemClock};
use mintgate::{commands, signals};
use mintgate_admin::{
    AdminCommand, AuditCommand, ClientsCommand, ExplainCommand, RestoreDoneCommand,
    SessionsCommand, UsersCommand,
};
use mintgate_doctor::{DoctorCommand, HealthCommand};
use mintgate_domain::KeyConflict;
use mintgate_import::ImportCommand;
use mintgate_store_postgres::InvalidPgConfig;

/// Turns a sign-in at an OpenID provider into a session of your own.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// The configuration file; ./mintgate.toml if it exists.
    #[arg(long, global = true, env = "MINTGATE_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service.
    Serve,
    /// Run everything on this machine, with a built-in provider and nothing to set up.
    #[cfg(feature = "dev")]
    Dev(mintgate::dev::DevOptions),
    /// Have the running service take over the configuration that is written now.
    Reload,
    /// Bring the store's schema up to date.
    Migrate {
        /// Only show which migrations would run, which locks they take, and who would be in their way.
        #[arg(long)]
        plan: bool,
        /// How many seconds to wait for the locks of others, which delays nobody else.
        #[arg(long, default_value_t = 600)]
        wait_secs: u64,
    },
    /// Copy the SQLite database to a new file while the service runs.
    Backup {
        /// The path of the copy, which must not exist.
        path: PathBuf,
    },
    /// List, rotate or retire the signing keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Make the credentials of a back end that may ask about sessions.
    #[command(subcommand)]
    Clients(ClientsCommand),
    /// Show which roles a person gets, and why.
    #[command(subcommand)]
    Roles(RolesCommand),
    /// Find people; show, disable, enable, export or delete them; grant and take away roles.
    Users(UsersCommand),
    /// List sessions; say why one ended; end one or all of a person.
    Sessions(SessionsCommand),
    /// Export the audit log, or check that it is as it was written.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// End every session because a backup of the store was restored; say what that has undone.
    RestoreDone(RestoreDoneCommand),
    /// Take over the people of another system.
    Import(ImportCommand),
    /// Say what happened in a request, and why.
    Explain(ExplainCommand),
    /// Make a token of the admin API.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Ask the running service whether it lives, or is ready: exit code 0 or 1, within two seconds.
    Health(HealthCommand),
    /// Look at the installation as it is, and say what is wrong with it.
    Doctor(DoctorCommand),
    /// Check or print the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Report every mistake in the configuration.
    Check,
    /// Print the configuration with all defaults, secrets masked.
    Print,
    /// Print the reference of all settings.
    Reference,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(Cli::parse())).await {
        Ok(code) => code,
        Err(error) => {
            // There may be nobody to say it to.
            let who = mintgate_doctor::who_was_denied(&error);
            let _ = writeln!(std::io::stderr(), "mintgate: {error:#}{who}");
            let is_mistake = error.is::<ConfigError>()
                || error.is::<InvalidPgConfig>()
                || error.is::<KeyConflict>();
            ExitCode::from(if is_mistake { 2 } else { 1 })
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let read = || Configuration::load(cli.config.as_deref(), std::env::vars_os());
    let load = || read()?.settings();
    if !matches!(cli.command, Command::Serve) {
        signals::obey_as_first_process()?;
    }
    match &cli.command {
        Command::Serve => serve(load()?).await?,
        #[cfg(feature = "dev")]
        Command::Dev(options) => mintgate::dev::run(options, cli.config.as_deref()).await?,
        Command::Reload => {
            let (reloaded, text) = mintgate::reload::order(&read()?.ops()?).await?;
            if !reloaded {
                write!(std::io::stderr(), "mintgate: {text}")?;
                return Ok(ExitCode::from(2));
            }
            write!(out, "{text}")?;
        }
        Command::Migrate { plan, wait_secs } => {
            let patience = Duration::from_secs(*wait_secs);
            migrate(&read()?.store()?, *plan, patience, &mut out).await?;
        }
        Command::Backup { path } => {
            write!(out, "{}", commands::back_up(&read()?.store()?, path).await?)?;
        }
        Command::Keys(command) => {
            write!(out, "{}", command.run(&read()?.key_ring()?).await?)?;
        }
        Command::Clients(command) => {
            return Ok(command.run(&OsEntropy).print(&mut out, &mut std::io::stderr())?);
        }
        Command::Roles(command) => {
            let configuration = read()?;
            let providers = configuration.provider_ids();
            let explained = command.run(&configuration.people()?, &providers, std::io::stdin())?;
            write!(out, "{explained}")?;
            return Ok(explained.exit_code());
        }
        Command::Users(command) => {
            let (explain, audit) = commands::administration(&read()?.administration()?)?;
            let reply = command.run(&explain).await;
            commands::warn_if_unwritten(audit.flush().await);
            return Ok(reply.print(&mut out, &mut std::io::stderr())?);
        }
        Command::Sessions(command) => {
            let (explain, audit) = commands::administration(&read()?.administration()?)?;
            let reply = command.run(&explain).await;
            commands::warn_if_unwritten(audit.flush().await);
            return Ok(reply.print(&mut out, &mut std::io::stderr())?);
        }
        Command::Audit(command) => {
            let (explain, _) = commands::administration(&read()?.administration()?)?;
            let reply = command.run(&explain.review, &mut out).await?;
            return Ok(reply.print(&mut out, &mut std::io::stderr())?);
        }
        Command::RestoreDone(command) => {
            return restore_done(command, &read()?.administration()?, &mut out).await;
        }
        Command::Import(it) => return Box::pin(import(&load()?, it, &mut out)).await,
        Command::Explain(command) => {
            let (explain, _) = commands::administration(&read()?.administration()?)?;
            return Ok(command.run(&explain).await.print(&mut out, &mut std::io::stderr())?);
        }
        Command::Admin(command) => {
            return Ok(command.run(&OsEntropy).print(&mut out, &mut std::io::stderr())?);
        }
        Command::Health(command) => {
            let (is_good, line) = command.run(read().and_then(Configuration::ops)).await;
            // The exit code is what counts.
            let _ = writeln!(out, "{line}");
            return Ok(ExitCode::from(u8::from(!is_good)));
        }
        Command::Doctor(command) => {
            let installation = commands::installation(load()?, Arc::new(SystemClock::new())).await;
            let report = command.run(&installation).await;
            write!(out, "{report}")?;
            return Ok(ExitCode::from(u8::from(!report.is_healthy())));
        }
        Command::Config(ConfigCommand::Check) => check(&load()?, &mut out)?,
        Command::Config(ConfigCommand::Print) => {
            write!(out, "{}", load()?.print())?;
        }
        Command::Config(ConfigCommand::Reference) => {
            write!(out, "{}", settings::reference())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let (spans, traces) = app::traces(&settings.telemetry)?.unzip();
    let _last_lines = mintgate_log_writer::start(&settings.log.filter, settings.log.format, spans)?;
    let (stop, at_once) = signals::stop_signals()?;
    let mut stop = pin!(stop);
    let application = tokio::select! {
        built = Application::builder(settings).build() => built?,
        () = &mut stop => return Ok(()),
    };
    let ended = application.run_until(stop, at_once).await;
    if let Some(traces) = traces {
        traces.stop().await;
    }
    ended
}

async fn restore_done(
    command: &RestoreDoneCommand,
    settings: &AdministrationSettings,
    out: &mut impl std::io::Write,
) -> anyhow::Result<ExitCode> {
    let (explain, audit) = commands::administration(settings)?;
    let reply = command.run(&explain).await;
    if reply.is_done {
        commands::forget_session_engine(&settings.store).await?;
    }
    commands::warn_if_unwritten(audit.flush().await);
    Ok(reply.print(out, &mut std::io::stderr())?)
}

/// Says what is rarely intended in a configuration without a mistake, and what has to be done elsewhere.
fn check(settings: &Settings, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    commands::check_store(&settings.store)?;
    for warning in mintgate_doctor::warnings(settings) {
        writeln!(out, "Warning: {warning}.")?;
    }
    for provider in &settings.providers {
        let id = &provider.policy.id;
        let callback = settings.callback(id.as_str());
        writeln!(out, "To use /start/{id}, register this redirect URI at {id}: {callback}")?;
    }
    writeln!(out, "The configuration is valid.")?;
    Ok(())
}

async fn migrate(
    store: &StoreSettings,
    plan: bool,
    patience: Duration,
    out: &mut impl std::io::Write,
) -> anyhow::Result<()> {
    if plan {
        let text = commands::migration_plan(store).await?;
        let nothing = "The schema is up to date.\n";
        write!(out, "{}", if text.is_empty() { nothing } else { &text })?;
        return Ok(());
    }
    // Said at once, and there may be nobody to say it to.
    let say = |line: &str| drop(writeln!(std::io::stderr(), "mintgate: {line}"));
    let names = commands::migrate_patiently(store, patience, &say).await?;
    for name in &names {
        writeln!(out, "ran {name}")?;
    }
    if names.is_empty() {
        writeln!(out, "The schema is up to date; nothing to do.")?;
    }
    Ok(())
}
