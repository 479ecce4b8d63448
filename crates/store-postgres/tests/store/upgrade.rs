//! Databases that an earlier release has written to.

use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{ExternalIdentity, Profile, Revoked, Role, Session};
use mintgate_domain::ports::{
    OpenOutcome, ProviderLogoutOutcome, RefreshTokenRepo, RevocationLog, StoreError, StoreHealth,
    UserDirectory,
};
use mintgate_testkit::StoreCalls;
use mintgate_testkit::openings::{NOW, Opening, Openings, identity, single_use};
use mintgate_testkit::postgres::TestDatabase;
use mintgate_testkit::rotations::rotation;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use crate::harness::{
    PATIENCE, config, empty, fresh_store, migrations_from, names_from, order, read, store,
    undo_from,
};

/// A database as the release before identities could be linked has left it.
async fn schema_2() -> (TestDatabase, Client) {
    let database = empty().await;
    let admin = database.client().await;
    for migration in migrations_from("0001").iter().take_while(|one| one.name.as_str() < "0003") {
        admin.batch_execute(&migration.up).await.unwrap();
    }
    admin
        .batch_execute(
            "CREATE TABLE __diesel_schema_migrations (
                 version varchar(50) PRIMARY KEY NOT NULL,
                 run_on timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP
             );
             INSERT INTO __diesel_schema_migrations (version) VALUES ('0001'), ('0002')",
        )
        .await
        .unwrap();
    (database, admin)
}

/// Stores it as that release did, but for the identity.
async fn insert(admin: &Client, opening: &Opening) {
    let session = &opening.session;
    let (id, user) = (session.id.to_string(), opening.user_id().to_string());
    if opening.is_new_user {
        let insert = "INSERT INTO users (id, created_at) VALUES ($1::text::uuid, now())";
        admin.execute(insert, &[&user]).await.unwrap();
    }
    let insert = "INSERT INTO sessions (id, user_id, provider, gen, cur_hash, cur_kid, cur_iat,
            cur_exp, absolute_expires_at, created_at, last_used_at, roles, auth_time, amr,
            extra_claims)
        SELECT $1::text::uuid, $2::text::uuid, $3, 0, $4, $5, created, to_timestamp($7),
            to_timestamp($8), created, created, '{admin,user}', created, '{}', '{}'
        FROM to_timestamp($6) AS created";
    let hash = session.refresh.hash.as_bytes().as_slice();
    #[expect(clippy::cast_precision_loss, reason = "these seconds are exact in it")]
    let [created, expires, absolute] =
        [session.created_at, session.refresh.expires_at, session.absolute_expires_at]
            .map(|at| at.as_unix() as f64);
    let (provider, key) = (session.provider.as_str(), session.refresh.key_id.as_str());
    let values: [&(dyn ToSql + Sync); 8] =
        [&id, &user, &provider, &hash, &key, &created, &expires, &absolute];
    admin.execute(insert, &values).await.unwrap();
}

