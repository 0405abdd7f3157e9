use std::sync::Arc;

/// Which world a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameKind {
    /// Machine code of the program or its libraries.
    Native,
    /// The kernel.
    Kernel,
    /// Not a function: says what is missing, such as `[unwinding stopped: no unwind info]`.
    Note,
}

impl FrameKind {
    /// The word that every output uses.
    pub fn name(self) -> &'static str {
        match self {
            FrameKind::Native => "native",
            FrameKind::Kernel => "kernel",
            FrameKind::Note => "note",
        }
    }
}

/// One function of a stack; inlined functions are frames of their own.
///
/// Names are raw, as found: outputs escape them with [`super::text`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// World of the frame.
    pub kind: FrameKind,
    /// Demangled function name. `None` if the code has no symbol: then `module` and `offset` say
    /// where it is.
    pub function: Option<Arc<str>>,
    /// Source file as the debug information names it.
    pub file: Option<Arc<str>>,
    /// Line in `file`, from 1.
    pub line: Option<u32>,
    /// Path of the executable or library, `[kernel]`, `[vdso]`, or a kernel module's name.
    pub module: Option<Arc<str>>,
    /// Build id of `module` in hex.
    pub build_id: Option<Arc<str>>,
    /// File offset of the code in `module`; of a kernel frame without a name its address.
    pub offset: Option<u64>,
    /// Whether the compiler inlined this function into the next frame.
    pub inlined: bool,
}

impl Frame {
    /// A frame that is no function, such as `[unwinding stopped: read fault]`.
    pub fn note(text: impl Into<Arc<str>>) -> Frame {
        Frame {
            kind: FrameKind::Note,
            function: Some(text.into()),
            file: None,
            line: None,
            module: None,
            build_id: None,
            offset: None,
            inlined: false,
        }
    }

    /// The name to show: the function, else `module+0xoffset`, else `[unknown]`. Not escaped.
    pub fn name(&self) -> String {
        if let Some(function) = &self.function {
            return function.to_string();
        }
        match (&self.module, self.offset) {
            (Some(module), Some(offset)) => format!("{}+{offset:#x}", base_name(module)),
            (None, Some(offset)) => format!("[unknown]+{offset:#x}"),
            _ => "[unknown]".to_owned(),
        }
    }

    /// Last component of the module's path.
    pub fn module_name(&self) -> Option<&str> {
        self.module.as_deref().map(base_name)
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path)
}
