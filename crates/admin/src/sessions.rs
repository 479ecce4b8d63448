//! `mintgate sessions`.

use mintgate_domain::model::SessionId;
use mintgate_domain::ports::EndOutcome;
use mintgate_domain::{AdministrationError, Explain, Page};

use crate::json::{ChangeBody, SessionBody, SessionExplanationBody, SessionsBody};
use crate::reply::Reply;
use crate::users::{Paging, Person};
use crate::words;

/// The arguments of `mintgate sessions`.
#[derive(Debug, Clone, clap::Args)]
pub struct SessionsCommand {
    /// Print JSON, the same as the admin API answers.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Act {
    /// List the sessions of a person, ended ones included, the last opened first.
    List {
        #[command(flatten)]
        person: Person,
        /// List live sessions alone, the last used first; at most 200.
        #[arg(long)]
        live: bool,
        #[command(flatten)]
        page: Paging,
    },
    /// Show everything that is known of a session, whoever's.
    Show(Sid),
    /// Say whether a session lives or when and why it ended, and where it came from.
    Explain(Sid),
    /// End a session, whoever's, at once.
    End(Sid),
    /// End all sessions of a person at once.
    EndAll(Person),
}

/// The argument that names a session.
#[derive(Debug, Clone, clap::Args)]
struct Sid {
    /// The session's id: the `sid` of its tokens.
    #[arg(value_name = "SID")]
    sid: String,
}

impl Sid {
    fn id(&self) -> Result<SessionId, AdministrationError> {
        SessionId::parse(self.sid.trim()).ok_or(AdministrationError::NoSuchSession)
    }
}

impl SessionsCommand {
    /// Carries the command out.
    pub async fn run(&self, explain: &Explain) -> Reply {
        Reply::of(self.json, self.carry_out(explain).await)
    }

    async fn carry_out(&self, explain: &Explain) -> Result<Reply, AdministrationError> {
        let (json, administration) = (self.json, &explain.administration);
        match &self.act {
            Act::List { person, live, page } => {
                let account = administration.person(&person.name()).await?;
                let user = account.user.id;
                let found = if *live {
                    let entries = administration.show(user).await?.sessions;
                    Page { entries, next: None }
                } else {
                    let before = page.after.as_deref().and_then(SessionId::parse);
                    administration.sessions(user, before, page.limit).await?
                };
                Ok(Reply::done(json, &SessionsBody::from(&found), || words::sessions(&found)))
            }
            Act::Explain(sid) => {
                let explained = explain.session(sid.id()?).await?;
                let body = SessionExplanationBody::from(&explained);
                Ok(Reply::done(json, &body, || words::session_explained(&explained)))
            }
            Act::Show(sid) => {
                let id = sid.id()?;
                Ok(match administration.session(id).await? {
                    Ok(record) => {
                        Reply::done(json, &SessionBody::from(&record), || words::session(&record))
                    }
                    Err(deleted) => {
                        let body = SessionBody::deleted(id, &deleted);
                        Reply::done(json, &body, || words::deleted_session(id, &deleted))
                    }
                })
            }
            Act::End(sid) => {
                let id = sid.id()?;
                let (user, outcome) = administration.end_session(id).await?;
                let ended = u64::from(outcome == EndOutcome::Ended);
                let body = ChangeBody::ended(user, ended);
                Ok(Reply::done(json, &body, || words::ended(id, outcome)))
            }
            Act::EndAll(person) => {
                let account = administration.person(&person.name()).await?;
                let ended = administration.end_all(account.user.id).await?;
                let body = ChangeBody::ended(account.user.id, ended);
                Ok(Reply::done(json, &body, || words::all_ended(&account, ended)))
            }
        }
    }
}
