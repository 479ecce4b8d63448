//! What an operator sets at a provider, and so differs from one to the next within a dialect.

/// The settings of a dialect; those of other dialects change nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialectOptions {
    /// Entra: how many groups a token holds at most. Real: 200.
    pub groups_limit: usize,
    /// Entra: what a token says instead of too many groups.
    pub overage: Overage,
    /// Okta: how the groups begin that the claim's filter lets through; all of them if none.
    pub groups_prefix: Option<String>,
    /// Okta: whether ID tokens leave what the scopes ask for to userinfo.
    pub thin_id_tokens: bool,
    /// Apple: whether `email_verified` and `is_private_email` are text; both are documented.
    pub flags_as_text: bool,
    /// Auth0: what the names of custom claims begin with.
    pub claims_namespace: String,
}

/// What an Entra token says instead of too many groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overage {
    /// `_claim_names` and `_claim_sources`: where to ask. What the code flow gives.
    #[default]
    Distributed,
    /// `hasgroups`: that there are some. What the implicit flow gives.
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
