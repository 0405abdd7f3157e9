#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

/// A record drawn as the words that it consists of.
fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Two `u32` as the word that holds them in memory order.
fn pair(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn stack_bytes(id: u64, kind: u32, outcome: u32, frames: u32, addresses: &[u64]) -> Vec<u8> {
    let mut all = vec![pair(tag::STACK, 1), 1_000, id, pair(42, 3), pair(kind, outcome), pair(frames, 0)];
    all.extend(addresses);
    words(&all)
}

fn totals_bytes(tid: u32) -> Vec<u8> {
    let mut bytes = words(&[pair(tag::THREAD, 0), 9_000, pair(42, tid), pair(2, 1), 17, 100]);
    bytes.resize(size_of::<ThreadTotals>(), 0);
    bytes
}

/// The sum of `count` waits.
fn sum_bytes(count: u64) -> Vec<u8> {
    let key = [pair(42, 43), 7, 8, pair(1, 202), pair(3, 0)];
    let mut bytes = words(&[&[pair(tag::OFF_CPU, 0), 0], &key[..], &[500, 60, 40, 300, count]].concat());
    bytes.resize(size_of::<OffCpu>(), 0);
    bytes
}

#[test]
fn a_sum_comes_out_as_it_was_written() {
    let Record::OffCpu(sum) = record(&sum_bytes(2)).unwrap() else { panic!("no sum") };
    let (key, value) = (sum.key, sum.value);
    assert_eq!((key.pid, key.tid, key.user_stack, key.kernel_stack), (42, 43, 7, 8));
    assert_eq!((key.class, key.syscall, key.generation), (1, 202, 3));
    assert_eq!((value.blocked_ns, value.run_queue_ns, value.throttled_ns), (500, 60, 40));
    assert_eq!((value.max_ns, value.count), (300, 2));
}

#[test]
fn a_stack_comes_out_as_it_was_walked() {
    let bytes = stack_bytes(0xabcd, stack_kind::USER, outcome::COMPLETE, 2, &[0x401000, 0x402000]);
    let stack = RawStack {
        pid: 42,
        generation: 3,
        epoch: 0,
        kernel: false,
        outcome: outcome::COMPLETE,
        addresses: vec![0x401000, 0x402000],
    };
    assert_eq!(record(&bytes), Ok(Record::Stack { id: 0xabcd, stack }));
}

/// The bytes as a little-endian machine has them, written out by hand.
#[test]
#[cfg(target_endian = "little")]
fn an_exec_is_read_byte_for_byte() {
    let mut bytes = vec![5, 0, 0, 0, 7, 0, 0, 0, 0x39, 0x30, 0, 0, 0, 0, 0, 0];
    bytes.extend([0x92, 0x10, 0, 0, 2, 0, 0, 0]);
    bytes.extend(b"redis-server\0\0\0\0");
    bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    let header = Header { tag: tag::EXEC, cpu: 7, at_ns: 12_345 };
    let exec = Exec { header, pid: 4242, generation: 2, comm: *b"redis-server\0\0\0\0", parent: 1, reserved: 0 };
    assert_eq!(record(&bytes), Ok(Record::Exec(exec)));
}

#[test]
fn a_sample_and_a_wait_keep_every_field() {
    let sample = words(&[pair(tag::CPU_SAMPLE, 1), 50, pair(42, 43), pair(0, cpu_mode::KERNEL), 0xaa, 0xbb]);
    let Record::CpuSample(sample) = record(&sample).unwrap() else { panic!("no sample") };
    assert_eq!((sample.tid, sample.mode, sample.user_stack, sample.kernel_stack), (43, 1, 0xaa, 0xbb));

    let key = [pair(42, 43), 0xaa, 0xbb, pair(5, -1i32 as u32), pair(0, 0)];
    let mut wait = vec![pair(tag::WAIT, 0), 900];
    wait.extend(key);
    wait.extend([100, 800, pair(7, 8), pair(profiler_common::wire::waker_flag::SEEN, 0)]);
    let Record::Wait(wait) = record(&words(&wait)).unwrap() else { panic!("no wait") };
    assert_eq!((wait.header.at_ns, wait.start_ns, wait.wake_ns, wait.waker_tid), (900, 100, 800, 8));
    assert_eq!(wait.waker_flags, profiler_common::wire::waker_flag::SEEN);
    assert_eq!((wait.key.class, wait.key.syscall), (5, -1));
}

#[test]
fn what_is_wrong_is_named() {
    let user = |frames, addresses: &[u64]| stack_bytes(1, stack_kind::USER, 0, frames, addresses);
    let limit = |frames, limit| DecodeError::FrameCount { frames, limit };
    let length = |record, expected, actual| DecodeError::Length { record, expected, actual };
    let table: Vec<(Vec<u8>, DecodeError)> = vec![
        (vec![], DecodeError::NoHeader { length: 0 }),
        (vec![1; 15], DecodeError::NoHeader { length: 15 }),
        (words(&[pair(0, 0), 0]), DecodeError::UnknownTag { tag: 0 }),
        (words(&[pair(8, 0), 0]), DecodeError::UnknownTag { tag: 8 }),
        (words(&[pair(tag::EXEC, 0), 0]), length("exec", 48, 16)),
        (words(&[pair(tag::CPU_SAMPLE, 0), 0, 0, 0, 0, 0, 0]), length("cpu sample", 48, 56)),
        (words(&[pair(tag::CPU_SAMPLE, 0), 0, 0, pair(0, 2), 0, 0]), DecodeError::CpuMode { mode: 2 }),
        (words(&[pair(tag::STACK, 0), 0, 1]), length("stack", 48, 24)),
        (user(2, &[1]), length("stack", 64, 56)),
        (user(1, &[1, 2]), length("stack", 56, 64)),
        (user(257, &[1]), limit(257, USER_FRAMES)),
        (user(u32::MAX, &[]), limit(u32::MAX, USER_FRAMES)),
        (stack_bytes(1, stack_kind::KERNEL, 0, 65, &[0; 65]), limit(65, KERNEL_FRAMES)),
        (stack_bytes(1, 2, 0, 0, &[]), DecodeError::StackKind { kind: 2 }),
        (stack_bytes(1, 0, 99, 0, &[]), DecodeError::StackOutcome { outcome: 99 }),
        (stack_bytes(0, 0, 0, 0, &[]), DecodeError::NoStackId),
    ];
    for (bytes, expected) in table {
        assert_eq!(record(&bytes), Err(expected));
    }
}

#[test]
fn no_cut_and_no_flipped_byte_panics() {
    let mut whole = vec![
        stack_bytes(9, stack_kind::KERNEL, 1, 3, &[1, 2, 3]),
        totals_bytes(5),
        sum_bytes(3),
        words(&[pair(tag::CPU_SAMPLE, 1), 50, 0, 0, 0, 0]),
    ];
    for bytes in &mut whole {
        for cut in 0..bytes.len() {
            assert!(record(&bytes[..cut]).is_err());
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let before = std::mem::replace(&mut bytes[at], value);
                let _ = record(bytes);
                assert!(records(bytes).count() < 20);
                bytes[at] = before;
            }
        }
    }
}

