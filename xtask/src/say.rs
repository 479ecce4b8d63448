//! Output to the terminal.

/// Prints a line on standard output.
#[expect(clippy::print_stdout, reason = "a command's output is what it is for")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Prints a line on standard error.
#[expect(clippy::print_stderr, reason = "a command says why it failed")]
pub(crate) fn error(text: &str) {
    eprintln!("{text}");
}
