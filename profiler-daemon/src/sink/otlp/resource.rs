use std::time::{Duration, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::Host;
use crate::model::text::printable;
use crate::model::{Program, UnixNs};

/// Semantic conventions that the keys are taken from.
pub(super) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The process as a resource. Keys are written out: collectors up to v0.159 resolve no references here.
pub(super) fn of(program: &Program, host: &Host) -> Resource {
    let mut attributes = Vec::with_capacity(16);
    let mut text = |key: &str, value: &str| {
        if !value.is_empty() {
            attributes.push(attribute(key, any_value::Value::StringValue(printable(value).into_owned())));
        }
    };
    let executable = program.executable.as_deref().unwrap_or_default();
    let base_name = executable.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(&program.comm);
    let service = if program.service.is_empty() { base_name } else { &program.service };
    text("service.name", if service.is_empty() { "unknown_service" } else { service });
    text("host.name", &host.name);
    text("host.id", &host.id);
    text("process.executable.name", base_name);
    text("process.executable.path", executable);
    text("process.executable.build_id.gnu", program.build_id.as_deref().unwrap_or_default());
    text("process.linux.cgroup", program.cgroup.as_deref().unwrap_or_default());
    text("container.id", program.container_id.as_deref().unwrap_or_default());
    text("systemd.unit.name", program.unit.as_deref().unwrap_or_default());
    if program.born != UnixNs::default() {
        let born = UNIX_EPOCH.checked_add(Duration::from_nanos(program.born.0)).unwrap_or(UNIX_EPOCH);
        text("process.creation.time", &humantime::format_rfc3339_millis(born).to_string());
    }
    attributes.push(attribute("process.pid", any_value::Value::IntValue(program.pid.into())));
    if program.parent != 0 {
        attributes.push(attribute("process.parent_pid", any_value::Value::IntValue(program.parent.into())));
    }
    Resource { attributes, ..Resource::default() }
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
