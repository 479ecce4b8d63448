//! Has the embedded migrations rebuilt when one is added or changed.

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to Cargo")]
fn main() {
    println!("cargo::rerun-if-changed=../../migrations/postgres");
}
