//! The tables as the query builder sees them.

diesel::table! {
    users (id) {
        id -> Binary,
        granted_roles -> Text,
        disabled_at -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    external_identities (issuer, subject) {
        issuer -> Text,
        subject -> Text,
        provider -> Text,
        user_id -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    consumed_id_tokens (hash) {
        hash -> Binary,
        expires_at -> BigInt,
    }
}

diesel::table! {
    sessions (id) {
        id -> Binary,
        user_id -> Binary,
        provider -> Text,
        #[sql_name = "gen"]
        generation -> BigInt,
        cur_hash -> Binary,
        cur_kid -> Text,
        cur_iat -> BigInt,
        cur_exp -> BigInt,
        absolute_expires_at -> BigInt,
        created_at -> BigInt,
        last_used_at -> BigInt,
        user_agent -> Nullable<Text>,
        ip_prefix -> Nullable<Text>,
        roles -> Text,
        auth_time -> BigInt,
        acr -> Nullable<Text>,
        amr -> Text,
        extra_claims -> Text,
    }
}

diesel::table! {
    sqlite_master (name) {
        name -> Text,
    }
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

diesel::joinable!(external_identities -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(external_identities, users);
