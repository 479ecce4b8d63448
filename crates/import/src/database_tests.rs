//! The three sources with a database, on tables as those systems make them.

use std::collections::BTreeMap;

use mintgate_domain::SecretText;
use mintgate_domain::model::{Ban, Timestamp};
use mintgate_testkit::postgres::{TestDatabase, is_given};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::database::{Tables, connect, read};
use crate::person::{Found, ImportedPerson, InvalidRecord, Skip};
use crate::{better_auth, supabase, supertokens};

const AT: Timestamp = Timestamp::from_unix(1_767_323_045);

fn tables(schema: &str) -> Tables {
    Tables { schema: schema.to_owned(), ..Tables::default() }
}

/// What is read of a database with these tables, by id.
async fn all(
    database: &TestDatabase,
    query: &str,
    person: impl Fn(&Value) -> Result<ImportedPerson, String>,
) -> (Vec<ImportedPerson>, Vec<InvalidRecord>) {
    let mut client = connect(&SecretText::new(database.url())).await.unwrap();
    let (sender, mut receiver) = mpsc::channel(1000);
    read(&mut client, query, person, &sender).await.unwrap();
    drop(sender);
    let (mut people, mut invalid) = (vec![], vec![]);
    while let Some(found) = receiver.recv().await {
        match found {
            Found::Person(person) => people.push(person),
            Found::Invalid(record) => invalid.push(record),
        }
    }
    people.sort_by(|a, b| a.ids.cmp(&b.ids));
    (people, invalid)
}

async fn database(sql: &str) -> TestDatabase {
    let database = TestDatabase::create_empty().await;
    database.client().await.batch_execute(sql).await.unwrap();
    database
}

fn identities(person: &ImportedPerson) -> Vec<(&str, &str, Option<&str>)> {
    let identities = person.identities.iter();
    identities.map(|it| (&*it.provider, &*it.subject, it.issuer.as_deref())).collect()
}

#[tokio::test]
async fn people_of_supabase_are_read() {
    if !is_given() {
        return;
    }
    let database = database(
        "CREATE SCHEMA auth;
        CREATE TABLE auth.users (id uuid PRIMARY KEY, email varchar(255), is_sso_user boolean,
            encrypted_password varchar(255), email_confirmed_at timestamptz, phone text,
            raw_app_meta_data jsonb, raw_user_meta_data jsonb, role varchar(255), aud varchar(255),
            banned_until timestamptz, deleted_at timestamptz, is_anonymous boolean, created_at timestamptz);
        CREATE TABLE auth.identities (id uuid PRIMARY KEY, provider_id text NOT NULL, user_id uuid,
            provider text, identity_data jsonb, created_at timestamptz);
        INSERT INTO auth.users (id, email, email_confirmed_at, encrypted_password, raw_app_meta_data,
            raw_user_meta_data, banned_until, deleted_at, is_anonymous, created_at) VALUES
        ('00000000-0000-4000-8000-000000000001', 'ada@example.com', now(), 'secret',
            '{\"roles\": [\"admin\"], \"role\": \"staff\"}', '{\"full_name\": \"Ada L.\"}',
            '2030-01-01 00:00:00+00', NULL, false, '2026-01-02 03:04:05.678+00'),
        ('00000000-0000-4000-8000-000000000002', 'x', NULL, NULL, '{}', '{}', 'infinity', NULL, NULL,
            '2026-01-02 03:04:05+00'),
        ('00000000-0000-4000-8000-000000000003', NULL, NULL, NULL, NULL, NULL, NULL, now(), false, now()),
        ('00000000-0000-4000-8000-000000000004', NULL, NULL, NULL, NULL, NULL, NULL, NULL, true, now()),
        ('00000000-0000-4000-8000-000000000005', NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, 'epoch');
        INSERT INTO auth.identities (id, provider_id, user_id, provider, identity_data) VALUES
        (gen_random_uuid(), 'g1', '00000000-0000-4000-8000-000000000001', 'google',
            '{\"iss\": \"https://www.googleapis.com/userinfo/v2/me\"}'),
        (gen_random_uuid(), 'a1', '00000000-0000-4000-8000-000000000002', 'azure',
            '{\"iss\": \"https://login.example.com/t/v2.0\"}')",
    )
    .await;
    let query = supabase::query(&tables(supabase::SCHEMA));
    let (people, invalid) = all(&database, &query, supabase::person).await;
    let [ada, banned, deleted, anonymous] = &people[..] else { panic!("{people:?}") };
    assert_eq!(identities(ada), [("google", "g1", None)]);
    assert_eq!(
        (ada.roles.as_slice(), ada.name.as_deref()),
        (&["staff".to_owned(), "admin".to_owned()][..], Some("Ada L."))
    );
    assert_eq!((ada.email.as_deref(), ada.email_verified), (Some("ada@example.com"), true));
    assert_eq!(ada.ban, Some(Ban::Until(Timestamp::from_unix(1_893_456_000))));
    assert_eq!((ada.created_at, banned.ban), (Some(AT), Some(Ban::ForEver)));
    assert_eq!(identities(banned), [("azure", "a1", Some("https://login.example.com/t/v2.0"))]);
    assert_eq!((deleted.skip, anonymous.skip), (Some(Skip::Deleted), Some(Skip::Anonymous)));
    assert_eq!(invalid.len(), 1);
    assert!(invalid[0].place.ends_with('5') && invalid[0].problem.contains("created_at"));

    let client = database.client().await;
    client
        .batch_execute(
            "ALTER TABLE auth.identities DROP COLUMN id;
             ALTER TABLE auth.identities RENAME COLUMN provider_id TO id",
        )
        .await
        .unwrap();
    let (people, _) = all(&database, &query, supabase::person).await;
    assert_eq!(identities(&people[0]), [("google", "g1", None)], "the schema before");
}

