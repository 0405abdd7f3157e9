//! The loads that are measured, one file each.

mod nginx;
mod pingpong;
pub(super) mod postgres;
mod python;
mod redis;
mod walk;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;

use anyhow::Result;

use super::load::Load;
use super::process::Process;
use crate::workspace;

/// All loads, in the order of the table.
pub(super) static ALL: &[&Load] =
    &[&pingpong::FUTEX, &pingpong::PIPE, &redis::REDIS, &nginx::NGINX, &postgres::POSTGRES, &python::PYTHON];

pub(super) use walk::{WALK, compile};

/// A workload's source.
pub(super) fn source(name: &str) -> PathBuf {
    workspace::root().join("xtask/workloads").join(name)
}

/// A port of the loopback interface that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn wait_for_port(service: &mut Process, port: u16) -> Result<()> {
    service.wait_until("answered", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()).map(drop)
}
