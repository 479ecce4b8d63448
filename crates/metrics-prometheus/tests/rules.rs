//! The shipped alerts, by Prometheus' own tool.

use std::process::Command;

#[test]
fn the_shipped_alerts_pass_their_tests() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/prometheus");
    let promtool = |arguments: &[&str]| {
        Command::new("promtool").args(arguments).current_dir(directory).output()
    };
    for arguments in [["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]] {
        let Ok(output) = promtool(&arguments) else {
            #[expect(clippy::print_stderr, reason = "whoever runs the tests has to know")]
            let () = eprintln!("SKIPPED: there is no promtool (apt-get install prometheus)");
            return;
        };
        let text =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        assert!(output.status.success(), "{arguments:?}: {}", text.concat());
    }
}
