//! Whether the machine has memory to keep files in.

use std::path::Path;

/// Whether files in `folder` are kept in memory, and at least `bytes` are available there and in the
/// machine. The default size of such a file system is half of the machine's memory, used or not;
/// containers often have 64 MB.
#[cfg(target_os = "linux")]
pub(super) fn has_memory(folder: &Path, bytes: u64) -> bool {
    const TMPFS: rustix::fs::FsWord = 0x0102_1994;
    rustix::fs::statfs(folder).is_ok_and(|found| {
        let block = u64::try_from(found.f_bsize).unwrap_or(0);
        found.f_type == TMPFS && found.f_bavail.saturating_mul(block) >= bytes
    }) && available_memory(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()) >= bytes
}

/// Other systems have no such folder that every user may write to.
#[cfg(not(target_os = "linux"))]
pub(super) fn has_memory(_: &Path, _: u64) -> bool {
    false
}

/// The memory in bytes that programs can use without swapping, from the text of `/proc/meminfo`; 0 if it
/// is not there.
#[cfg(target_os = "linux")]
fn available_memory(meminfo: &str) -> u64 {
    let mut lines = meminfo.lines();
    let text =
        lines.find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB"));
    text.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0).saturating_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_in_bytes() {
        let meminfo = "MemTotal:       24684084 kB\nMemAvailable:   22006784 kB\n";
        assert_eq!(available_memory(meminfo), 22_006_784 * 1024);
        for other in ["", "MemTotal: 1 kB\n", "MemAvailable: some kB\n"] {
            assert_eq!(available_memory(other), 0, "{other}");
        }
    }

    #[test]
    fn other_file_systems_and_missing_folders_have_no_memory() {
        assert!(!has_memory(Path::new("/proc"), 0));
        assert!(!has_memory(Path::new("/no/such/folder"), 0));
    }
}
