//! The tables as the query builder sees them.

diesel::table! {
    users (id) {
        id -> Uuid,
        granted_roles -> Array<Nullable<Text>>,
        disabled_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        session_epoch -> BigInt,
        identity_epoch_floor -> BigInt,
        name -> Nullable<Text>,
        preferred_username -> Nullable<Text>,
        email -> Nullable<Text>,
        picture -> Nullable<Text>,
        searched -> Nullable<Text>,
        disabled_until -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    former_ids (former_id, source) {
        former_id -> Text,
        source -> Text,
        user_id -> Uuid,
        position -> SmallInt,
        record -> Nullable<Text>,
    }
}

diesel::table! {
    external_identities (issuer, subject) {
        issuer -> Text,
        subject -> Text,
        provider -> Text,
        user_id -> Uuid,
        created_at -> Timestamptz,
        session_epoch -> BigInt,
    }
}

diesel::table! {
    sessions (id) {
        id -> Uuid,
        user_id -> Uuid,
        provider -> Text,
        r#gen -> BigInt,
        cur_hash -> Binary,
        cur_kid -> Text,
        cur_iat -> Timestamptz,
        cur_exp -> Timestamptz,
        prev_hash -> Nullable<Binary>,
        prev_replays -> SmallInt,
        rotated_at -> Nullable<Timestamptz>,
        absolute_expires_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
        revoke_reason -> Nullable<Text>,
        created_at -> Timestamptz,
        last_used_at -> Timestamptz,
        user_agent -> Nullable<Text>,
        ip_prefix -> Nullable<Text>,
        roles -> Array<Nullable<Text>>,
        auth_time -> Timestamptz,
        acr -> Nullable<Text>,
        amr -> Array<Nullable<Text>>,
        extra_claims -> Json,
        issuer -> Text,
        subject -> Text,
        upstream_sid -> Nullable<Text>,
        claimed_roles -> Array<Nullable<Text>>,
        user_epoch -> BigInt,
        identity_epoch -> Nullable<BigInt>,
        restore_epoch -> BigInt,
    }
}

diesel::table! {
    session_engine (id) {
        id -> Integer,
        mark -> Text,
    }
}

diesel::table! {
    restores (id) {
        id -> SmallInt,
        epoch -> BigInt,
    }
}

diesel::table! {
    deleted_sessions (id) {
        id -> Uuid,
        ended_at -> Timestamptz,
        forget_after -> Timestamptz,
        end_reason -> Nullable<Text>,
    }
}

diesel::table! {
    single_use_marks (hash) {
        hash -> Binary,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    idempotency_keys (key_hash) {
        key_hash -> Binary,
        body_hash -> Binary,
        session_id -> Uuid,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    upstream_tokens (session_id) {
        session_id -> Uuid,
        sealed -> Nullable<Text>,
        asked_at -> Timestamptz,
        claimed_until -> Nullable<Timestamptz>,
        id_token -> Nullable<Text>,
        access_token -> Nullable<Text>,
        access_scope -> Nullable<Text>,
        access_expires_at -> Nullable<Timestamptz>,
        access_due_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    idempotency_reservations (key_hash) {
        key_hash -> Binary,
        body_hash -> Binary,
        holder -> Binary,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    signing_keys (key_use, number) {
        key_use -> Text,
        number -> Integer,
        kid -> Text,
        material -> Text,
        created_at -> Timestamptz,
        activates_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sealing_keys (name) {
        name -> Text,
    }
}

diesel::table! {
    duties (name) {
        name -> Text,
        held_until -> Nullable<Timestamptz>,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    replicas (id) {
        id -> Binary,
    }
}

diesel::table! {
    audit_events (seq) {
        seq -> BigInt,
        at -> Timestamptz,
        kind -> Text,
        actor -> Text,
        user_id -> Nullable<Uuid>,
        session_id -> Nullable<Uuid>,
        request_id -> Nullable<Text>,
        trace_id -> Nullable<Text>,
        issuer -> Nullable<Text>,
        details -> Nullable<Text>,
        is_late -> Bool,
        subject -> Nullable<Text>,
        network -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        salt -> Nullable<Binary>,
        personal_digest -> Nullable<Binary>,
        mac -> Binary,
    }
}

diesel::table! {
    audit_head (id) {
        id -> SmallInt,
        seq -> BigInt,
        mac -> Binary,
        pruning -> BigInt,
        proof -> Binary,
        configuration -> Nullable<Text>,
    }
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

diesel::joinable!(external_identities -> users (user_id));
diesel::joinable!(sessions -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(
    external_identities,
    former_ids,
    restores,
    sessions,
    users
);

use diesel::sql_types::{Array, Nullable, Text};

#[diesel::declare_sql_function]
extern "SQL" {
    /// The time at the moment it is called, not at the beginning of the transaction.
    fn clock_timestamp() -> Timestamptz;

    /// Whether the server is a standby.
    fn pg_is_in_recovery() -> Bool;

    /// The first list that is not null.
    fn coalesce(
        a: Nullable<Array<Nullable<Text>>>,
        b: Array<Nullable<Text>>,
    ) -> Array<Nullable<Text>>;
}

/// The restore epoch, as a subquery: null if the table has lost its row.
macro_rules! restore_epoch {
    () => {
        diesel::query_dsl::methods::SingleValueDsl::single_value(diesel::QueryDsl::select(
            $crate::schema::restores::table,
            $crate::schema::restores::epoch,
        ))
    };
}
pub(crate) use restore_epoch;
