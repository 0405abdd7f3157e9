//! A small service that waits for real reasons, as something to profile. `cargo xtask demo` does so.
//!
//! | thread | what it does | what a profile should say |
//! |---|---|---|
//! | `worker-N` | takes requests from a queue, looks into a cache, asks a peer over TCP | mostly `ask_peer`, some `cache_lookup`, idle in `next_request` |
//! | `peer-N` | the other end of the connection, needs 8 ms for an answer | sleeps in `slow_query` |
//! | `journal` | appends to a file and syncs it | disk wait in `sync_journal` |
//! | `hasher` | computes for 6 of 10 ms | on-CPU in `hash_block` |
//! | `client` | sends 8 requests each 40 ms | idle in `pause_between_bursts` |
//!
//! Every 25th look-up evicts old entries and holds the cache's lock for 4 ms, so the other workers
//! queue up behind it. The program ends after `--seconds N` (120), or with `--until-stdin-closes`
//! when whoever started it goes away. It needs nothing but the standard library.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Seek, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use std::{env, process, thread};

const WORKERS: usize = 4;
const BURST: u64 = 8;
const BURST_EVERY: Duration = Duration::from_millis(40);
const PEER_NEEDS: Duration = Duration::from_millis(8);
const CACHE_ENTRIES: usize = 4096;
const EVICT_EVERY: u64 = 25;
const EVICTION_TAKES: Duration = Duration::from_millis(4);
const HASH_FOR: Duration = Duration::from_millis(6);
const HASH_PAUSE: Duration = Duration::from_millis(4);
const JOURNAL_BYTES: u64 = 1 << 20;
const LOCK: &str = "a thread that panics ends the process";

fn main() -> ExitCode {
    match End::from_args(env::args().skip(1)).and_then(|end| serve(&end).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// When the service ends.
enum End {
    After(Duration),
    StdinCloses,
}

impl End {
    fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut end = Self::After(Duration::from_secs(120));
        while let Some(arg) = args.next() {
            end = match arg.as_str() {
                "--until-stdin-closes" => Self::StdinCloses,
                "--seconds" => {
                    let seconds = args.next().and_then(|text| text.parse().ok()).ok_or("--seconds needs a number")?;
                    Self::After(Duration::from_secs(seconds))
                }
                _ => return Err(format!("unknown argument `{arg}`; known: --seconds N, --until-stdin-closes")),
            };
        }
        Ok(end)
    }

    fn wait(&self) -> io::Result<()> {
        match self {
            Self::After(time) => thread::sleep(*time),
            // By a child, since waiting for one is what an idle main thread does; a read is not.
            Self::StdinCloses => drop(Command::new("cat").stdout(Stdio::null()).status()?),
        }
        Ok(())
    }
}

fn serve(end: &End) -> io::Result<()> {
    let peer = start_peer()?;
    let (journal, entries) = channel();
    let file = journal_file()?;
    start("journal".into(), move || journal_loop(file, &entries))?;
    start("hasher".into(), hasher_loop)?;

    let service = Arc::new(Service::default());
    for number in 1..=WORKERS {
        let (service, connection, journal) = (Arc::clone(&service), TcpStream::connect(peer)?, journal.clone());
        connection.set_nodelay(true)?;
        start(format!("worker-{number}"), move || worker_loop(&service, connection, &journal))?;
    }
    let (answered, first_answer) = channel();
    service.push(Request { key: 0, answered: Some(answered) });
    let queue = Arc::clone(&service);
    start("client".into(), move || client_loop(&queue))?;

    first_answer.recv().map_err(io::Error::other)?;
    println!("sample service: pid {}, {WORKERS} workers, {BURST} requests each {BURST_EVERY:?}", process::id());
    end.wait()
}

/// Starts a thread that runs until the process ends; an error in one ends all.
fn start(name: String, body: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let report = move || {
        if let Err(error) = body() {
            eprintln!("error: {error}");
            process::exit(1);
        }
    };
    thread::Builder::new().name(name).spawn(report).map(drop)
}

struct Request {
    key: u64,
    /// Told when the answer is there.
    answered: Option<Sender<()>>,
}

#[derive(Default)]
struct Service {
    queue: Mutex<VecDeque<Request>>,
    not_empty: Condvar,
    cache: Mutex<Cache>,
}

impl Service {
    fn push(&self, request: Request) {
        self.queue.lock().expect(LOCK).push_back(request);
        self.not_empty.notify_one();
    }

    #[inline(never)]
    fn next_request(&self) -> Request {
        let mut queue = self.queue.lock().expect(LOCK);
        loop {
            match queue.pop_front() {
                Some(request) => return request,
                None => queue = self.not_empty.wait(queue).expect(LOCK),
            }
        }
    }
}

#[inline(never)]
fn worker_loop(service: &Service, mut peer: TcpStream, journal: &Sender<u64>) -> io::Result<()> {
    loop {
        let request = service.next_request();
        handle_request(service, request.key, &mut peer, journal)?;
        if let Some(answered) = request.answered {
            answered.send(()).map_err(io::Error::other)?;
        }
    }
}

#[inline(never)]
fn handle_request(service: &Service, key: u64, peer: &mut TcpStream, journal: &Sender<u64>) -> io::Result<()> {
    let cached = cache_lookup(&service.cache, key);
    let answer = ask_peer(peer, cached)?;
    journal.send(render_answer(answer)).map_err(io::Error::other)
}

/// What has been asked lately; one lock for all of it.
#[derive(Default)]
struct Cache {
    entries: VecDeque<(u64, u64)>,
    lookups: u64,
}

#[inline(never)]
fn cache_lookup(cache: &Mutex<Cache>, key: u64) -> u64 {
    let mut cache = cache.lock().expect(LOCK);
    cache.lookups += 1;
    if cache.lookups.is_multiple_of(EVICT_EVERY) {
        evict(&mut cache);
    }
    let found = cache.entries.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
    found.unwrap_or_else(|| {
        let value = mix(key);
        cache.entries.push_back((key, value));
        value
    })
}

/// Goes through the whole cache over and over, with the lock held: the mistake to find.
#[inline(never)]
fn evict(cache: &mut Cache) {
    let start = Instant::now();
    while start.elapsed() < EVICTION_TAKES {
        let oldest = cache.entries.iter().map(|(_, value)| mix(*value)).min();
        black_box(oldest);
    }
    let surplus = cache.entries.len().saturating_sub(CACHE_ENTRIES);
    cache.entries.drain(..surplus);
}

#[inline(never)]
fn ask_peer(peer: &mut TcpStream, question: u64) -> io::Result<u64> {
    peer.write_all(&question.to_le_bytes())?;
    let mut answer = [0; 8];
    peer.read_exact(&mut answer)?;
    Ok(u64::from_le_bytes(answer))
}

#[inline(never)]
fn render_answer(answer: u64) -> u64 {
    black_box((0..20_000).fold(answer, |state, step| mix(state ^ step)))
}

/// Starts the other end: a thread for each connection.
fn start_peer() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    start("peer".into(), move || {
        for number in 1.. {
            let (connection, _) = listener.accept()?;
            connection.set_nodelay(true)?;
            start(format!("peer-{number}"), move || peer_loop(connection))?;
        }
        Ok(())
    })?;
    Ok(address)
}