#[tokio::test]
async fn people_of_supertokens_are_read_with_all_their_ids() {
    if !is_given() {
        return;
    }
    let database = database(
        "CREATE TABLE st_app_id_to_user_id (app_id varchar(64), user_id char(36), recipe_id varchar(128),
            primary_or_recipe_user_id char(36), is_linked_or_is_a_primary_user boolean, time_joined bigint,
            primary_or_recipe_user_time_joined bigint);
        CREATE TABLE logins (app_id varchar(64), third_party_id varchar(28),
            third_party_user_id varchar(256), user_id char(36), email varchar(256), time_joined bigint);
        CREATE TABLE st_userid_mapping (app_id varchar(64), supertokens_user_id char(36),
            external_user_id varchar(128), external_user_id_info text);
        CREATE TABLE st_emailverification_verified_emails (app_id varchar(64), user_id varchar(128),
            email varchar(256));
        CREATE TABLE st_user_roles (app_id varchar(64), tenant_id varchar(64), user_id varchar(128),
            role varchar(255));
        INSERT INTO st_app_id_to_user_id VALUES
            ('public', '00000000-0000-4000-8000-00000000000a', 'thirdparty',
                '00000000-0000-4000-8000-00000000000a', true, 1767323045678, 1767323045678),
            ('public', '00000000-0000-4000-8000-00000000000b', 'thirdparty',
                '00000000-0000-4000-8000-00000000000a', true, 1767323099000, 1767323045678),
            ('public', '00000000-0000-4000-8000-00000000000c', 'emailpassword',
                '00000000-0000-4000-8000-00000000000c', false, 0, 0),
            ('other', '00000000-0000-4000-8000-00000000000d', 'thirdparty',
                '00000000-0000-4000-8000-00000000000d', false, 1767323045678, 1767323045678);
        INSERT INTO logins VALUES
            ('public', 'google', 'g1', '00000000-0000-4000-8000-00000000000a', 'ada@example.com', 1),
            ('public', 'github', '77', '00000000-0000-4000-8000-00000000000b', 'ada@x.example.com', 1);
        INSERT INTO st_userid_mapping VALUES
            ('public', '00000000-0000-4000-8000-00000000000a', 'external-a', NULL);
        INSERT INTO st_emailverification_verified_emails VALUES
            ('public', 'external-a', 'ada@x.example.com');
        INSERT INTO st_user_roles VALUES ('public', 'public', 'external-a', 'admin'),
            ('public', 'public', '00000000-0000-4000-8000-00000000000c', 'blocked')",
    )
    .await;
    let renamed = BTreeMap::from([("thirdparty_users".to_owned(), "logins".to_owned())]);
    let tables =
        Tables { schema: supertokens::SCHEMA.to_owned(), prefix: "st_".to_owned(), renamed };
    let query = supertokens::query(&tables);
    let person = |row: &Value| supertokens::person(row, Some("blocked"));
    let (people, invalid) = all(&database, &query, person).await;
    assert_eq!(invalid, []);
    let [carol, ada] = &people[..] else { panic!("{people:?}") };
    let [a, b] = ["a", "b"].map(|end| format!("00000000-0000-4000-8000-00000000000{end}"));
    assert_eq!(ada.ids, ["external-a", &a, &b]);
    let mut found = identities(ada);
    found.sort_unstable();
    assert_eq!(found, [("github", "77", None), ("google", "g1", None)]);
    assert_eq!((ada.email.as_deref(), ada.email_verified), (Some("ada@x.example.com"), true));
    assert_eq!((ada.created_at, ada.ban), (Some(AT), None));
    assert_eq!(ada.roles, ["admin"]);
    assert_eq!((carol.created_at, carol.ban), (None, Some(Ban::ForEver)));
}

