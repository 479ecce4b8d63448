//! The settings of an operator at a provider, which differ between users of one dialect.

/// The settings of the dialects; each dialect reads its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialectOptions {
    /// Entra: the largest number of groups in a token; 200 at the real provider.
    pub groups_limit: usize,
    /// Entra: how a token says that there are more groups.
    pub overage: Overage,
    /// Okta: the prefix of the groups that the claim's filter admits; all groups if absent.
    pub groups_prefix: Option<String>,
    /// Okta: whether the claims of the scopes are in userinfo alone and not in ID tokens.
    pub thin_id_tokens: bool,
    /// Apple: whether `email_verified` and `is_private_email` are text instead of booleans; Apple
    /// documents both.
    pub flags_as_text: bool,
    /// Auth0: the prefix of the names of custom claims.
    pub claims_namespace: String,
}

/// How an Entra token says that there are more groups than it can hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overage {
    /// `_claim_names` and `_claim_sources`, which say where the groups are; as in the code flow.
    #[default]
    Distributed,
    /// `hasgroups`, which says only that there are groups; as in the implicit flow.
    HasGroups,
}

impl Default for DialectOptions {
    fn default() -> Self {
        Self {
            groups_limit: 200,
            overage: Overage::default(),
            groups_prefix: None,
            thin_id_tokens: false,
            flags_as_text: true,
            claims_namespace: "https://mintgate.example/".into(),
        }
    }
}