/// Of which column, constraint and index there is, everything but their order.
async fn shape(admin: &Client) -> Vec<String> {
    let shape = "SELECT concat_ws(' ', table_name, column_name, data_type, collation_name,
            is_nullable, column_default) AS line
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations'
        UNION SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
            AND conrelid <> '__diesel_schema_migrations'::regclass
        UNION SELECT indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> '__diesel_schema_migrations'
        UNION SELECT concat_ws(' ', relname, reloptions) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relname <> '__diesel_schema_migrations'
            AND relkind = 'r'
        ORDER BY line";
    admin.query(shape, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn sessions_of_schema_2_are_refreshed_and_ended_after_the_migration() {
    let (database, admin) = schema_2().await;
    let openings = Openings::default();
    let [ada, bob, cyd] = ["ada", "bob", "cyd"].map(|name| openings.new_user(identity(name)));
    let again = openings.existing(ada.user_id());
    for opening in [&ada, &again, &bob, &cyd] {
        insert(&admin, opening).await;
    }
    // Ada has had two, by an operator's hand; that of Cyd is gone.
    let (adas, bobs) = (ada.user_id(), bob.user_id());
    let identities = format!(
        "INSERT INTO external_identities (issuer, subject, provider, user_id, created_at) VALUES
             ('https://another.example.com', 'ada', 'corp', '{adas}', '2021-01-01'),
             ('https://idp.example.com', 'ada', 'corp', '{adas}', '2020-01-01'),
             ('https://idp.example.com', 'bob', 'corp', '{bobs}', '2020-01-01')"
    );
    admin.batch_execute(&identities).await.unwrap();
    let used = single_use("used before");
    let insert = "INSERT INTO consumed_id_tokens VALUES ($1, '2099-01-01')";
    admin.execute(insert, &[&used.hash.as_bytes().as_slice()]).await.unwrap();

    let store = store(&config(database.url()));
    assert_eq!(store.migrate(PATIENCE, &|_| ()).await.unwrap(), names_from("0003"));
    assert_eq!(store.check().await, Ok(()));

    let unknown =
        ExternalIdentity { issuer: "unknown".to_owned(), subject: cyd.user_id().to_string() };
    let expected = [&ada, &again, &bob].map(|opening| opening.session.identity.clone());
    for (opening, identity) in
        [&ada, &again, &bob, &cyd].into_iter().zip(expected.into_iter().chain([unknown]))
    {
        let session: Session = read(&store, opening.session.id).await;
        assert_eq!(session.identity, identity);
        assert_eq!(session.upstream_sid, None);
        assert_eq!(session.claimed_roles, [Role::new("admin"), Role::new("user")]);
        assert_eq!(session.claimed_roles, session.grant.roles);
        let outcome = store.rotate(&rotation(&session, NOW)).await.unwrap();
        assert!(matches!(outcome, RotateOutcome::Rotated(_)), "{outcome:?}");
    }
    let outcome = store.end_provider_sessions(&order(Some("ada"), None, "order"), NOW).await;
    assert_eq!(outcome, Ok(ProviderLogoutOutcome::Ended(2)));
    let logged = store.revocations(None, NOW, 10).await.unwrap().expect("a page");
    let logged: Vec<_> = logged.events.into_iter().map(|event| event.revoked).collect();
    assert_eq!(logged, [&ada, &again].map(|it| Revoked::Session(it.session.id)));
    assert_eq!(store.identities(adas).await.unwrap().len(), 2);

    // What was used before stays so.
    let mut replayed = openings.existing_with(bobs, identity("bob"));
    replayed.single_use = Some(used);
    assert_eq!(store.open_session(&replayed).await, Ok(OpenOutcome::Replayed));
}

/// A database that had the seventh migration before there was a fifth.
#[tokio::test]
async fn a_migration_with_a_lower_number_than_the_last_is_made_up_for() {
    let test = fresh_store().await;
    let everything = shape(&test.admin).await;
    let openings = Openings::default();
    let session = crate::harness::session(&test.store, &openings, "ada").await;
    // The twelfth changes what the tenth has made.
    let missing = ["0005_profiles", "0010_administration", "0012_audit_log"];
    for migration in migrations_from("0005").iter().rev() {
        if missing.contains(&migration.name.as_str()) {
            test.admin.batch_execute(&migration.down).await.unwrap();
        }
    }
    let forget = "DELETE FROM __diesel_schema_migrations WHERE version IN ('0005', '0010', '0012')";
    test.admin.batch_execute(forget).await.unwrap();

    let store = store(&config(test.database.url()));
    let lacks = StoreError::SchemaMismatch(format!("it lacks {}", missing.join(", ")).into());
    assert_eq!(store.check().await, Err(lacks));
    assert_eq!(store.migrate(PATIENCE, &|_| ()).await.unwrap(), missing);
    assert_eq!(store.check().await, Ok(()));
    assert_eq!(shape(&test.admin).await, everything);
    assert_eq!(read(&store, session.id).await, session);
    let person = store.find_user(&identity("ada")).await.unwrap().expect("a person");
    assert_eq!(person.user.profile, Profile::default());
    let mut opening = openings.existing(session.user);
    let profile = Profile { name: Some("Ada".to_owned()), ..Profile::default() };
    opening.profile = Some(profile.clone());
    assert_eq!(store.open_session(&opening).await, Ok(OpenOutcome::Opened));
    let person = store.find_user(&identity("ada")).await.unwrap().expect("a person");
    assert_eq!(person.user.profile, profile);
}

#[tokio::test]
async fn undoing_the_third_migration_gives_the_second_schema_back() {
    let test = fresh_store().await;
    crate::harness::session(&test.store, &Openings::default(), "ada").await;
    let third = shape(&test.admin).await;
    undo_from(&test.admin, "0003").await;
    let (_database, second) = schema_2().await;
    assert_eq!(shape(&test.admin).await, shape(&second).await);

    let forget = "DELETE FROM __diesel_schema_migrations WHERE version > '0002'";
    test.admin.batch_execute(forget).await.unwrap();
    let database = config(test.database.url());
    let run = store(&database).migrate(PATIENCE, &|_| ()).await.unwrap();
    assert_eq!(run, names_from("0003"));
    assert_eq!(shape(&test.admin).await, third);
}
