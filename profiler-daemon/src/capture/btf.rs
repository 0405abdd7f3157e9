//! Offsets of kernel structure members, read from the running kernel's own type information.
//!
//! Rust has no CO-RE relocations, so the daemon looks the offsets up and hands them to the kernel
//! programs before loading. Source of the format: Documentation/bpf/btf.rst.
//!
//! A kernel built without CONFIG_DEBUG_INFO_BTF has none to show. Then a file has to: an image of it to which pahole added
//! them, or what `pahole --btf_encode_detached` made of one with debug information.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};

/// Where a kernel shows its types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// The variable that names a file to read in its place.
pub const BTF_VARIABLE: &str = "PROFILERD_BTF";
/// Where images with their types are installed, by the kernel's release.
const IMAGES: [(&str, &str); 5] = [
    ("/boot/vmlinux-", ""),
    ("/lib/modules/", "/vmlinux"),
    ("/lib/modules/", "/build/vmlinux"),
    ("/usr/lib/debug/boot/vmlinux-", ""),
    ("/usr/lib/debug/lib/modules/", "/vmlinux"),
];
/// No name of the kernel is as long. Source: `KSYM_NAME_LEN`, include/linux/kallsyms.h.
const MOST_NAME_BYTES: usize = 512;
/// Members looked at in search of one: structures with as many do not exist, malformed ones may have themselves as members.
const MOST_MEMBERS: u32 = 1 << 20;
/// The first two bytes of types.
const MAGIC: u16 = 0xeb9f;
/// Most bytes of types: those of large kernels have 10 MiB.
const MOST_BYTES: u64 = 256 << 20;

/// Why type information could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file is missing or unreadable.
    #[error("cannot read the kernel's type information `{}`", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file has no types in it.
    #[error("`{}` has no type information: neither BTF nor an image with a section `.BTF`", .0.display())]
    NoTypes(PathBuf),
    /// The bytes are no BTF.
    #[error("the kernel's type information is malformed: {0}")]
    Malformed(&'static str),
    /// This kernel has no such structure or member.
    #[error("this kernel has no `{0}`")]
    NoMember(String),
}

impl BtfError {
    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        match self {
            BtfError::Read(path, _) if path == Path::new(KERNEL_BTF) => format!(
                "let {BTF_VARIABLE} name a file with this kernel's types, as `pahole --btf_encode_detached FILE vmlinux` makes it of an \
                 image with debug information; or use a kernel built with CONFIG_DEBUG_INFO_BTF, as all large distributions ship"
            ),
            BtfError::Read(..) | BtfError::NoTypes(_) => format!(
                "let {BTF_VARIABLE} name a file with the types of this kernel: its vmlinux with a section .BTF, or what `pahole \
                 --btf_encode_detached FILE vmlinux` makes of one with debug information"
            ),
            BtfError::Malformed(_) => "use a kernel of 5.10 or later".to_owned(),
            BtfError::NoMember(_) => format!(
                "use a kernel of 5.10 or later; if {BTF_VARIABLE} is set, let it name the types of exactly this kernel"
            ),
        }
    }
}

/// Where a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Offset from the start of the structure in bits.
    pub bit: u32,
    /// Width in bits if it is a bit-field, else 0.
    pub bits: u32,
    kind: u32,
}

impl Member {
    /// Offset in bytes.
    pub fn byte(self) -> u32 {
        self.bit / 8
    }
}

/// Types of one kernel.
pub struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    /// Position of each type's record, by type id; 0 for `void`.
    types: Vec<usize>,
    structs: HashMap<String, u32>,
    source: Option<PathBuf>,
}

const KIND_PTR: u32 = 2;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC_PROTO: u32 = 13;

