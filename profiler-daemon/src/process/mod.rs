//! What /proc says: mappings, names, cgroups.
