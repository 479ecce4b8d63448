//! Canaille, from PyPI: a whole provider, with pages of its own.

use super::sample::Sample;

pub(super) const SAMPLE: Sample = Sample {
    name: "canaille",
    prepared_by: super::idpyoidc::PYTHON,
    started_by: ("./venv/bin/python", &["server.py"]),
    // It sends nobody back without an id_token_hint, except to domains that it trusts.
    configured: "keep_id_token = true\n",
    forgets: true,
    has_back_channel_logout: false,
    has_rp_initiated_logout: true,
};
