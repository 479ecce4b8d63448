//! The tables as the query builder sees them.

diesel::table! {
    users (id) {
        id -> Uuid,
        granted_roles -> Array<Nullable<Text>>,
        disabled_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    external_identities (issuer, subject) {
        issuer -> Text,
        subject -> Text,
        user_id -> Uuid,
    }
}

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}

diesel::joinable!(external_identities -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(external_identities, users);
