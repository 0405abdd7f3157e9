//! Takes in the kernel programs, if the build names them: `cargo xtask build` does. Without them the
//! daemon still compiles, so that `cargo test`, `clippy` and `doc` need no BPF compiler.

use std::path::Path;
use std::{env, fs, io};

/// The variants for kernels without task storage and for those without types, beside the object that the variable names. There
/// are none for aarch64.
const VARIANTS: [&str; 2] = ["profilerd-hashed.o", "profilerd-untyped.o"];
/// Names the object with the kernel programs, by an absolute path.
const OBJECT_VARIABLE: &str = "PROFILERD_BPF_OBJECT";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={OBJECT_VARIABLE}");
    println!("cargo::rustc-check-cfg=cfg(kernel_programs, fuzzing)");
    let Some(object) = env::var_os(OBJECT_VARIABLE).filter(|object| !object.is_empty()) else {
        return Ok(());
    };
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets no OUT_DIR"))?;
    let object = Path::new(&object);
    let mut objects = vec![(object.to_owned(), "profilerd.o")];
    if env::var_os("CARGO_CFG_TARGET_ARCH").is_some_and(|machine| machine != "aarch64") {
        objects.extend(VARIANTS.map(|name| (object.with_file_name(name), name)));
    }
    for (object, name) in objects {
        println!("cargo::rerun-if-changed={}", object.display());
        fs::copy(&object, Path::new(&out).join(name)).map_err(|error| {
            io::Error::new(error.kind(), format!("{OBJECT_VARIABLE}: cannot copy `{}`: {error}", object.display()))
        })?;
    }
    println!("cargo::rustc-cfg=kernel_programs");
    Ok(())
}
