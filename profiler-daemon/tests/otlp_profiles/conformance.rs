//! What is sent obeys the rules, and the rules notice what does not.

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::profiles::v1development::{Link, Profile, Sample};
use profiler_common::wire::{OffCpuKey, OffCpuValue};
use profilerd::model::{MonoNs, Recording, UnixNs, WaitClass};
use profilerd::sink::otlp::{Options, Signal, encode};
use prost::Message;

use super::check::{From, faults};
use super::{Request, Summary, host, recordings};

fn all_signals(sequence: u64) -> Options {
    Options { signals: Signal::ALL.to_vec(), ..Options::new(host(), sequence) }
}

/// What the recording says itself, by sample type.
fn totals(recording: &Recording) -> Vec<(String, u64)> {
    let ledgers = || recording.capture.threads.iter().map(|thread| &thread.ledger);
    let off_cpu = ledgers().flat_map(|ledger| ledger.off_cpu_ns).sum();
    let run_queue = ledgers().map(|ledger| ledger.run_queue_ns).sum();
    let wall = ledgers().map(|ledger| ledger.wall_ns.saturating_add_signed(ledger.residual_ns())).sum();
    let samples = recording.capture.cpu_samples.len() as u64;
    let totals = [("off_cpu", off_cpu), ("run_queue", run_queue), ("samples", samples), ("wall", wall)];
    totals.map(|(name, total)| (name.to_owned(), total)).to_vec()
}

#[test]
fn requests_obey_the_rules_and_lose_nothing() {
    for (processes, stacks, most_bytes) in
        [(6, 5, 3 << 20), (1, 1, 3 << 20), (40, 12, 100_000), (3, 200, 50_000), (2, 300, 20_000), (6, 5, 100)]
    {
        let recording = recordings::made(7, processes, stacks);
        let requests = encode(&recording, &Options { most_bytes, ..all_signals(7) });
        let wrong: Vec<_> = requests.iter().flat_map(|request| faults(request, From::Us)).take(20).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let found = Summary::of(&requests);
        assert_eq!(found.totals.clone().into_iter().collect::<Vec<_>>(), totals(&recording));
        assert_eq!(found.profiles, found.ids.len(), "an id is used twice");
        let largest = requests.iter().map(Message::encoded_len).max().unwrap();
        println!("{processes} processes, {stacks} stacks: {} requests, {largest} bytes at most", requests.len());
        // A single sample with its resource takes more than 100 bytes.
        assert!(largest <= most_bytes.max(3_000), "{largest} > {most_bytes}");
        assert!(requests.len() == 1 || most_bytes < 3 << 20);
    }
}

#[test]
fn the_same_window_is_the_same_bytes() {
    let bytes = |sequence| -> Vec<Vec<u8>> {
        encode(&recordings::window(7), &all_signals(sequence)).iter().map(Message::encode_to_vec).collect()
    };
    assert_eq!(bytes(7), bytes(7));
    assert_ne!(bytes(7), bytes(8));
}

#[test]
fn a_window_without_anything_is_no_request() {
    assert!(encode(&Recording::default(), &all_signals(1)).is_empty());
    let only_off_cpu = Options { signals: vec![Signal::OffCpu], ..all_signals(7) };
    let found = Summary::of(&encode(&recordings::window(7), &only_off_cpu));
    assert_eq!(found.totals.keys().collect::<Vec<_>>(), ["off_cpu"]);
}