impl Btf {
    /// Reads the running kernel's types: what the kernel shows; without that, or if the variable says so, what a file has.
    ///
    /// # Errors
    /// There are none to be had, or they make no sense.
    pub fn of_kernel() -> Result<Btf, BtfError> {
        if let Some(file) = std::env::var_os(BTF_VARIABLE).filter(|file| !file.is_empty() && !is_privileged()) {
            return Btf::of_file(file.into());
        }
        match std::fs::read(KERNEL_BTF) {
            Ok(bytes) => Btf::parse(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match installed() {
                Some(image) => Btf::of_file(image),
                None => Err(BtfError::Read(KERNEL_BTF.into(), error)),
            },
            Err(error) => Err(BtfError::Read(KERNEL_BTF.into(), error)),
        }
    }

    /// Reads types from a file: bare, or an image that has them in a section.
    fn of_file(path: PathBuf) -> Result<Btf, BtfError> {
        let bytes = match types_of(&path) {
            Ok(bytes) => bytes.ok_or_else(|| BtfError::NoTypes(path.clone()))?,
            Err(error) => return Err(BtfError::Read(path, error)),
        };
        match Btf::parse(bytes) {
            Ok(btf) => Ok(Btf { source: Some(path), ..btf }),
            Err(_) => Err(BtfError::NoTypes(path)),
        }
    }

    /// The file that they are from; `None` if the kernel itself showed them.
    pub fn source(&self) -> Option<&Path> {
        self.source.as_deref()
    }

    /// Indexes the bytes of a `.BTF` section.
    pub fn parse(bytes: Vec<u8>) -> Result<Btf, BtfError> {
        let mut btf = Btf { bytes, strings: 0, types: vec![0], structs: HashMap::new(), source: None };
        if btf.u32(0).is_none_or(|word| word as u16 != MAGIC) {
            return Err(BtfError::Malformed("wrong magic number"));
        }
        let header = |at| btf.u32(at).ok_or(BtfError::Malformed("short header"));
        let (header_bytes, types_at, types_bytes, strings_at) = (header(4)?, header(8)?, header(12)?, header(16)?);
        let start = header_bytes as usize + types_at as usize;
        let end = start + types_bytes as usize;
        btf.strings = header_bytes as usize + strings_at as usize;
        let mut at = start;
        while at < end {
            let info = btf.u32(at + 4).ok_or(BtfError::Malformed("short type"))?;
            let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            let id = btf.types.len() as u32;
            btf.types.push(at);
            if kind == KIND_STRUCT {
                let name = btf.string(btf.u32(at).unwrap_or(0)).to_owned();
                btf.structs.entry(name).or_insert(id);
            }
            at += 12
                + match kind {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    KIND_STRUCT | KIND_UNION | 15 | 19 => count * 12,
                    KIND_ENUM | KIND_FUNC_PROTO => count * 8,
                    2 | 7..=12 | 16 | 18 => 0,
                    _ => return Err(BtfError::Malformed("unknown kind of type")),
                };
        }
        Ok(btf)
    }

    /// Finds a member by its path, such as `["task_struct", "se", "sum_exec_runtime"]`; structures
    /// on the way are embedded, not pointed to.
    pub fn member(&self, path: &[&str]) -> Result<Member, BtfError> {
        let missing = || BtfError::NoMember(path.join("."));
        let (name, members) = path.split_first().ok_or_else(missing)?;
        let mut at = Member { bit: 0, bits: 0, kind: *self.structs.get(*name).ok_or_else(missing)? };
        for member in members {
            let inner = self.find(at.kind, member, 0, &mut 0).ok_or_else(missing)?;
            at = Member { bit: at.bit.checked_add(inner.bit).ok_or_else(missing)?, ..inner };
        }
        Ok(at)
    }

    /// Whether this kernel has such a structure.
    pub fn has_struct(&self, name: &str) -> bool {
        self.structs.contains_key(name)
    }

    /// Number of parameters of the function type behind a typedef to a function pointer, such as
    /// `btf_trace_sched_switch`; the context counts.
    pub fn parameters(&self, typedef: &str) -> Option<usize> {
        let id = (1..self.types.len() as u32)
            .find(|id| self.kind(*id) == KIND_TYPEDEF && self.string(self.word(*id, 0)) == typedef)?;
        let pointer = self.word(id, 8);
        let function = if self.kind(pointer) == KIND_PTR { self.word(pointer, 8) } else { pointer };
        (self.kind(function) == KIND_FUNC_PROTO).then(|| (self.word(function, 4) & 0xffff) as usize)
    }

    /// Whether this kernel has a helper for kernel programs, by its name in the kernel's own list of them, such as
    /// `BPF_FUNC_task_pt_regs`.
    pub fn has_helper(&self, name: &str) -> bool {
        let mut enums = (1..self.types.len() as u32).filter(|id| self.kind(*id) == KIND_ENUM);
        let list = enums.find(|id| self.string(self.word(*id, 0)) == "bpf_func_id");
        list.is_some_and(|id| {
            (0..(self.word(id, 4) & 0xffff) as usize).any(|index| self.string(self.word(id, 12 + 8 * index)) == name)
        })
    }

    /// Looks into anonymous members as C does. `depth` bounds malformed input.
    fn find(&self, id: u32, name: &str, depth: usize, seen: &mut u32) -> Option<Member> {
        let id = self.resolve(id);
        if depth > 8 || !matches!(self.kind(id), KIND_STRUCT | KIND_UNION) {
            return None;
        }
        let info = self.word(id, 4);
        let has_bit_fields = info >> 31 != 0;
        for index in 0..info & 0xffff {
            *seen += 1;
            if *seen > MOST_MEMBERS {
                return None;
            }
            let at = 12 + 12 * index as usize;
            let (name_at, kind, offset) = (self.word(id, at), self.word(id, at + 4), self.word(id, at + 8));
            let (bit, bits) = if has_bit_fields { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
            if self.string(name_at) == name {
                return Some(Member { bit, bits, kind });
            }
            if name_at == 0
                && let Some(inner) = self.find(kind, name, depth + 1, seen)
            {
                return Some(Member { bit: bit.checked_add(inner.bit)?, ..inner });
            }
        }
        None
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> u32 {
        for _ in 0..16 {
            match self.kind(id) {
                KIND_TYPEDEF | 9..=11 | 18 => id = self.word(id, 8),
                _ => break,
            }
        }
        id
    }

    fn kind(&self, id: u32) -> u32 {
        (self.word(id, 4) >> 24) & 0x1f
    }

    fn word(&self, id: u32, at: usize) -> u32 {
        match self.types.get(id as usize) {
            Some(start) if id != 0 => self.u32(start + at).unwrap_or(0),
            _ => 0,
        }
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?))
    }

    fn string(&self, at: u32) -> &str {
        let bytes = self.bytes.get(self.strings + at as usize..).unwrap_or(&[]);
        let bytes = &bytes[..bytes.len().min(MOST_NAME_BYTES)];
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
        std::str::from_utf8(&bytes[..end]).unwrap_or("")
    }
}

/// The bytes of the types in a file: all of it, or those of a section, if it has one. Images are large, so only that is read.
fn types_of(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Asked first: opening a pipe would wait for its other end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("no regular file"));
    }
    let mut file = File::open(path)?;
    let mut magic = [0; 2];
    let is_bare = file.read_exact(&mut magic).is_ok() && u16::from_ne_bytes(magic) == MAGIC;
    file.rewind()?;
    if is_bare {
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes)?;
        return Ok(Some(bytes));
    }
    let file = object::ReadCache::new(file);
    let Ok(image) = object::File::parse(&file) else { return Ok(None) };
    let section = image.section_by_name(".BTF").filter(|section| section.size() <= MOST_BYTES);
    Ok(section.and_then(|section| Some(section.data().ok()?.to_vec())))
}

