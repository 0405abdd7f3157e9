//! Says for which processor the kernel programs are, by `bpf_target_arch`, in the way that aya's own crates are told.

fn main() -> aya_build::Result<()> {
    aya_build::emit_bpf_target_arch_cfg()
}
