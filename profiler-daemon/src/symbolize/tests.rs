#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use crate::model::{FrameKind, RawStack};
use crate::process::{Location, ProcessAddress, Processes, comm};
use profiler_common::wire::{frame, outcome};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Resolves addresses of a process at generation 0, each as the leaf of a stack of its own.
fn leaves(processes: &mut Processes, pid: u32, addresses: &[u64]) -> Vec<Vec<Arc<Frame>>> {
    let stack = |address: &u64| RawStack { pid, addresses: vec![*address | frame::EXACT], ..RawStack::default() };
    let stacks: Vec<RawStack> = addresses.iter().map(stack).collect();
    let mut found = Symbolizer::new().resolve_all(processes, (0..).zip(&stacks));
    (0..addresses.len() as u64).map(|id| found.remove(&id).unwrap().to_vec()).collect()
}

fn own(address: u64) -> Vec<Arc<Frame>> {
    leaves(&mut Processes::new(), std::process::id(), &[address]).remove(0)
}

#[inline(never)]
extern "C" fn a_function_of_this_test(n: u64) -> u64 {
    std::hint::black_box(n) + 1
}

#[test]
fn our_own_function_has_name_file_and_line() {
    let frames = own(a_function_of_this_test as *const () as u64);
    let frame = frames.last().unwrap();
    assert_eq!(frame.function.as_deref(), Some("profilerd::symbolize::tests::a_function_of_this_test"));
    assert!(frame.file.as_deref().is_some_and(|file| file.ends_with("symbolize/tests.rs")), "{frame:?}");
    assert!(frame.line.is_some() && frame.build_id.is_some() && !frame.inlined);
    assert_eq!(frame.kind, FrameKind::Native);
}

#[test]
fn a_function_of_libc_has_its_name() {
    let frames = own(libc::getppid as *const () as u64);
    assert!(frames[0].function.as_deref().is_some_and(|name| name.ends_with("getppid")), "{frames:?}");
    assert!(frames[0].module_name().is_some_and(|name| name.starts_with("libc")), "{frames:?}");
}

#[test]
fn the_vdso_is_resolved() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let start = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap().split('-').next().unwrap();
    let start = u64::from_str_radix(start, 16).unwrap();
    let addresses: Vec<u64> = (start..start + 4096).step_by(16).collect();
    let found = leaves(&mut Processes::new(), std::process::id(), &addresses);
    let named = |name| found.iter().flatten().any(|frame| frame.function.as_deref() == Some(name));
    assert!(named("__vdso_clock_gettime") || named("clock_gettime"));
    assert!(found.iter().flatten().all(|frame| frame.module.as_deref() == Some("[vdso]")));
}

/// A program that prints the addresses to ask for, then waits to be killed.
struct Program {
    child: Child,
    addresses: Vec<u64>,
    _directory: tempfile::TempDir,
    path: std::path::PathBuf,
}

