//! The service: window after window of the whole machine, kept, shown and sent, within what it may cost.
//!
//! Three threads do the work. This one captures: it never waits for a disk, a name or a network. The keeper names stacks
//! and stores windows at its own pace. The exporters read what is stored. So whatever is slow or down, time goes on being
//! accounted, and what cannot be kept is counted.

mod contract;
mod exports;
mod keeper;
mod pace;

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use self::contract::{Budget, Contract, Cost};
use self::exports::Exports;
use self::keeper::{BACKLOG, Keeper};
use super::pipeline::{Pipeline, PipelineError, Plan, cpus};
use super::rotate::RawWindow;
use super::{TABLES_BYTES, cost, heap};
use crate::capture::kernel::Filter;
use crate::capture::preflight;
use crate::config::{Config, ConfigError, Sources};
use crate::log::{Log, LogError};
use crate::notify::Notifier;
use crate::store::{Limits, Store, StoreError};
use crate::telemetry::{Server, ServerError, Telemetry};

pub use exports::ExportsError;

/// Part of what may be used of the CPUs that naming and storing get.
const KEEPER_PART: f64 = 0.4;
/// Longest that the service takes to end.
const LONGEST_END: Duration = Duration::from_secs(60);

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Nothing can be said.
    #[error("cannot write the log")]
    Log(#[from] LogError),
    /// Windows cannot be kept.
    #[error("cannot use the store")]
    Store(#[from] StoreError),
    /// Nothing can be captured.
    #[error("cannot profile this machine")]
    Pipeline(#[from] PipelineError),
    /// The page of metrics.
    #[error("cannot show metrics")]
    Server(#[from] ServerError),
    /// Windows cannot be sent.
    #[error("cannot export")]
    Exports(#[from] ExportsError),
    /// No thread, no signals.
    #[error("cannot start")]
    Io(#[from] io::Error),
    /// A part of the service ended by itself.
    #[error("the thread that keeps windows has failed")]
    Keeper,
}

impl ServiceError {
    /// What a person can do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            ServiceError::Config(error) => error.remedy(),
            ServiceError::Log(error) => error.remedy().map(str::to_owned),
            ServiceError::Store(error) => error.remedy().map(str::to_owned),
            ServiceError::Pipeline(error) => error.remedy(),
            ServiceError::Server(error) => error.remedy(),
            ServiceError::Exports(_) | ServiceError::Io(_) | ServiceError::Keeper => None,
        }
    }
}

/// Why a window ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Over,
    Reload,
    Stop,
}

/// A running service.
struct Service {
    sources: Sources,
    config: Config,
    log: Log,
    notifier: Notifier,
    telemetry: Arc<Telemetry>,
    server: Option<Server>,
    pipeline: Pipeline,
    keeper: Keeper,
    exports: Exports,
    newest: Arc<AtomicU64>,
    contract: Contract,
    /// Lost since they waited too long.
    dropped: u64,
}

/// Runs until it is told to stop.
///
/// # Errors
/// What keeps the service from starting; or that a part of it failed while it ran.
pub async fn run(sources: Sources) -> Result<(), ServiceError> {
    heap::stay_small();
    let mut signals = Signals::install()?;
    let mut service = Service::start(sources)?;
    let ended = service.work(&mut signals).await;
    service.stop();
    ended
}

/// The signals that the service listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn install() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal, or until `due`.
    async fn next(&mut self, due: tokio::time::Instant) -> End {
        tokio::select! {
            () = tokio::time::sleep_until(due) => End::Over,
            _ = self.terminate.recv() => End::Stop,
            _ = self.interrupt.recv() => End::Stop,
            _ = self.hang_up.recv() => End::Reload,
        }
    }
}

impl Service {
    fn start(sources: Sources) -> Result<Service, ServiceError> {
        let started = Instant::now();
        let config = sources.load()?.config;
        let log = Log::start(config.log.level, config.log.target)?;
        if let Some(verdict) = preflight::foreign_process_ids() {
            tracing::warn!(remedy = verdict.remedy, "{}", verdict.reason);
        }
        let store = Store::open(&config.store.dir, limits(&config))?;
        let telemetry = Arc::new(Telemetry::new(config.metrics.max_services));
        let server = server(&config, &telemetry)?;
        let newest = Arc::new(AtomicU64::new(store.last_sequence()));
        let mut exports = Exports::start(&config.store.dir, newest.clone())?;
        exports.set(&config.otlp, config.capture.window)?;
        let mut pipeline = Pipeline::load(Plan {
            target: "all processes".to_owned(),
            filter: Filter { all: true, ..Filter::default() },
            rate_hz: config.capture.rate_hz,
            min_wait_ns: u64::try_from(config.capture.min_wait.as_nanos()).unwrap_or(u64::MAX),
            most_waits: config.capture.max_waits,
            tables_bytes: TABLES_BYTES,
            windows: true,
            ..Plan::default()
        })?;
        pipeline.start()?;
        let keeper = Keeper::start(store, telemetry.clone(), newest.clone(), share(&config))?;
        keeper.set(limits(&config), share(&config), exports.metrics());
        let notifier = Notifier::new();
        notifier.ready(&status(&config));
        telemetry.set_ready(true);
        tracing::info!(
            store = %config.store.dir.display(),
            window = %humantime::format_duration(config.capture.window),
            destinations = config.otlp.len(),
            took_ms = started.elapsed().as_millis() as u64,
            "profiling all processes"
        );
        Ok(Service {
            sources,
            config,
            log,
            notifier,
            telemetry,
            server,
            pipeline,
            keeper,
            exports,
            newest,
            contract: Contract::default(),
            dropped: 0,
        })
    }

    async fn work(&mut self, signals: &mut Signals) -> Result<(), ServiceError> {
        let mut due = tokio::time::Instant::now() + self.config.capture.window;
        let mut own_ns = cost::own_cpu_ns();
        loop {
            let why = Cell::new(End::Over);
            let until = async { why.set(signals.next(due).await) };
            let (notifier, telemetry) = (&mut self.notifier, &self.telemetry);
            self.pipeline
                .run(until, |_| {
                    notifier.alive();
                    telemetry.alive();
                })
                .await?;
            if why.get() == End::Reload {
                self.reload();
                continue;
            }
            let started = Instant::now();
            let window = self.pipeline.rotate()?;
            self.telemetry.stage("rotate", started.elapsed());
            let cpu_ns = cost::own_cpu_ns();
            self.judge(&window, cpu_ns.saturating_sub(own_ns))?;
            own_ns = cpu_ns;
            if !self.keeper.is_alive() {
                return Err(ServiceError::Keeper);
            }
            self.hand_over(window);
            if why.get() == End::Stop {
                return Ok(());
            }
            due = (due + self.config.capture.window).max(tokio::time::Instant::now());
        }
    }

    fn hand_over(&mut self, window: RawWindow) {
        if !self.keeper.keep(window) {
            self.dropped += 1;
            self.telemetry.lost("windows_waited_too_long", 1);
            tracing::warn!(dropped = self.dropped, "a window is lost: {BACKLOG} wait to be stored already");
        }
        self.telemetry.queue("keeper", self.keeper.waiting(), BACKLOG);
        let counts = self.exports.counts();
        let newest = self.newest.load(std::sync::atomic::Ordering::Relaxed);
        let waiting = counts.iter().map(|(_, counts)| counts.waiting_windows).max().unwrap_or(0);
        self.keeper.set_needed(if waiting > 0 { (newest + 1).saturating_sub(waiting) } else { 0 });
        for (name, counts) in &counts {
            self.telemetry.destination(name, counts);
        }
    }

    /// Compares what the window cost with what it may cost, and takes more or less from now on.
    fn judge(&mut self, window: &RawWindow, own_ns: u64) -> Result<(), ServiceError> {
        let machine_ns = window.capture.end.since(window.capture.start).max(1) as f64 * f64::from(cpus());
        let kernel_ns = window.context.overhead.kernel_ns.unwrap_or(0);
        let cost = Cost {
            cpu: (kernel_ns + own_ns) as f64 / machine_ns,
            memory: cost::resident_bytes() + window.context.overhead.kernel_memory_bytes,
        };
        let budget = Budget { cpu: self.config.limits.max_cpu, memory: self.config.limits.max_memory };
        tracing::debug!(
            threads = window.capture.threads.len(),
            cpu_percent = cost.cpu * 100.0,
            kernel_cpu_ms = kernel_ns / 1_000_000,
            memory_mib = cost.memory >> 20,
            "a window is over"
        );
        let before = self.contract.level();
        if let Some(detail) = self.contract.judge(cost, budget) {
            self.pipeline.set_detail(detail)?;
            let level = self.contract.level();
            let percent = cost.cpu * 100.0;
            if level > before {
                tracing::warn!(
                    level,
                    cpu_percent = percent,
                    memory_mib = cost.memory >> 20,
                    "profiling costs more than it may: from now on {}",
                    detail.describe()
                );
            } else {
                tracing::info!(
                    level,
                    cpu_percent = percent,
                    "profiling is cheap again: from now on {}",
                    detail.describe()
                );
            }
            self.telemetry.detail_level(level);
        }
        Ok(())
    }

    /// Reads the configuration again. A wrong one changes nothing.
    fn reload(&mut self) {
        self.notifier.reloading();
        let result = self.try_reload();
        self.telemetry.reloaded(result.is_ok());
        match result {
            Ok(()) => self.notifier.ready(&status(&self.config)),
            Err(error) => {
                let remedy = error.remedy();
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::error!(error, remedy, "the configuration is wrong, the one before stays");
                let status = status(&self.config);
                self.notifier.ready(&format!("{status}; the new configuration is wrong, the one before stays"));
            }
        }
    }

    fn try_reload(&mut self) -> Result<(), ServiceError> {
        let new = self.sources.load()?.config;
        let (new, changes) = self.config.reload(&new);
        // What can fail comes first.
        let gone = self.exports.set(&new.otlp, new.capture.window)?;
        for change in &changes.live {
            tracing::info!(key = change.key, from = change.from, to = change.to, "changed");
        }
        for change in &changes.at_start {
            tracing::warn!(
                key = change.key,
                from = change.from,
                to = change.to,
                "changes when the service is started again"
            );
        }
        if changes.is_empty() {
            tracing::info!("the configuration was read again and is the same");
        }
        gone.iter().for_each(|name| self.telemetry.forget_destination(name));
        self.log.set_level(new.log.level);
        self.keeper.set(limits(&new), share(&new), self.exports.metrics());
        self.config = new;
        Ok(())
    }

    fn stop(self) {
        let Service { notifier, telemetry, server, keeper, exports, pipeline, .. } = self;
        notifier.stopping("keeping and sending what is left", LONGEST_END);
        telemetry.set_ready(false);
        drop(pipeline);
        keeper.stop();
        exports.stop();
        drop(server);
        tracing::info!("stopped");
    }
}

/// What it does, for `systemctl status`.
fn status(config: &Config) -> String {
    format!("profiling all processes in windows of {}", humantime::format_duration(config.capture.window))
}

fn limits(config: &Config) -> Limits {
    Limits { bytes: config.store.max_bytes, age: config.store.max_age }
}

/// How much of one CPU naming and storing may use.
fn share(config: &Config) -> f64 {
    config.limits.max_cpu * f64::from(cpus()) * KEEPER_PART
}

fn server(config: &Config, telemetry: &Arc<Telemetry>) -> Result<Option<Server>, ServiceError> {
    config.metrics.listen.map(|address| Ok(Server::start(address, telemetry.clone())?)).transpose()
}
