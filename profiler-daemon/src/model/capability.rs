/// Whether this machine and these privileges allow something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It works.
    Yes,
    /// It works with a limit that `reason` names.
    Partly,
    /// It does not work.
    No,
}

/// One thing that the running kernel must offer, as `profilerd doctor` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// What a person gets from it, such as `ledger (on-CPU, run-queue, blocked)`.
    pub name: &'static str,
    /// Whether it is there.
    pub support: Support,
    /// Why, in words; may be empty for `Yes`.
    pub reason: String,
    /// What to do about it, if anything can be done.
    pub remedy: Option<String>,
    /// Whether the main job needs it.
    pub required: bool,
}
