//! What this process holds: memory, tasks and descriptors.

use tokio::runtime::Handle;

/// Memory and descriptors are known on Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Bytes that are resident.
    pub(crate) memory: Option<u64>,
    /// Tasks of the runtime that are alive.
    pub(crate) tasks: u64,
    /// Open descriptors: files, sockets and pipes.
    pub(crate) descriptors: Option<u64>,
}

impl Sample {
    pub(crate) fn take() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").ok();
        Self {
            memory: status.as_deref().and_then(resident),
            tasks: Handle::current().metrics().num_alive_tasks() as u64,
            descriptors: descriptors(),
        }
    }
}

/// What a `/proc/<pid>/status` says of the resident memory, in bytes.
fn resident(status: &str) -> Option<u64> {
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .strip_suffix("kB")?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn descriptors() -> Option<u64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    // One of them is the directory itself.
    open.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let status = "Name:\tsoak\nVmHWM:\t   14000 kB\nVmRSS:\t   13312 kB\nThreads:\t3\n";
        assert_eq!(resident(status), Some(13_312 * 1024));
    }

    #[test]
    fn a_status_without_resident_memory_says_nothing() {
        for status in [
            "",
            "Name:\tsoak\n",
            "VmRSS:\n",
            "VmRSS:\t12 MB\n",
            "VmRSS:\tmany kB\n",
            "VmRSS:\t18446744073709551615 kB\n",
        ] {
            assert_eq!(resident(status), None, "{status:?}");
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_file_that_is_opened_and_a_task_that_is_started_are_counted() {
        let before = Sample::take();
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let task = tokio::spawn(std::future::pending::<()>());
        let after = Sample::take();
        assert_eq!(after.tasks, before.tasks + 1);
        // Other tests of this program open files too.
        assert!(after.descriptors.is_some_and(|open| open > 3));
        assert!(after.memory.is_some_and(|bytes| bytes > 1024 * 1024));
        task.abort();
        drop(file);
    }
}