/// Whether whoever runs this has fewer rights than it has, by capabilities of the file: then no variable may say which memory of the
/// kernel is read.
fn is_privileged() -> bool {
    // SAFETY: the call takes a number and returns one.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// An installed image of the running kernel that has types.
fn installed() -> Option<PathBuf> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let paths = IMAGES.map(|(before, after)| PathBuf::from(format!("{before}{}{after}", release.trim())));
    paths.into_iter().find(|path| types_of(path).is_ok_and(|types| types.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_btf_are_refused() {
        for bytes in [vec![], vec![0; 64], vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0]] {
            assert!(Btf::parse(bytes).is_err());
        }
    }

    #[test]
    fn files_without_types_are_told_from_those_that_cannot_be_read() {
        let error = |path: &str| Btf::of_file(path.into()).err();
        for path in ["/proc/self/exe", "/proc/self/maps", "/proc/self/comm"] {
            assert!(matches!(error(path), Some(BtfError::NoTypes(_))), "{path}: {:?}", error(path));
        }
        for path in ["/", "/dev/null", "/nowhere"] {
            assert!(matches!(error(path), Some(BtfError::Read(..))), "{path}: {:?}", error(path));
        }
    }

    #[test]
    fn a_structure_that_is_a_member_of_itself_is_searched_to_an_end() -> Result<(), BtfError> {
        const MEMBERS: u32 = 1000;
        let mut types = vec![1, KIND_STRUCT << 24 | MEMBERS, 8];
        types.extend((0..MEMBERS).flat_map(|_| [0, 1, 0]));
        let (bytes, strings) = (types.len() as u32 * 4, b"\0s\0");
        let mut btf: Vec<u8> =
            [0x1_eb9f, 24, 0, bytes, bytes, 3].iter().chain(&types).flat_map(|it| it.to_ne_bytes()).collect();
        btf.extend_from_slice(strings);
        assert!(Btf::parse(btf)?.member(&["s", "nope"]).is_err());
        Ok(())
    }

    /// `struct s { int a; union { long b; }; int c: 1; }` by hand.
    #[test]
    fn members_are_found_in_anonymous_unions_and_bit_fields() -> Result<(), BtfError> {
        let strings = b"\0s\0a\0b\0c\0";
        let kind = |kind: u32, count: u32, flag: u32| kind << 24 | count | flag << 31;
        #[rustfmt::skip]
        let types: &[u32] = &[
            0, kind(1, 0, 0), 4, 32,                        // 1: int
            0, kind(KIND_UNION, 1, 0), 8, 5, 1, 0,          // 2: union { b }
            1, kind(KIND_STRUCT, 3, 1), 24,                 // 3: struct s
            3, 1, 0, /* a */ 0, 2, 64, /* union */ 7, 1, 1 << 24 | 131, /* c */
        ];
        let mut bytes: Vec<u8> =
            [0x1_eb9f, 24, 0, types.len() as u32 * 4, types.len() as u32 * 4, strings.len() as u32]
                .iter()
                .chain(types)
                .flat_map(|word| word.to_ne_bytes())
                .collect();
        bytes.extend_from_slice(strings);
        let btf = Btf::parse(bytes)?;
        assert_eq!(btf.member(&["s", "a"])?.byte(), 0);
        assert_eq!(btf.member(&["s", "b"])?.byte(), 8);
        let c = btf.member(&["s", "c"])?;
        assert_eq!((c.byte(), c.bit % 8, c.bits), (16, 3, 1));
        assert!(matches!(btf.member(&["s", "nope"]), Err(BtfError::NoMember(name)) if name == "s.nope"));
        assert!(btf.member(&["t"]).is_err());
        Ok(())
    }
}
