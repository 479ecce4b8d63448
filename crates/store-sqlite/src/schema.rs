//! The tables as the query builder sees them.

diesel::table! {
    users (id) {
        id -> Binary,
        granted_roles -> Text,
        disabled_at -> Nullable<BigInt>,
        created_at -> BigInt,
        session_epoch -> BigInt,
        identity_epoch_floor -> BigInt,
        name -> Nullable<Text>,
        preferred_username -> Nullable<Text>,
        email -> Nullable<Text>,
        picture -> Nullable<Text>,
        searched -> Nullable<Text>,
        disabled_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    former_ids (former_id, source) {
        former_id -> Text,
        source -> Text,
        user_id -> Binary,
        position -> BigInt,
        record -> Nullable<Text>,
    }
}

diesel::table! {
    external_identities (issuer, subject) {
        issuer -> Text,
        subject -> Text,
        provider -> Text,
        user_id -> Binary,
        created_at -> BigInt,
        session_epoch -> BigInt,
    }
}

diesel::table! {
    single_use_marks (hash) {
        hash -> Binary,
        expires_at -> BigInt,
    }
}

diesel::table! {
    sessions (id) {
        id -> Binary,
        user_id -> Binary,
        provider -> Text,
        issuer -> Text,
        subject -> Text,
        upstream_sid -> Nullable<Text>,
        #[sql_name = "gen"]
        generation -> BigInt,
        cur_hash -> Binary,
        cur_kid -> Text,
        cur_iat -> BigInt,
        cur_exp -> BigInt,
        prev_hash -> Nullable<Binary>,
        prev_replays -> BigInt,
        rotated_at -> Nullable<BigInt>,
        absolute_expires_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
        revoke_reason -> Nullable<Text>,
        created_at -> BigInt,
        last_used_at -> BigInt,
        user_agent -> Nullable<Text>,
        ip_prefix -> Nullable<Text>,
        roles -> Text,
        auth_time -> BigInt,
        acr -> Nullable<Text>,
        amr -> Text,
        extra_claims -> Text,
        claimed_roles -> Text,
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
        id -> BigInt,
        epoch -> BigInt,
    }
}

diesel::table! {
    deleted_sessions (id) {
        id -> Binary,
        ended_at -> BigInt,
        forget_after -> BigInt,
        end_reason -> Nullable<Text>,
    }
}

diesel::table! {
    revocation_log (id) {
        id -> BigInt,
        identity -> Text,
        last_position -> BigInt,
        token_seconds -> BigInt,
        confirmed_at -> BigInt,
    }
}

diesel::table! {
    revocations (position) {
        position -> BigInt,
        session_id -> Nullable<Binary>,
        user_id -> Nullable<Binary>,
        epoch -> Nullable<BigInt>,
        issued_before -> Nullable<BigInt>,
        forget_after -> BigInt,
    }
}

diesel::table! {
    upstream_tokens (session_id) {
        session_id -> Binary,
        sealed -> Nullable<Text>,
        asked_at -> BigInt,
        claimed_until -> Nullable<BigInt>,
        id_token -> Nullable<Text>,
        access_token -> Nullable<Text>,
        access_scope -> Nullable<Text>,
        access_expires_at -> Nullable<BigInt>,
        access_due_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    idempotency_keys (key_hash) {
        key_hash -> Binary,
        body_hash -> Binary,
        session_id -> Binary,
        expires_at -> BigInt,
    }
}

diesel::table! {
    idempotency_reservations (key_hash) {
        key_hash -> Binary,
        body_hash -> Binary,
        holder -> Binary,
        expires_at -> BigInt,
    }
}

diesel::table! {
    signing_keys (key_use, number) {
        key_use -> Text,
        number -> BigInt,
        kid -> Text,
        material -> Text,
        created_at -> BigInt,
        activates_at -> Nullable<BigInt>,
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
        held_until -> Nullable<BigInt>,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    replicas (id) {
        id -> Binary,
        name -> Text,
        issuer -> Text,
        access_kids -> Nullable<Text>,
        refresh_kids -> Nullable<Text>,
        known_since -> BigInt,
        seen_at -> BigInt,
    }
}

diesel::table! {
    sqlite_master (name) {
        name -> Text,
    }
}

diesel::table! {
    audit_events (seq) {
        seq -> BigInt,
        at -> BigInt,
        kind -> Text,
        actor -> Text,
        user_id -> Nullable<Binary>,
        session_id -> Nullable<Binary>,
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
        id -> BigInt,
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
diesel::joinable!(upstream_tokens -> sessions (session_id));
diesel::allow_tables_to_appear_in_same_query!(
    external_identities,
    former_ids,
    restores,
    sessions,
    upstream_tokens,
    users,
);

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