#[tokio::test]
async fn people_of_better_auth_are_read_whatever_the_columns_are_called() {
    if !is_given() {
        return;
    }
    let database = database(
        "CREATE TABLE \"user\" (id text PRIMARY KEY, name text, email text, \"emailVerified\" boolean,
            image text, \"createdAt\" timestamp, \"updatedAt\" timestamp, role text, banned boolean,
            \"banReason\" text, \"banExpires\" timestamp, \"isAnonymous\" boolean);
        CREATE TABLE account (id text, \"userId\" text, \"providerId\" text, \"accountId\" text,
            \"accessToken\" text, password text, issuer text);
        INSERT INTO \"user\" VALUES
            ('u1', 'Ada', 'ada@example.com', true, 'https://x.example.com/a.png', '2026-01-02 03:04:05',
                now(), 'admin, user', true, 'spam', '2030-01-01', false),
            ('u2', 'Bob', 'bob@example.com', false, NULL, '2026-01-02 03:04:05', now(), NULL, NULL, NULL,
                NULL, true);
        INSERT INTO account VALUES
            ('1', 'u1', 'google', 'g1', 'secret', NULL, 'https://accounts.google.com'),
            ('2', 'u1', 'github', '77', NULL, NULL, 'local:oauth:github'),
            ('3', 'u1', 'credential', 'u1', NULL, 'secret', 'local:credential');
        CREATE TABLE users (id bigint, email text, email_verified boolean, created_at timestamp);
        CREATE TABLE accounts (user_id bigint, provider_id text, account_id text);
        INSERT INTO users VALUES (7, 'x', false, '2026-01-02 03:04:05');
        INSERT INTO accounts VALUES (7, 'google', 'g7')",
    )
    .await;
    let client = database.client().await;
    let query = better_auth::query(&client, &tables(better_auth::SCHEMA)).await.unwrap();
    let (people, invalid) = all(&database, &query, better_auth::person).await;
    assert_eq!(invalid, []);
    let [ada, bob] = &people[..] else { panic!("{people:?}") };
    let mut found = identities(ada);
    found.sort_unstable();
    let google = ("google", "g1", Some("https://accounts.google.com"));
    assert_eq!(found, [("credential", "u1", None), ("github", "77", None), google]);
    assert_eq!(
        (ada.roles.as_slice(), ada.created_at),
        (&["admin".to_owned(), "user".to_owned()][..], Some(AT))
    );
    assert_eq!(ada.ban, Some(Ban::Until(Timestamp::from_unix(1_893_456_000))));
    assert_eq!((bob.skip, bob.ban), (Some(Skip::Anonymous), None));

    let renamed = [("user", "users"), ("account", "accounts")];
    let renamed = renamed.map(|(one, other)| (one.to_owned(), other.to_owned())).into();
    let other = Tables { renamed, ..tables(better_auth::SCHEMA) };
    let query = better_auth::query(&client, &other).await.unwrap();
    let (people, _) = all(&database, &query, better_auth::person).await;
    assert_eq!((people[0].id(), identities(&people[0])), ("7", vec![("google", "g7", None)]));
    assert!(better_auth::query(&client, &tables("nowhere")).await.is_err());
}
