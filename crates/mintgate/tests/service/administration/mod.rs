//! Operators: the commands `users` and `sessions`, and the admin API.

mod api;
mod audit;
mod commands;
mod console;
mod effect;
mod moving_in;
mod people;
mod restore;

use std::path::Path;

use serde_json::Value;

use crate::common::{Options, TestService};

/// The person's profile is kept, and there are tokens for the admin API: `reader` and `writer`.
pub(crate) fn options() -> Options {
    let hash = |token: &str| mintgate_domain::TokenHash::of(token).to_hex();
    let more = format!(
        "[users]\nprofile = [\"name\", \"preferred_username\", \"email\"]\n[tokens]\nbody_delivery = true\n\
         [admin]\nhosts = [\"ops.example.internal\"]\n\
         [[admin.tokens]]\nname = \"dashboard\"\nhash = \"{}\"\n\
         [[admin.tokens]]\nname = \"on call\"\nhash = \"{}\"\nscope = \"write\"\n",
        hash("reader"),
        hash("writer"),
    );
    Options { more, ..Options::default() }
}

/// What a command has printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Printed {
    /// Of a command that must have done what it was asked to.
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        self.out
    }

    /// The JSON of a command that must have done what it was asked to.
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.done()).expect("JSON")
    }

    /// The text of a command that must have done nothing.
    pub(crate) fn refused(self) -> String {
        assert_eq!((self.code, self.out.as_str()), (1, ""), "{self:?}");
        self.err
    }
}

/// Runs the shipped binary, as an operator beside the service does.
pub(crate) async fn mintgate(config: &Path, arguments: &[&str]) -> Printed {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mintgate"));
    command.env_clear().arg("--config").arg(config).args(arguments);
    let output = command.output().await.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    Printed { code: output.status.code().expect("an exit code"), out, err }
}

impl TestService {
    /// Runs a command with the service's configuration.
    pub(crate) async fn operate(&self, arguments: &[&str]) -> Printed {
        mintgate(&self.config_file(), arguments).await
    }

    /// The id of the one person who is found by a text.
    pub(crate) async fn user_id(&self, text: &str) -> String {
        let found = self.operate(&["users", "find", "--json", text]).await.json();
        let users = found["users"].as_array().expect("people");
        assert_eq!(users.len(), 1, "{found}");
        users[0]["id"].as_str().expect("an id").to_owned()
    }
}