impl Program {
    fn start(compiler: &str, flags: &[&str], source: &str) -> Option<Program> {
        use std::io::{BufRead, BufReader};
        let directory = tempfile::tempdir().unwrap();
        let name = if compiler == "g++" { "source.cc" } else { "source.c" };
        fs::write(directory.path().join(name), source).unwrap();
        let built = Command::new(compiler)
            .args(["-g", "-O1", "-o", "program", name])
            .args(flags)
            .current_dir(directory.path())
            .status();
        if built.is_err() {
            println!("skipped: needs {compiler}");
            return None;
        }
        assert!(built.unwrap().success());
        let path = directory.path().join("program");
        let mut child = Command::new(&path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let addresses = line.split_whitespace().map(|word| u64::from_str_radix(word, 16).unwrap()).collect();
        Some(Program { child, addresses, _directory: directory, path })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

fn names(frames: &[Arc<Frame>]) -> Vec<String> {
    frames.iter().map(|frame| frame.name()).collect()
}

/// `outer` calls `inner`, which is inlined; its return address there is printed.
const INLINE: &str = "#include <stdio.h>\n\
    __attribute__((noinline)) void leaf(void) {\n\
      printf(\"%lx %lx\\n\", (unsigned long)__builtin_return_address(0), (unsigned long)leaf); fflush(stdout); }\n\
    static inline __attribute__((always_inline)) void inner(void) {\n\
      leaf(); __asm__ volatile(\"\"); }\n\
    __attribute__((noinline)) void outer(void) {\n\
      inner(); __asm__ volatile(\"\"); }\n\
    int main(void) { outer(); getchar(); return 0; }\n";

#[test]
fn inlined_functions_are_frames_with_their_own_lines() {
    let Some(program) = Program::start("cc", &[], INLINE) else { return };
    let stack = RawStack {
        pid: program.pid(),
        addresses: vec![program.addresses[1] | frame::EXACT, program.addresses[0]],
        outcome: outcome::NO_INFO,
        ..RawStack::default()
    };
    let frames = Symbolizer::new().resolve(&mut Processes::new(), &stack);
    let seen: Vec<_> = frames.iter().map(|frame| (frame.name(), frame.line.unwrap_or(0), frame.inlined)).collect();
    let expected = [("leaf", 2, false), ("inner", 5, true), ("outer", 7, false)];
    assert_eq!(seen[..3], expected.map(|(name, line, inlined)| (name.to_owned(), line, inlined)));
    assert_eq!(seen[3..], [("[unwinding stopped: no unwind info]".to_owned(), 0, false)]);
    assert!(frames[1].file.as_deref().is_some_and(|file| file.ends_with("source.c")));
    // The place shown is the return address itself, not the byte before that was looked up.
    let mut processes = Processes::new();
    processes.observe(program.pid(), 0);
    let location = processes.locate(program.pid(), 0, ProcessAddress(program.addresses[0]));
    let Location::Module { file_offset, .. } = location else { panic!("{location:?}") };
    assert_eq!((frames[1].offset, frames[2].offset), (Some(file_offset.0), Some(file_offset.0)));
}

#[test]
fn a_call_at_the_end_of_a_function_belongs_to_it() {
    let source = "#include <stdio.h>\n#include <unistd.h>\n\
        __attribute__((noinline, noreturn)) void last(void) {\n\
          printf(\"%lx\\n\", (unsigned long)__builtin_return_address(0)); fflush(stdout); for (;;) pause(); }\n\
        __attribute__((noinline)) void before(void) { last(); }\n\
        __attribute__((noinline)) void after(void) { __asm__ volatile(\"\"); }\n\
        int main(void) { before(); after(); }\n";
    let Some(program) = Program::start("cc", &["-fno-toplevel-reorder"], source) else { return };
    let stack =
        RawStack { pid: program.pid(), addresses: vec![frame::EXACT, program.addresses[0]], ..RawStack::default() };
    let frames = Symbolizer::new().resolve(&mut Processes::new(), &stack);
    assert_eq!(names(&frames), ["[unmapped]+0x0", "before"]);
}

#[test]
fn cpp_names_are_demangled() {
    let source = "#include <cstdio>\n\
        namespace shop { template <class T> struct Cart { __attribute__((noinline)) static void add(T, int) {\n\
          printf(\"%lx\\n\", (unsigned long)&Cart<T>::add); fflush(stdout); } }; }\n\
        int main() { shop::Cart<double>::add(1.0, 2); getchar(); }\n";
    let Some(program) = Program::start("g++", &[], source) else { return };
    let found = leaves(&mut Processes::new(), program.pid(), &program.addresses);
    assert_eq!(names(&found[0]), ["shop::Cart<double>::add(double, int)"]);
}

#[test]
fn a_deleted_and_ended_program_is_resolved() {
    let Some(mut program) = Program::start("cc", &[], INLINE) else { return };
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs CAP_CHECKPOINT_RESTORE");
        return;
    }
    fs::remove_file(&program.path).unwrap();
    let mut processes = Processes::new();
    assert!(processes.observe(program.pid(), 0));
    program.end();
    let found = leaves(&mut processes, program.pid(), &program.addresses);
    assert_eq!(names(&found[1]), ["leaf"]);
    assert!(found[1][0].module.as_deref().is_some_and(|module| module.ends_with("program (deleted)")));
}

#[test]
fn a_stripped_program_keeps_its_places() {
    let Some(program) = Program::start("cc", &["-s"], INLINE) else { return };
    let found = leaves(&mut Processes::new(), program.pid(), &program.addresses);
    let offset = found[1][0].offset.unwrap();
    assert_eq!(names(&found[1]), [format!("program+{offset:#x}")]);
}

#[test]
fn a_symbol_without_size_ends_with_its_section() {
    // `_init` has no size. The linkage table follows it, in a section of its own.
    let source = "#include <stdio.h>\nextern void _init(void);\n\
        int main(void) { printf(\"%lx %lx\\n\", (unsigned long)_init, (unsigned long)puts); fflush(stdout); getchar(); }\n";
    let Some(program) = Program::start("cc", &["-no-pie", "-fno-pic", "-Wl,-z,lazy"], source) else { return };
    let found = leaves(&mut Processes::new(), program.pid(), &program.addresses);
    assert_eq!(names(&found[0]), ["_init"]);
    assert!(found[1].iter().all(|frame| frame.function.as_deref() != Some("_init")), "{:?}", found[1]);
}

#[test]
fn a_bad_file_costs_only_itself() {
    let Some(program) = Program::start("cc", &["-g0"], INLINE) else { return };
    let mut processes = Processes::new();
    processes.observe(program.pid(), 0);
    let location = processes.locate(program.pid(), 0, ProcessAddress(program.addresses[1]));
    let Location::Module { module, file_offset } = location else { panic!("{location:?}") };
    let good = fs::read(&program.path).unwrap();
    let mut wrapping = good.clone();
    wrapping[32..40].copy_from_slice(&(u64::MAX - 8).to_le_bytes());
    let mut noise = good[..4096].to_vec();
    noise.extend((0..100_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()));
    // Symbols beyond the end of the address space: the parser adds address and size unchecked.
    let mut endless = good.clone();
    let table = object::File::parse(&*good).unwrap();
    let (start, bytes) = object::ObjectSection::file_range(&section(&table, ".symtab")).unwrap();
    for symbol in endless[start as usize..][..bytes as usize].chunks_exact_mut(24) {
        symbol[16..].copy_from_slice(&u64::MAX.to_le_bytes());
    }
    let mut symbolizer = Symbolizer::new();
    let offsets = [FileOffset(0), file_offset, FileOffset(u64::MAX)];
    for bytes in [&good[..64], &wrapping, &noise, &endless, b"\x7fELF"] {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        let bad = Arc::new(Module::open(file.path()).unwrap());
        let found = symbolizer.native(&bad, &offsets);
        let found: Vec<_> = found.iter().map(|frames| (frames.len(), frames[0].offset)).collect();
        assert_eq!(found, offsets.map(|offset| (1, Some(offset.0))));
    }
    let found = symbolizer.native(&module, &offsets);
    assert_eq!(found[1][0].name(), "leaf");
    assert!(found[0][0].function.is_none() && found[2][0].function.is_none());
}

fn section<'a>(file: &'a object::File<'a>, name: &str) -> object::Section<'a, 'a> {
    object::Object::section_by_name(file, name).unwrap()
}

#[test]
fn code_in_anonymous_memory_and_memfds_is_named_by_the_perf_map() {
    let source = "#define _GNU_SOURCE\n#include <stdio.h>\n#include <sys/mman.h>\n#include <unistd.h>\n\
        int main(void) {\n\
          int x = PROT_READ | PROT_WRITE | PROT_EXEC, fd = memfd_create(\"doublemapper\", 0); char path[64];\n\
          unsigned long a = (unsigned long)mmap(0, 4096, x, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);\n\
          ftruncate(fd, 4096); unsigned long b = (unsigned long)mmap(0, 4096, x, MAP_SHARED, fd, 0);\n\
          sprintf(path, \"/tmp/perf-%d.map\", getpid()); FILE *f = fopen(path, \"w\");\n\
          fprintf(f, \"%lx 10 in_anonymous\\n%lx 10 in_memfd\\n\", a, b); fclose(f);\n\
          printf(\"%lx %lx %lx %lx %lx\\n\", a, b, a + 32, b + 32, (unsigned long)main); fflush(stdout); getchar(); }\n";
    let Some(mut program) = Program::start("cc", &["-w"], source) else { return };
    let mut processes = Processes::new();
    processes.observe(program.pid(), 0);
    program.end();
    fs::remove_file(format!("/tmp/perf-{}.map", program.pid())).unwrap();
    let found = leaves(&mut processes, program.pid(), &program.addresses);
    let found: Vec<String> = found.iter().map(|frames| frames[0].name()).collect();
    let anonymous = format!("[anonymous code]+{:#x}", program.addresses[2]);
    assert_eq!(found, ["in_anonymous", "in_memfd", &*anonymous, "memfd:doublemapper (deleted)+0x20", "main"]);
}

/// Whoever runs a process writes its map: what is beyond the budget costs its names, not our memory.
#[test]
fn a_perf_map_is_read_as_far_as_the_budget_for_all_of_them_goes() {
    let source = "#include <stdio.h>\n#include <sys/mman.h>\n#include <unistd.h>\n\
        int main(void) {\n\
          unsigned long a = (unsigned long)mmap(0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); char path[64];\n\
          sprintf(path, \"/tmp/perf-%d.map\", getpid()); FILE *f = fopen(path, \"w\");\n\
          fprintf(f, \"%lx 10 early\\n\", a); for (long n = 33 << 20; n > 0; n -= 1024) fprintf(f, \"%1023s\\n\", \"\");\n\
          fprintf(f, \"%lx 10 late\\n\", a + 16); fclose(f);\n\
          printf(\"%lx %lx\\n\", a, a + 16); fflush(stdout); getchar(); }\n";
    let (Some(mut one), Some(mut two)) = (Program::start("cc", &["-w"], source), Program::start("cc", &["-w"], source))
    else {
        return;
    };
    let mut processes = Processes::new();
    for program in [&mut one, &mut two] {
        processes.observe(program.pid(), 0);
        program.end();
        fs::remove_file(format!("/tmp/perf-{}.map", program.pid())).unwrap();
    }
    let stack = |program: &Program| RawStack {
        pid: program.pid(),
        addresses: vec![program.addresses[0] | frame::EXACT, program.addresses[1] + 1],
        ..RawStack::default()
    };
    let stacks = [stack(&one), stack(&two)];
    let found = Symbolizer::new().resolve_all(&mut processes, (0..).zip(&stacks));
    let is_code = |name: &String| name.starts_with("[anonymous code]+");
    let (first, second) = (names(&found[&0]), names(&found[&1]));
    assert!(first[0] == "early" && is_code(&first[1]), "the head of the first one: {first:?}");
    assert!(second.iter().all(is_code), "and nothing of the second: {second:?}");
}

#[test]
fn addresses_that_lead_nowhere_are_still_frames() {
    let mut processes = Processes::new();
    let own = RawStack {
        pid: std::process::id(),
        addresses: vec![0x10 | frame::EXACT, 0, frame::ADDRESS],
        outcome: outcome::TRUNCATED,
        ..RawStack::default()
    };
    let gone = RawStack { pid: u32::MAX - 1, addresses: vec![0x10 | frame::EXACT], outcome: 99, ..RawStack::default() };
    let mut symbolizer = Symbolizer::new();
    let found = symbolizer.resolve_all(&mut processes, [(1, &own), (2, &gone), (3, &RawStack::default())]);
    // The program counter is where it is; a return address that is no code was never one.
    assert_eq!(names(&found[&1]), ["[unmapped]+0x10", NOT_CODE]);
    assert_eq!(names(&found[&2]), ["[exited process]+0x10", "[unwinding stopped: unknown]"]);
    assert!(found[&3].is_empty());
    let failures: HashMap<_, _> = symbolizer.failures().into();
    assert_eq!((failures["symbol_address_unmapped"], failures["symbol_process_gone"]), (1, 1));
}

#[test]
fn a_library_loaded_later_is_found() {
    let source = "#include <dlfcn.h>\n#include <stdio.h>\n\
        int main(void) { printf(\"%lx\\n\", (unsigned long)main); fflush(stdout); getchar();\n\
          void *l = dlopen(\"libm.so.6\", RTLD_NOW); printf(\"%lx\\n\", (unsigned long)dlsym(l, \"cbrt\"));\n\
          fflush(stdout); getchar(); }\n";
    let Some(mut program) = Program::start("cc", &["-ldl"], source) else { return };
    let mut processes = Processes::new();
    assert!(processes.observe(program.pid(), 0));
    std::io::Write::write_all(program.child.stdin.as_mut().unwrap(), b"\n").unwrap();
    let mut line = String::new();
    let stdout = program.child.stdout.as_mut().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let address = u64::from_str_radix(line.trim(), 16).unwrap();
    let found = leaves(&mut processes, program.pid(), &[address]);
    assert!(found[0][0].name().contains("cbrt"), "{:?}", found[0]);
}

#[test]
fn a_forked_child_that_is_gone_has_names() {
    let Some(mut program) = Program::start("cc", &[], INLINE) else { return };
    let mut processes = Processes::new();
    processes.observe(program.pid(), 0);
    let mut child = Command::new("/bin/true").spawn().unwrap();
    let gone = child.id();
    child.wait().unwrap();
    processes.forked(program.pid(), gone, 0);
    program.end();
    assert_eq!(names(&leaves(&mut processes, gone, &program.addresses)[1]), ["leaf"]);
}

#[test]
fn kernel_addresses_have_the_names_of_kallsyms() {
    let kallsyms = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let symbol = kallsyms.lines().find_map(|line| {
        let address = u64::from_str_radix(line.strip_suffix(" T schedule")?, 16).ok()?;
        (address != 0).then_some(address)
    });
    let Some(address) = symbol else {
        assert!(std::env::var_os("PROFILERD_REQUIRE_KERNEL").is_none(), "kernel symbols are hidden");
        println!("skipped: needs CAP_SYSLOG or kernel.kptr_restrict=0");
        return;
    };
    // A return address is looked up one byte before: here that is no longer `schedule`.
    let stack = RawStack { kernel: true, addresses: vec![address, address + 5, address], ..RawStack::default() };
    let frames = Symbolizer::new().resolve(&mut Processes::new(), &stack);
    assert_eq!(names(&frames)[..2], ["schedule", "schedule"]);
    assert_ne!(frames[2].function.as_deref(), Some("schedule"));
    assert_eq!(frames[0].offset, None, "a named kernel frame keeps its address to itself");
    assert!(frames.iter().all(|frame| frame.kind == FrameKind::Kernel && frame.module.is_some()));
}

#[test]
fn a_process_that_is_never_observed_is_read_when_resolved() {
    let sleep = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let mut program = Program {
        child: sleep,
        addresses: Vec::new(),
        _directory: tempfile::tempdir().unwrap(),
        path: Default::default(),
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while comm(program.pid()).as_deref() != Some("sleep") {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    // The name is new a moment before the mappings are.
    let line = loop {
        let maps = fs::read_to_string(format!("/proc/{}/maps", program.pid())).unwrap();
        if let Some(line) = maps.lines().find(|line| line.contains("r-xp") && line.contains("/sleep")) {
            break line.to_owned();
        }
        assert!(Instant::now() < deadline);
    };
    let start = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
    let found = leaves(&mut Processes::new(), program.pid(), &[start]);
    assert_eq!(found[0][0].module_name(), Some("sleep"));
    program.end();
}

#[test]
fn a_second_look_up_is_answered_from_memory() {
    let module = Arc::new(Module::open(Path::new("/proc/self/exe")).unwrap());
    let mut symbolizer = Symbolizer::new();
    let offsets = [FileOffset(0x5000), FileOffset(0x6000), FileOffset(0x5000)];
    let first = symbolizer.native(&module, &offsets);
    assert!(Arc::ptr_eq(&first[0], &first[2]));
    let second = symbolizer.native(&module, &offsets);
    assert!(first.iter().zip(&second).all(|(one, other)| Arc::ptr_eq(one, other)));
}
