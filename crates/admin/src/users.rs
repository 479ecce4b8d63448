//! `mintgate users`.

use mintgate_domain::model::{PersonName, UserId};
use mintgate_domain::ports::UserChange;
use mintgate_domain::{Administration, AdministrationError, Explain};

use crate::json::{
    ChangeBody, ExportBody, PersonBody, PersonExplanationBody, RefusalBody, UsersBody,
};
use crate::reply::Reply;
use crate::words;

/// The arguments of `mintgate users`.
#[derive(Debug, Clone, clap::Args)]
pub struct UsersCommand {
    /// Print JSON, the same as the admin API answers.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Act {
    /// Find people by a part of a name, a user name, an email address or a subject, or one by the user's
    /// id or ISSUER SUBJECT.
    Find {
        /// What to look for, with no character that means another; case does not matter.
        #[arg(required = true, value_name = "TEXT")]
        text: Vec<String>,
        #[command(flatten)]
        page: Paging,
    },
    /// List everybody, in the order in which they came.
    List {
        #[command(flatten)]
        page: Paging,
    },
    /// Show a person with their identities, granted roles and live sessions.
    Show(Person),
    /// Say why a person has which roles, was denied a login, or is disabled.
    Explain(Person),
    /// Disable a person: sessions end at once, and nobody signs in as that person.
    Disable(Person),
    /// Let a disabled person sign in again.
    Enable(Person),
    /// Grant a person a role, besides those that the rules give.
    Grant {
        /// The person, as for `show`, and the role.
        #[arg(required = true, num_args = 2.., value_names = ["PERSON", "ROLE"])]
        person_and_role: Vec<String>,
    },
    /// Take away a role that was granted.
    RevokeRole {
        /// The person, as for `show`, and the role.
        #[arg(required = true, num_args = 2.., value_names = ["PERSON", "ROLE"])]
        person_and_role: Vec<String>,
    },
    /// Print everything that is stored about a person, as JSON.
    Export(Person),
    /// Delete a person and everything that is stored about them.
    Delete {
        #[command(flatten)]
        person: Person,
        /// Delete the person, and not only say what that would do.
        #[arg(long)]
        yes: bool,
    },
}

/// Which page of a list.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Paging {
    /// How many entries are listed at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) limit: u32,
    /// Begin behind this entry: the `next` of the page before.
    #[arg(long, value_name = "ID", value_parser = id)]
    pub(crate) after: Option<String>,
}

/// A text that must be an id, of whatever.
fn id(text: &str) -> Result<String, &'static str> {
    UserId::parse(text).map(|_| text.to_owned()).ok_or("this is not a UUID with hyphens")
}

/// The argument that names a person.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Person {
    /// The user's id, ISSUER SUBJECT, or the whole name, user name, email address or subject.
    #[arg(required = true, value_name = "PERSON")]
    words: Vec<String>,
}

impl Person {
    pub(crate) fn name(&self) -> PersonName {
        PersonName::parse(&self.words.join(" "))
    }
}

impl UsersCommand {
    /// Carries the command out.
    pub async fn run(&self, explain: &Explain) -> Reply {
        Reply::of(self.json, self.carry_out(explain).await)
    }

    async fn carry_out(&self, explain: &Explain) -> Result<Reply, AdministrationError> {
        let (json, administration) = (self.json, &explain.administration);
        match &self.act {
            Act::Find { text, page } => {
                self.list(administration, Some(&text.join(" ")), page).await
            }
            Act::List { page } => self.list(administration, None, page).await,
            Act::Show(person) => {
                let user = administration.person(&person.name()).await?.user.id;
                let person = administration.show(user).await?;
                Ok(Reply::done(json, &PersonBody::from(&person), || words::person(&person)))
            }
            Act::Explain(person) => {
                let user = administration.person(&person.name()).await?.user.id;
                let explained = explain.person(user).await?;
                let body = PersonExplanationBody::from(&explained);
                Ok(Reply::done(json, &body, || words::person_explained(&explained)))
            }
            Act::Disable(person) => {
                let account = administration.person(&person.name()).await?;
                let (change, ended) = administration.disable(account.user.id).await?;
                let body = ChangeBody {
                    sessions_ended: Some(ended),
                    ..ChangeBody::new(account.user.id, change)
                };
                Ok(Reply::done(json, &body, || words::disabled(&account, change, ended)))
            }
            Act::Enable(person) => {
                let account = administration.person(&person.name()).await?;
                let change = administration.enable(account.user.id).await?;
                Ok(self.changed(account.user.id, change, || words::enabled(&account, change)))
            }
            Act::Grant { person_and_role } => {
                let (name, role) = split(person_and_role);
                let account = administration.person(&name).await?;
                let change = administration.grant_role(account.user.id, role).await?;
                let words = || words::granted(&account, role, change);
                Ok(self.changed(account.user.id, change, words))
            }
            Act::RevokeRole { person_and_role } => {
                let (name, role) = split(person_and_role);
                let account = administration.person(&name).await?;
                let change = administration.revoke_role(account.user.id, role).await?;
                let words = || words::role_revoked(&account, role, change);
                Ok(self.changed(account.user.id, change, words))
            }
            Act::Export(person) => {
                let user = administration.person(&person.name()).await?.user.id;
                let export = explain.export(user).await?;
                Ok(Reply::done(true, &ExportBody::from(&export), String::new))
            }
            Act::Delete { person, yes } => self.delete(administration, &person.name(), *yes).await,
        }
    }

    fn changed(&self, user: UserId, change: UserChange, words: impl FnOnce() -> String) -> Reply {
        Reply::done(self.json, &ChangeBody::new(user, change), words)
    }

    async fn list(
        &self,
        administration: &Administration,
        text: Option<&str>,
        page: &Paging,
    ) -> Result<Reply, AdministrationError> {
        let after = page.after.as_deref().and_then(UserId::parse);
        let found = administration.find(text, after, page.limit).await?;
        Ok(Reply::done(self.json, &UsersBody::from(&found), || words::people(&found, text)))
    }

    /// Deletes, or says what that would do and does nothing.
    async fn delete(
        &self,
        administration: &Administration,
        name: &PersonName,
        is_confirmed: bool,
    ) -> Result<Reply, AdministrationError> {
        let user = administration.person(name).await?.user.id;
        let person = administration.everything(user).await?;
        if !is_confirmed {
            let message = "nothing was deleted; add --yes to delete this person".to_owned();
            let account = &person.account;
            let candidates = vec![account.into()];
            let body = RefusalBody { error: "not_confirmed", message, candidates };
            return Ok(Reply::not_done(self.json, &body, &words::would_delete(&person)));
        }
        let deleted = administration.delete(user).await?;
        let body = ChangeBody::deleted(user, &deleted);
        Ok(Reply::done(self.json, &body, || words::deleted(&person, &deleted)))
    }
}

/// The last word is the role.
fn split(person_and_role: &[String]) -> (PersonName, &str) {
    let (role, person) = person_and_role
        .split_last()
        .map_or(("", &[][..]), |(role, person)| (role.as_str(), person));
    (PersonName::parse(&person.join(" ")), role)
}
