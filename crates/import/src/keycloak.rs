//! People from an export of a Keycloak realm (`kc.sh export`): one file, or a directory with a file for
//! the realm and files of users. Each person is read alone, so that a file may have any size.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use mintgate_domain::model::Ban;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::person::{Found, ImportedPerson, InvalidRecord, Skip, SourceIdentity};
use crate::times;

/// What the mapping calls the realm itself, as a provider of those who sign in at Keycloak.
pub(crate) const REALM: &str = "@realm";

/// An export.
#[derive(Debug)]
pub(crate) struct Export {
    files: Vec<PathBuf>,
    /// The realm whose users are read; needed if there are several.
    realm: Option<String>,
    /// Whether people are also known by the realm itself.
    with_realm: bool,
}

impl Export {
    /// The files of an export, of which one realm is read. With `with_realm`, people are also known by the
    /// realm itself.
    ///
    /// # Errors
    /// If there is none, or a directory cannot be read.
    pub(crate) fn open(
        path: &Path,
        realm: Option<String>,
        with_realm: bool,
    ) -> Result<Self, String> {
        let unreadable = |error: std::io::Error| format!("it cannot be read: {error}");
        let mut files = vec![];
        if path.is_dir() {
            for entry in fs::read_dir(path).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                if path.extension().is_some_and(|extension| extension == "json") {
                    files.push(path);
                }
            }
            files.sort();
        } else {
            files.push(path.to_owned());
        }
        if files.is_empty() {
            return Err("there is no .json file in it".to_owned());
        }
        Ok(Self { files, realm, with_realm })
    }

    /// Reads all people and passes each on; ends when `found` returns false.
    ///
    /// # Errors
    /// If a file cannot be read or is no export, or has several realms and none is chosen.
    pub(crate) fn read(&self, mut found: impl FnMut(Found) -> bool) -> Result<(), String> {
        let mut issuers = BTreeMap::new();
        let mut realms = vec![];
        for file in &self.files {
            let mut pass = Pass::Issuers(&mut issuers);
            self.read_file(file, &mut pass, &mut realms)?;
        }
        realms.sort();
        realms.dedup();
        if realms.len() > 1 && self.realm.is_none() {
            let realms = realms.join(", ");
            return Err(format!("it has several realms; choose one with --realm: {realms}"));
        }
        if let Some(realm) = &self.realm
            && !realms.contains(realm)
        {
            let realms = realms.join(", ");
            return Err(format!("it has no realm {realm:?}; it has {realms}"));
        }
        let mut goes_on = true;
        let mut person = |value: Value| {
            goes_on = goes_on && found(self.person(value, &issuers));
            goes_on
        };
        for file in &self.files {
            self.read_file(file, &mut Pass::People(&mut person), &mut vec![])?;
        }
        Ok(())
    }

    fn read_file(
        &self,
        path: &Path,
        pass: &mut Pass<'_>,
        realms: &mut Vec<String>,
    ) -> Result<(), String> {
        let named = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(|error| named(&error))?;
        let mut json =
            serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, file));
        let seed = Document { chosen: self.realm.as_deref(), pass, realms };
        seed.deserialize(&mut json).map_err(|error| named(&error))?;
        json.end().map_err(|error| named(&error))
    }

    fn person(&self, value: Value, issuers: &BTreeMap<String, String>) -> Found {
        let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
        let username = value.get("username").and_then(Value::as_str).unwrap_or("?").to_owned();
        let user = serde_json::from_value::<User>(value);
        let person = user
            .map_err(|error| error.to_string())
            .and_then(|user| user.person(self.with_realm, issuers));
        match person {
            Ok(person) => Found::Person(person),
            Err(problem) => {
                let place = id.clone().unwrap_or_else(|| format!("user name {username}"));
                Found::Invalid(InvalidRecord { place, id, problem })
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    id: Option<String>,
    username: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
    #[serde(default)]
    email_verified: Option<bool>,
    enabled: Option<bool>,
    created_timestamp: Option<i64>,
    #[serde(default)]
    federated_identities: Option<Vec<FederatedIdentity>>,
    #[serde(default)]
    realm_roles: Option<Vec<String>>,
    #[serde(default)]
    client_roles: Option<BTreeMap<String, Vec<String>>>,
    service_account_client_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FederatedIdentity {
    identity_provider: String,
    user_id: String,
}

impl User {
    fn person(
        self,
        with_realm: bool,
        issuers: &BTreeMap<String, String>,
    ) -> Result<ImportedPerson, String> {
        let id = self.id.filter(|id| !id.is_empty()).ok_or("it has no id")?;
        let mut person = ImportedPerson::new(id);
        let federated = self.federated_identities.unwrap_or_default().into_iter();
        person.identities.extend(federated.map(|identity| SourceIdentity {
            issuer: issuers.get(&identity.identity_provider).cloned(),
            provider: identity.identity_provider,
            subject: identity.user_id,
        }));
        if with_realm {
            person.identities.push(SourceIdentity {
                provider: REALM.to_owned(),
                subject: person.id().to_owned(),
                issuer: None,
            });
        }
        let names: Vec<String> = [self.first_name, self.last_name].into_iter().flatten().collect();
        person.name = Some(names.join(" ").trim().to_owned()).filter(|name| !name.is_empty());
        person.username = self.username;
        person.email = self.email;
        person.email_verified = self.email_verified == Some(true);
        person.roles = self.realm_roles.unwrap_or_default();
        for (client, roles) in self.client_roles.unwrap_or_default() {
            person.roles.extend(roles.into_iter().map(|role| format!("{client}/{role}")));
        }
        person.ban = (self.enabled == Some(false)).then_some(Ban::ForEver);
        if let Some(at) = self.created_timestamp {
            let at = times::number_of(at).map_err(|why| format!("createdTimestamp: {why}"))?;
            person.created_at = Some(at);
        }
        person.skip = self.service_account_client_id.map(|_| Skip::ServiceAccount);
        Ok(person)
    }
}

/// What a reading of the files is for.
enum Pass<'a> {
    /// The issuers of the identity providers, by alias.
    Issuers(&'a mut BTreeMap<String, String>),
    People(&'a mut dyn FnMut(Value) -> bool),
}

/// A realm, or a list of realms.
struct Document<'a, 'b> {
    chosen: Option<&'a str>,
    pass: &'a mut Pass<'b>,
    realms: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Document<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a realm or a list of realms")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut realms: A) -> Result<(), A::Error> {
        let Self { chosen, pass, realms: names } = self;
        while realms
            .next_element_seed(Document { chosen, pass: &mut *pass, realms: &mut *names })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut is_chosen = true;
        while let Some(name) = members.next_key::<String>()? {
            match (name.as_str(), &mut *self.pass) {
                ("realm", _) => {
                    let realm = members.next_value::<String>()?;
                    is_chosen = self.chosen.is_none_or(|chosen| chosen == realm);
                    self.realms.push(realm);
                }
                ("identityProviders", Pass::Issuers(issuers)) if is_chosen => {
                    for provider in members.next_value::<Vec<Provider>>()? {
                        if let Some(Value::String(issuer)) = provider.config.get("issuer")
                            && !issuer.is_empty()
                        {
                            issuers.insert(provider.alias, issuer.clone());
                        }
                    }
                }
                ("users" | "federatedUsers", Pass::People(found)) if is_chosen => {
                    members.next_value_seed(People(*found))?;
                }
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Provider {
    alias: String,
    #[serde(default)]
    config: BTreeMap<String, Value>,
}

/// A list of people, each of whom is passed on before the next is read.
struct People<'a>(&'a mut dyn FnMut(Value) -> bool);

impl<'de> DeserializeSeed<'de> for People<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for People<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of users")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut people: A) -> Result<(), A::Error> {
        let mut goes_on = true;
        while let Some(person) = people.next_element::<Value>()? {
            // The rest is read to its end, and nobody is told of it.
            goes_on = goes_on && (self.0)(person);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::model::Timestamp;

    use super::*;

    const REALM_FILE: &str = r#"{
        "id": "c1", "realm": "shop", "notBefore": 0,
        "identityProviders": [
            { "alias": "google", "config": { "clientId": "x" } },
            { "alias": "corp", "config": { "issuer": "https://corp.example.com", "n": 1 } }
        ]
    }"#;
    const USERS: &str = r#"{ "realm": "shop", "users": [
        { "id": "6f9619ff-8b86-4011-b42d-00cf4fc964ff", "username": "ada", "enabled": true,
          "firstName": "Ada", "lastName": "L.", "email": "ada@example.com", "emailVerified": true,
          "createdTimestamp": 1767323045678, "credentials": [{ "secretData": "{}" }],
          "realmRoles": ["staff"], "clientRoles": { "app": ["editor"] }, "groups": ["/a/b"],
          "federatedIdentities": [
              { "identityProvider": "corp", "userId": "u1", "userName": "ada" },
              { "identityProvider": "google", "userId": "g1", "userName": "ada" }] },
        { "id": "2", "username": "off", "enabled": false },
        { "id": "3", "username": "service-account-app", "enabled": true, "serviceAccountClientId": "app" },
        { "id": "4", "username": "seconds", "createdTimestamp": 17 },
        { "id": "5", "username": "odd", "emailVerified": "yes" },
        { "username": "nameless" }
    ] }"#;
    const FEDERATED: &str = r#"{ "realm": "shop", "federatedUsers": [
        { "id": "f:c:eve", "federatedIdentities": [
            { "identityProvider": "corp", "userId": "u2", "userName": "eve" }] }
    ] }"#;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn all(
        path: &Path,
        realm: Option<&str>,
        with_realm: bool,
    ) -> Result<(Vec<ImportedPerson>, Vec<InvalidRecord>), String> {
        let (mut people, mut invalid) = (vec![], vec![]);
        Export::open(path, realm.map(str::to_owned), with_realm)?.read(|found| {
            match found {
                Found::Person(person) => people.push(person),
                Found::Invalid(record) => invalid.push(record),
            }
            true
        })?;
        Ok((people, invalid))
    }

    #[test]
    fn people_of_all_files_are_read_and_a_bad_record_costs_itself_alone() {
        let files = [
            ("shop-users-0.json", USERS),
            ("shop-realm.json", REALM_FILE),
            ("shop-federated-users-0.json", FEDERATED),
        ];
        let export = directory(&files);
        let (people, invalid) = all(export.path(), None, false).unwrap();
        let places: Vec<_> = invalid.iter().map(|it| it.place.as_str()).collect();
        assert_eq!(places, ["4", "5", "user name nameless"]);
        let [eve, ada, off, service] = &people[..] else { panic!("{people:?}") };
        assert_eq!((eve.id(), eve.identities.len()), ("f:c:eve", 1));
        assert_eq!(ada.identities[0].issuer.as_deref(), Some("https://corp.example.com"));
        assert_eq!((ada.identities[1].subject.as_str(), &ada.identities[1].issuer), ("g1", &None));
        assert_eq!(ada.roles, ["staff", "app/editor"]);
        assert_eq!((ada.name.as_deref(), ada.email_verified), (Some("Ada L."), true));
        assert_eq!(ada.created_at, Some(Timestamp::from_unix(1_767_323_045)));
        assert_eq!((ada.ban, off.ban), (None, Some(Ban::ForEver)));
        assert_eq!((ada.skip, service.skip), (None, Some(Skip::ServiceAccount)));
        let (people, _) = all(export.path(), Some("shop"), true).unwrap();
        let own = people[1].identities.last().unwrap();
        assert_eq!((own.provider.as_str(), own.subject.as_str()), (REALM, people[1].id()));
    }

    #[test]
    fn a_file_with_several_realms_needs_a_choice() {
        let other = USERS.replace("shop", "other").replace("6f9619ff", "aaaaaaaa");
        let both = directory(&[("all.json", &format!("[{USERS},{other}]"))]);
        let path = both.path().join("all.json");
        assert!(all(&path, None, false).unwrap_err().contains("--realm"));
        let (people, _) = all(&path, Some("other"), false).unwrap();
        assert_eq!((people.len(), people[0].id().starts_with("aaaaaaaa")), (3, true));
        assert!(all(&path, Some("third"), false).unwrap_err().contains("third"));
    }

    #[test]
    fn what_is_no_export_is_an_error_that_names_the_file() {
        for text in ["", "{", "7", "{\"users\": 7}", "{} trailing"] {
            let export = directory(&[("a.json", text)]);
            assert!(all(export.path(), None, false).unwrap_err().contains("a.json"), "{text}");
        }
        assert!(all(directory(&[]).path(), None, false).is_err());
    }
}