#[inline(never)]
fn peer_loop(mut connection: TcpStream) -> io::Result<()> {
    let mut question = [0; 8];
    loop {
        connection.read_exact(&mut question)?;
        let answer = slow_query(u64::from_le_bytes(question));
        connection.write_all(&answer.to_le_bytes())?;
    }
}

#[inline(never)]
fn slow_query(question: u64) -> u64 {
    thread::sleep(PEER_NEEDS);
    mix(question)
}

/// A file without a name: it is gone with the process, however that ends.
fn journal_file() -> io::Result<File> {
    let path = env::temp_dir().join(format!("sample_service-{}.journal", process::id()));
    let file = File::create_new(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[inline(never)]
fn journal_loop(mut file: File, entries: &Receiver<u64>) -> io::Result<()> {
    while let Ok(entry) = entries.recv() {
        append_entry(&mut file, entry)?;
        while let Ok(entry) = entries.try_recv() {
            append_entry(&mut file, entry)?;
        }
        sync_journal(&file)?;
    }
    Ok(())
}

#[inline(never)]
fn append_entry(file: &mut File, entry: u64) -> io::Result<()> {
    if file.stream_position()? > JOURNAL_BYTES {
        file.set_len(0)?;
        file.rewind()?;
    }
    writeln!(file, "answered {entry:016x}")
}

#[inline(never)]
fn sync_journal(file: &File) -> io::Result<()> {
    let synced = file.sync_all();
    black_box(synced)
}

#[inline(never)]
fn hasher_loop() -> io::Result<()> {
    let mut state = 1;
    loop {
        let start = Instant::now();
        while start.elapsed() < HASH_FOR {
            state = hash_block(state);
        }
        pause_between_blocks();
    }
}

#[inline(never)]
fn hash_block(state: u64) -> u64 {
    black_box((0..50_000).fold(state, |state, step| mix(state ^ step)))
}

#[inline(never)]
fn pause_between_blocks() {
    thread::sleep(HASH_PAUSE);
    black_box(());
}

#[inline(never)]
fn client_loop(service: &Service) -> io::Result<()> {
    for burst in 1_u64.. {
        for number in 0..BURST {
            // Keys come back after a while, so that the cache has something to find.
            service.push(Request { key: mix(burst * BURST + number) % (2 * CACHE_ENTRIES as u64), answered: None });
        }
        pause_between_bursts();
    }
    Ok(())
}

#[inline(never)]
fn pause_between_bursts() {
    thread::sleep(BURST_EVERY);
    black_box(());
}

/// One round of a fast hash function.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^ (value >> 29)
}
