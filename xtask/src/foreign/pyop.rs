//! pyop, from PyPI.

use super::sample::Sample;

pub(super) const SAMPLE: Sample = Sample {
    name: "pyop",
    prepared_by: super::idpyoidc::PYTHON,
    started_by: ("./venv/bin/python", &["server.py"]),
    // Its ID tokens say nothing of a person but the subject, and it signs nobody out without an id_token_hint.
    configured: "userinfo = true\nkeep_id_token = true\n",
    forgets: true,
    has_back_channel_logout: false,
    has_rp_initiated_logout: true,
};
