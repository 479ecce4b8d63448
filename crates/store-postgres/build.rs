//! Has the embedded migrations rebuilt when one is added or changed.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations/postgres");
}
