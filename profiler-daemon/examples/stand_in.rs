//! A service that does all that `serve` does around profiling, and profiles nothing: it reads the configuration,
//! tells systemd how it is, writes its log, serves the page, reloads and ends. The tests of the unit start it, so
//! that they show what they are about in milliseconds and without a kernel for it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use profilerd::config::{Config, Sources};
use profilerd::log::Log;
use profilerd::notify::Notifier;
use profilerd::telemetry::{Server, Telemetry};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    // As `serve --config FILE`.
    let file = std::env::args().skip_while(|argument| argument != "--config").nth(1).map(PathBuf::from);
    match run(&Sources::new(file, Vec::new())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(sources: &Sources) -> anyhow::Result<()> {
    let mut config = sources.load()?.config;
    let log = Log::start(config.log.level, config.log.target)?;
    let telemetry = Arc::new(Telemetry::new(config.metrics.max_services));
    let _server = config.metrics.listen.map(|address| Server::start(address, Arc::clone(&telemetry))).transpose()?;
    let mut notifier = Notifier::new();
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut tick = tokio::time::interval(notifier.interval().unwrap_or(Duration::from_secs(1)));
    telemetry.set_ready(true);
    notifier.ready(&status(&config));
    tracing::info!(target: "profilerd", store = %config.store.dir.display(), "started");
    // As kernel programs speak, through the library that reads their lines.
    log::debug!(target: "profiler_ebpf", "kernel programs speak");
    loop {
        tokio::select! {
            _ = tick.tick() => {
                notifier.alive();
                telemetry.alive();
            }
            _ = hangup.recv() => {
                notifier.reloading();
                let loaded = sources.load();
                telemetry.reloaded(loaded.is_ok());
                match loaded {
                    Ok(new) => {
                        let (running, changes) = config.reload(&new.config);
                        for change in &changes.live {
                            tracing::info!(target: "profilerd", key = change.key, from = change.from, to = change.to, "setting changed");
                        }
                        for change in &changes.at_start {
                            tracing::warn!(target: "profilerd", key = change.key, to = change.to, "setting changes at the next start");
                        }
                        log.set_level(running.log.level);
                        config = running;
                    }
                    Err(error) => {
                        let error: &(dyn std::error::Error + 'static) = &error;
                        tracing::error!(target: "profilerd", error, "configuration is wrong, the old one stays");
                    }
                }
                notifier.ready(&status(&config));
            }
            _ = terminate.recv() => break,
        }
    }
    notifier.stopping("ending", Duration::from_secs(5));
    tracing::info!(target: "profilerd", "ended");
    Ok(())
}

fn status(config: &Config) -> String {
    format!("windows of {}", humantime::format_duration(config.capture.window))
}
