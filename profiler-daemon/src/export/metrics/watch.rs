use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

use super::super::client::chain;

/// An exporter that says once when it fails, and once when it works again.
pub(super) struct Watched<E> {
    exporter: E,
    endpoint: String,
    is_down: AtomicBool,
}

impl<E> Watched<E> {
    pub(super) fn new(exporter: E, endpoint: &str) -> Watched<E> {
        Watched { exporter, endpoint: endpoint.to_owned(), is_down: AtomicBool::new(false) }
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        let was_down = self.is_down.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_down => {
                tracing::warn!(
                    error = chain(error),
                    endpoint = self.endpoint,
                    "cannot export metrics, and goes on trying"
                );
            }
            Ok(()) if was_down => tracing::info!(endpoint = self.endpoint, "exports metrics again"),
            _ => {}
        }
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