/// What a damaged store may say: every number as large as it gets, and times that run backwards.
#[test]
fn nonsense_makes_no_wrong_request() {
    let mut recording = recordings::window(7);
    let capture = &mut recording.capture;
    (capture.end, recording.context.start) = (MonoNs(0), UnixNs(u64::MAX));
    recording.context.rate_hz = 0;
    capture.cpu_samples.iter_mut().step_by(2).for_each(|sample| sample.header.at_ns = u64::MAX);
    capture.cpu_samples.iter_mut().step_by(3).for_each(|sample| sample.header.at_ns = 0);
    for (key, value) in recordings::made(8, 9, 2).capture.off_cpu {
        let value = OffCpuValue { blocked_ns: u64::MAX, run_queue_ns: u64::MAX, ..value };
        capture.off_cpu.insert(OffCpuKey { class: u32::MAX, ..key }, value);
    }
    for thread in &mut capture.threads {
        thread.ledger.unseen_ns = u64::MAX;
        thread.ledger.on_cpu_ns = u64::MAX;
    }
    recording.programs.iter_mut().for_each(|program| program.born = UnixNs(u64::MAX));
    let requests = encode(&recording, &all_signals(7));
    let wrong: Vec<_> = requests.iter().flat_map(|request| faults(request, From::Us)).take(20).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Far more than a busy machine has in 10 s: an optimized build takes tens of milliseconds; what is not linear fails here.
#[test]
fn a_hard_window_is_soon_encoded() {
    let recording = recordings::made(7, 200, 20);
    let start = std::time::Instant::now();
    let requests = encode(&recording, &Options::new(host(), 7));
    let took = start.elapsed();
    let bytes: usize = requests.iter().map(Message::encoded_len).sum();
    let stacks = recording.frames.len();
    let samples = recording.capture.cpu_samples.len() + recording.capture.off_cpu.len();
    println!("{samples} samples and sums of {stacks} stacks: {} requests, {bytes} bytes, {took:?}", requests.len());
    assert!(took.as_secs() < 10, "{took:?}");
}

/// Frame names of a sample, leaf first.
fn stack(request: &Request, sample: &Sample) -> Vec<String> {
    let dictionary = request.dictionary.as_ref().unwrap();
    let locations = &dictionary.stack_table[sample.stack_index as usize].location_indices;
    let lines = locations.iter().flat_map(|location| &dictionary.location_table[*location as usize].lines);
    let functions = lines.map(|line| dictionary.function_table[line.function_index as usize]);
    functions.map(|function| dictionary.string_table[function.name_strindex as usize].clone()).collect()
}

#[test]
fn stacks_say_what_the_report_says() {
    let request = encode(&recordings::window(7), &all_signals(7)).remove(0);
    let profiles = &request.resource_profiles[0].scope_profiles[0].profiles;
    let stacks = |profile: &Profile| -> Vec<String> {
        profile.samples.iter().map(|sample| stack(&request, sample).join(" < ")).collect()
    };
    let on_cpu = stacks(&profiles[0]);
    let handler = "service_0::handler_0::step";
    let whole = format!(
        "{handler}_0 < {handler}_1 < {handler}_2 < lib0.so+0x1030 < {handler}_4 < {handler}_5 < {handler}_6 < {handler}_7"
    );
    assert!(on_cpu.contains(&whole), "{on_cpu:#?}");
    assert!(on_cpu.contains(&format!("vfs_write < [kernel]+0xffffffff81000006 < {whole}")), "{on_cpu:#?}");
    // Waits begin where they wait, and what is missing is said.
    let off_cpu = stacks(&profiles[1]);
    assert!(off_cpu.contains(&format!("futex_wait < do_syscall_64 < {whole}")), "{off_cpu:#?}");
    assert!(off_cpu.contains(&"[stack not seen]".to_owned()), "{off_cpu:#?}");
    let all = Request::clone(&request).resource_profiles;
    let every: Vec<String> = all.iter().flat_map(|it| &it.scope_profiles[0].profiles).flat_map(stacks).collect();
    for end in ["do_syscall_64 < [stack not sampled]", "do_syscall_64 < [stack not seen]", "[on-CPU, not sampled]"] {
        assert!(every.iter().any(|stack| stack.ends_with(end)), "no {end}");
    }
    assert!(!every.iter().any(|stack| stack.contains("schedule <")));
}

#[test]
fn waits_say_why_and_times_lie_where_they_were() {
    let recording = recordings::window(7);
    let request = encode(&recording, &all_signals(7)).remove(0);
    let dictionary = request.dictionary.as_ref().unwrap();
    let text = |value: &Option<AnyValue>| format!("{:?}", value.as_ref().unwrap().value.as_ref().unwrap());
    for class in [WaitClass::Lock, WaitClass::Sleep, WaitClass::Pipe] {
        let wanted = format!("StringValue(\"{}\")", class.name());
        assert!(dictionary.attribute_table[1..].iter().any(|it| text(&it.value) == wanted), "{wanted}");
    }
    // On-CPU times are exact: the wall clock's start and the distance on the kernel's clock.
    let expected: Vec<u64> = recording
        .capture
        .cpu_samples
        .iter()
        .map(|sample| recording.context.start.0 + sample.header.at_ns - recording.capture.start.0)
        .collect();
    let profiles = request.resource_profiles.iter().map(|it| &it.scope_profiles[0].profiles[0]);
    let mut found: Vec<u64> =
        profiles.flat_map(|it| &it.samples).flat_map(|it| it.timestamps_unix_nano.clone()).collect();
    let mut expected = expected;
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// A change to a good request, and what has to be said of it.
type Break = (&'static str, fn(&mut Request));

fn profile(request: &mut Request, at: usize) -> &mut Profile {
    &mut request.resource_profiles[0].scope_profiles[0].profiles[at]
}

macro_rules! table {
    ($request:ident, $table:ident) => {
        $request.dictionary.as_mut().unwrap().$table
    };
}

const BREAKS: [Break; 43] = [
    ("no dictionary", |it| it.dictionary = None),
    ("mapping 0 is not the empty one", |it| table!(it, mapping_table).clear()),
    ("string 0 is not the empty one", |it| table!(it, string_table)[0].push('x')),
    ("link 0 is not the empty one", |it| table!(it, link_table)[0].trace_id = vec![0; 16]),
    ("stack 0 is not the empty one", |it| table!(it, stack_table)[0].location_indices.push(1)),
    ("attribute 0 is not the empty one", |it| table!(it, attribute_table)[0].key_strindex = 1),
    ("is there twice", |it| table!(it, string_table)[1] = table!(it, string_table)[2].clone()),
    ("function 2 is there twice", |it| table!(it, function_table)[2] = table!(it, function_table)[1]),
    ("location 2 is there twice", |it| table!(it, location_table)[2] = table!(it, location_table)[1].clone()),
    ("stack 2 is there twice", |it| table!(it, stack_table)[2] = table!(it, stack_table)[1].clone()),
    ("stack index 99999 out of range", |it| profile(it, 0).samples[0].stack_index = 99_999),
    ("stack index -1 out of range", |it| profile(it, 0).samples[0].stack_index = -1),
    ("link index 1 out of range", |it| profile(it, 0).samples[0].link_index = 1),
    ("attribute index 99999 out of range", |it| profile(it, 0).samples[0].attribute_indices.push(99_999)),
    ("function index 99999 out of range", |it| table!(it, location_table)[1].lines[0].function_index = 99_999),
    ("mapping index 99999 out of range", |it| table!(it, location_table)[1].mapping_index = 99_999),
    ("location index 99999 out of range", |it| table!(it, stack_table)[1].location_indices.push(99_999)),
    ("string index 99999 out of range", |it| table!(it, function_table)[1].filename_strindex = 99_999),
    ("ends before it starts", |it| table!(it, mapping_table)[1].memory_start = u64::MAX),
    ("lies outside of its mapping", |it| {
        let location = table!(it, location_table).iter_mut().find(|location| location.mapping_index != 0);
        location.unwrap().address = u64::MAX;
    }),
    ("has no name", |it| table!(it, function_table)[1] = Default::default()),
    ("ids are not 16 and 8 bytes", |it| {
        table!(it, link_table).push(Link { trace_id: vec![1; 8], span_id: vec![1; 8] })
    }),
    ("link 1: nothing refers to it", |it| {
        table!(it, link_table).push(Link { trace_id: vec![1; 16], span_id: vec![1; 8] });
    }),
    ("nothing refers to it", |it| table!(it, string_table).push("orphan".to_owned())),
    ("has no value", |it| table!(it, attribute_table)[1].value = None),
    ("has no key", |it| table!(it, attribute_table)[1].key_strindex = 0),
    ("frame type is None", |it| table!(it, location_table)[1].attribute_indices.clear()),
    ("a key is there twice", |it| {
        let again = profile(it, 0).samples[0].attribute_indices[0];
        profile(it, 0).samples[0].attribute_indices.push(again);
    }),
    ("stack 1: is empty", |it| table!(it, stack_table)[1].location_indices.clear()),
    ("has neither lines nor a mapping", |it| {
        let location = &mut table!(it, location_table)[1];
        (location.lines, location.mapping_index) = (Vec::new(), 0);
    }),
    ("has no samples", |it| profile(it, 0).samples.clear()),
    ("has no profiles", |it| it.resource_profiles[0].scope_profiles[0].profiles.clear()),
    ("has no service.name", |it| it.resource_profiles[0].resource.as_mut().unwrap().attributes.clear()),
    ("a reference in place of a key", |it| {
        it.resource_profiles[0].resource.as_mut().unwrap().attributes[0].key_strindex = 1;
    }),
    ("its scope has no name", |it| it.resource_profiles[0].scope_profiles[0].scope = None),
    ("its id is not 16 bytes", |it| profile(it, 0).profile_id.truncate(8)),
    ("its id is there twice", |it| profile(it, 1).profile_id = profile(it, 0).profile_id.clone()),
    ("period None", |it| profile(it, 0).period_type = None),
    ("a time outside of the profile", |it| profile(it, 0).samples[0].timestamps_unix_nano[0] = 5),
    ("a time outside of the profile", |it| profile(it, 1).duration_nano = 1),
    ("says nothing", |it| profile(it, 0).samples[0].timestamps_unix_nano.clear()),
    ("samples of 2 shapes", |it| profile(it, 1).samples[0].timestamps_unix_nano.clear()),
    ("the same as another one", |it| {
        let again = profile(it, 1).samples[0].clone();
        profile(it, 1).samples.push(again);
    }),
];

#[test]
fn broken_requests_are_noticed() {
    let good = encode(&recordings::window(7), &all_signals(7)).remove(0);
    for (expected, break_it) in BREAKS {
        let mut broken = good.clone();
        break_it(&mut broken);
        let found = faults(&broken, From::Us);
        assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}: {found:#?}");
    }
}
