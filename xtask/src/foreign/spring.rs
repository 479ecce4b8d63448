//! Spring Authorization Server, from Maven Central.

use super::sample::Sample;

pub(super) const SAMPLE: Sample = Sample {
    name: "spring",
    prepared_by: &[
        &[
            "mvn",
            "--batch-mode",
            "--quiet",
            "--strict-checksums",
            "dependency:copy-dependencies",
            "-DoutputDirectory=jars",
        ],
        &["javac", "-cp", "jars/*", "Sample.java"],
    ],
    started_by: ("java", &["-cp", ".:jars/*", "Sample"]),
    // It signs nobody out without an id_token_hint.
    configured: "keep_id_token = true\n",
    forgets: true,
    has_back_channel_logout: false,
    has_rp_initiated_logout: true,
};