#[test]
fn an_unaligned_record_is_read_all_the_same() {
    let mut shifted = vec![0xff];
    shifted.extend(totals_bytes(5));
    let Record::Thread(totals) = record(&shifted[1..]).unwrap() else { panic!("no totals") };
    assert_eq!((totals.pid, totals.tid, totals.start_ns, totals.since_ns), (42, 5, 17, 100));
}

#[test]
fn a_file_of_all_kinds_is_split() {
    let mut file = totals_bytes(5);
    file.extend(sum_bytes(7));
    file.extend(stack_bytes(9, stack_kind::USER, 0, 1, &[0x1000]));
    file.extend(stack_bytes(10, stack_kind::KERNEL, 0, 0, &[]));
    file.extend(totals_bytes(6));
    let kinds: Vec<u64> = records(&file)
        .map(|record| match record.unwrap() {
            Record::Thread(totals) => u64::from(totals.tid),
            Record::Stack { id, .. } => id,
            Record::OffCpu(sum) => sum.value.count,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [5, 7, 9, 10, 6]);
}

#[test]
fn totals_keep_what_came_before_the_damage() {
    let mut file = totals_bytes(5);
    assert_eq!(totals(&file).1, None);
    file.extend(totals_bytes(6));
    let tids = |bytes: &[u8]| totals(bytes).0.iter().map(|totals| totals.tid).collect::<Vec<_>>();
    assert_eq!(tids(&file), [5, 6]);

    let size = size_of::<ThreadTotals>();
    let cut = &file[..size + 20];
    assert_eq!(tids(cut), [5]);
    assert_eq!(totals(cut).1, Some(DecodeError::Length { record: "thread", expected: size, actual: 20 }));

    file.extend(stack_bytes(9, stack_kind::USER, 0, 0, &[]));
    assert_eq!((tids(&file).len(), totals(&file).1), (2, Some(DecodeError::NoTotals { found: "stack" })));
    assert_eq!(totals(&[]), (vec![], None));
}
