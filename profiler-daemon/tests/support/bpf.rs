//! Which kernel programs and maps a process holds, and which are loaded at all. Others may profile
//! on the same machine meanwhile, so nothing here counts; it goes by ids.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::{ArrayOfMaps, Map, MapData};

/// Ids of what a process holds open.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Held {
    pub(crate) programs: BTreeSet<u32>,
    pub(crate) maps: BTreeSet<u32>,
    pub(crate) links: BTreeSet<u32>,
}

/// What this process holds; nothing if it is gone.
pub(crate) fn held_by(pid: u32) -> Held {
    let mut held = Held::default();
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return held };
    for file in files.flatten() {
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        let ids = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse::<u32>().ok())
        };
        // A link says which program it holds, too.
        held.programs.extend(ids("prog_id"));
        held.maps.extend(ids("map_id"));
        held.links.extend(ids("link_id"));
    }
    held
}

/// Kernel memory of the maps that a process holds open, and of those that these contain, as the kernel
/// says of each, in bytes; 0 if it is gone.
pub(crate) fn map_bytes(pid: u32) -> u64 {
    let held = held_by(pid).maps;
    let mut bytes = BTreeMap::new();
    for map in held.into_iter().filter_map(|id| MapData::from_id(id).ok()) {
        bytes.extend([(id(&map), memlock(&map))]);
        bytes.extend(inner(map));
    }
    bytes.values().sum()
}

fn id(map: &MapData) -> u32 {
    map.info().unwrap().id()
}

fn memlock(map: &MapData) -> u64 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd())).unwrap();
    info.lines().find_map(|line| line.strip_prefix("memlock:")).unwrap().trim().parse().unwrap()
}

/// The maps in an array of maps, by id.
fn inner(map: MapData) -> Vec<(u32, u64)> {
    let Ok(map) = Map::from_map_data(map) else { return Vec::new() };
    let Ok(outer) = ArrayOfMaps::<MapData, MapData>::try_from(map) else { return Vec::new() };
    let inner = (0..outer.len()).map_while(|index| outer.get(&index, 0).ok());
    inner.map(|map| (id(&map), memlock(&map))).collect()
}

/// What all processes hold together.
pub(crate) fn held_by_anyone() -> Held {
    let mut all = Held::default();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            let held = held_by(pid);
            all.programs.extend(held.programs);
            all.maps.extend(held.maps);
            all.links.extend(held.links);
        }
    }
    all
}

/// Everything that is loaded.
pub(crate) fn loaded() -> Held {
    Held {
        programs: aya::programs::loaded_programs().flatten().map(|it| it.id()).collect(),
        maps: aya::maps::loaded_maps().flatten().map(|it| it.id()).collect(),
        links: aya::programs::loaded_links().flatten().map(|it| it.id()).collect(),
    }
}

impl Held {
    /// What is in both.
    pub(crate) fn and(&self, other: &Held) -> Held {
        Held {
            programs: &self.programs & &other.programs,
            maps: &self.maps & &other.maps,
            links: &self.links & &other.links,
        }
    }

    /// What is here and not there.
    pub(crate) fn minus(&self, other: &Held) -> Held {
        Held {
            programs: &self.programs - &other.programs,
            maps: &self.maps - &other.maps,
            links: &self.links - &other.links,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Held::default()
    }
}
