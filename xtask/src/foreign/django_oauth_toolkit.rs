//! django-oauth-toolkit, from PyPI.

use super::sample::Sample;

pub(super) const SAMPLE: Sample = Sample {
    name: "django-oauth-toolkit",
    prepared_by: super::idpyoidc::PYTHON,
    started_by: ("./venv/bin/python", &["server.py"]),
    configured: "",
    forgets: false,
    has_back_channel_logout: false,
    has_rp_initiated_logout: true,
};
