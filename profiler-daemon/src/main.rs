//! `profilerd`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(all(target_feature = "crt-static", target_env = "gnu"))]
    names::without_plugins();
    profilerd::cli::main()
}

/// Names of hosts and users in a program that has glibc inside.
#[cfg(all(target_feature = "crt-static", target_env = "gnu"))]
mod names {
    use std::ffi::{CStr, c_char, c_int};

    unsafe extern "C" {
        /// Source: glibc, nss/nss.h; declared by no crate that we use.
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }

    /// What the C library itself can answer: since 2.34 these services are in it.
    const SERVICES: [(&CStr, &CStr); 4] =
        [(c"hosts", c"files dns"), (c"passwd", c"files"), (c"group", c"files"), (c"initgroups", c"files")];

    /// Takes the place of /etc/nsswitch.conf. Any other service is a library of the machine, which would bring
    /// the machine's own C library into this process beside ours: of another version, that ends in a crash.
    pub(super) fn without_plugins() {
        for (database, services) in SERVICES {
            // SAFETY: both are C strings that live as long as the program, and no other thread runs yet. It fails
            // only for a database that does not exist or without memory; then the file counts as before.
            unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
        }
    }
}
