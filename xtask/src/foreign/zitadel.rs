//! zitadel/oidc, from the Go module proxy, with the storage and the pages of its own example.

use super::sample::Sample;

pub(super) const SAMPLE: Sample = Sample {
    name: "zitadel",
    prepared_by: &[&["go", "build", "-o", "server", "."]],
    started_by: ("./server", &[]),
    configured: "",
    forgets: true,
    has_back_channel_logout: false,
    // The example registers no address to come back to.
    has_rp_initiated_logout: false,
};
