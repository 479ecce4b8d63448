//! oidc-provider, from npm.

use super::sample::Sample;

pub(super) const SAMPLE: Sample = Sample {
    name: "oidc-provider",
    prepared_by: &[&["npm", "ci", "--ignore-scripts"]],
    started_by: ("node", &["server.js"]),
    configured: "",
    forgets: true,
    has_back_channel_logout: true,
    has_rp_initiated_logout: true,
};
