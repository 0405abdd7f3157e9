use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::Arc;

/// Longer names are cut: they come from strangers' files, and a short mangled C++ name can stand
/// for a demangled one of any length.
const MOST_BYTES: usize = 8 << 10;

/// Names of functions and files, each stored and demangled once.
#[derive(Debug, Default)]
pub(super) struct Names {
    functions: HashMap<Box<str>, Arc<str>>,
    plain: HashMap<Box<str>, Arc<str>>,
}

impl Names {
    /// The demangled form of a function's name.
    pub(super) fn function(&mut self, raw: &str) -> Arc<str> {
        if let Some(name) = self.functions.get(raw) {
            return name.clone();
        }
        let name: Arc<str> = demangle(raw).map_or_else(|| cut(raw).into(), Arc::from);
        self.functions.insert(raw.into(), name.clone());
        name
    }

    /// A name that needs no demangling.
    pub(super) fn plain(&mut self, raw: &str) -> Arc<str> {
        if let Some(name) = self.plain.get(raw) {
            return name.clone();
        }
        let name: Arc<str> = cut(raw).into();
        self.plain.insert(raw.into(), name.clone());
        name
    }

    pub(super) fn clear(&mut self) {
        *self = Names::default();
    }
}

/// Rust (both schemes, without the hash) or C++ (with parameters, which tell overloads apart, but
/// without the return type). `None` if it is neither, or its demangled form too long.
fn demangle(raw: &str) -> Option<String> {
    if raw.len() > MOST_BYTES || !raw.starts_with('_') {
        return None;
    }
    let mut out = Bounded(String::new());
    if let Ok(name) = rustc_demangle::try_demangle(raw) {
        write!(out, "{name:#}").ok()?;
        return Some(out.0);
    }
    let options = cpp_demangle::DemangleOptions::new().no_return_type();
    cpp_demangle::Symbol::new(raw).ok()?.structured_demangle(&mut out, &options).ok()?;
    Some(out.0)
}

fn cut(name: &str) -> String {
    let mut end = name.len().min(MOST_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let mark = if end < name.len() { "…" } else { "" };
    format!("{}{mark}", &name[..end])
}

/// Text that gives up when it grows too long.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MOST_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_and_cpp_names_are_demangled_and_others_left() {
        for (raw, expected) in [
            ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back(int const&)"),
            ("_Z3addIiET_S0_S0_", "add<int>(int, int)"),
            ("_Z3addii.isra.0", "add(int, int) [clone .isra.0]"),
            ("main", "main"),
            ("_start", "_start"),
            ("_Zgarbage", "_Zgarbage"),
            ("evil;\n\x1b[31m", "evil;\n\x1b[31m"),
            ("", ""),
        ] {
            assert_eq!(&*Names::default().function(raw), expected);
        }
    }

    #[test]
    fn a_name_that_explodes_is_left_as_it_is() {
        // Each parameter is a pair of the one before it: the last one names 2^12 times `A`.
        let mut raw = "_Z1f1ASt4pairIS_S_E".to_owned();
        for digit in "123456789ABC".chars() {
            raw.push_str(&format!("S0_IS{digit}_S{digit}_E"));
        }
        assert!(cpp_demangle::Symbol::new(&raw).is_ok_and(|symbol| symbol.demangle().is_ok_and(|n| n.len() > 10_000)));
        assert_eq!(*Names::default().function(&raw), *raw);
        let long = "ä".repeat(MOST_BYTES);
        let name = Names::default().function(&long);
        assert!(name.ends_with('…') && name.len() <= MOST_BYTES + '…'.len_utf8());
    }

    #[test]
    fn equal_names_are_stored_once() {
        let mut names = Names::default();
        assert!(Arc::ptr_eq(&names.function("main"), &names.function("main")));
        assert!(Arc::ptr_eq(&names.plain("main.c"), &names.plain("main.c")));
    }
}
