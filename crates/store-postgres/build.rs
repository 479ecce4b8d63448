//! Lists the migrations, and has them embedded anew when one is added or changed.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=../../migrations/postgres");
    let variable = |name| env::var(name).map_err(io::Error::other);
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../../migrations/postgres");
    let entries = fs::read_dir(&root)?.collect::<io::Result<Vec<_>>>()?;
    let mut names: Vec<_> = entries.iter().map(|it| it.file_name().display().to_string()).collect();
    names.sort();
    let mut list = "[\n".to_owned();
    for name in names {
        let file = root.join(&name).join("up.sql").display().to_string();
        let written = writeln!(list, "Migration {{ name: {name:?}, up: include_str!({file:?}) }},");
        written.map_err(io::Error::other)?;
    }
    list += "]\n";
    fs::write(Path::new(&variable("OUT_DIR")?).join("migrations.rs"), list)
}
