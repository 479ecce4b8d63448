//! idpyoidc, from PyPI.

use super::sample::Sample;

/// How a sample server in Python is prepared.
pub(super) const PYTHON: &[&[&str]] = &[
    &["python3", "-m", "venv", "venv"],
    &["./venv/bin/pip", "install", "--quiet", "--no-deps", "-r", "requirements.txt"],
];

pub(super) const SAMPLE: Sample = Sample {
    name: "idpyoidc",
    prepared_by: PYTHON,
    started_by: ("./venv/bin/python", &["server.py"]),
    // It signs nobody out without an id_token_hint.
    configured: "keep_id_token = true\n",
    forgets: true,
    has_back_channel_logout: true,
    has_rp_initiated_logout: true,
};
