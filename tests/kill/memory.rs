//! An import of any size needs the same memory.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use super::processes::{Process, Servers};

/// The most by which the arenas of the allocator and the stacks of the threads differ between runs, in KiB. A further
/// 18,000 records in memory would take nine times this.
const NOISE: u64 = 3 * 1024;

/// The peak of an import's resident memory, in KiB.
fn peak(servers: &Servers, action: &str, records: u32) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let arguments = format!("--action {action} --records {records}");
    let mut import = Process::import(servers, directory.path(), &arguments);
    let mut peak = None;
    let status = loop {
        peak = high_water_mark(import.id()).or(peak);
        if let Some(status) = import.ended() {
            break status;
        }
        sleep(Duration::from_millis(2));
    };
    assert!(status.success(), "{}", import.told());
    peak.unwrap()
}

/// The peak of the resident set in KiB; `None` when the process has ended.
fn high_water_mark(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Ten times the records take no more memory.
#[tokio::test]
async fn i15_ten_times_the_records_run_in_the_same_memory() {
    let directory = tempfile::tempdir().unwrap();
    // The API is slow: an import that reads everything ahead has done so before the API has taken half of the records.
    let servers = Servers::start(directory.path(), "--time-per-record 1ms");
    let mut sent = 0;
    for action in ["create", "update"] {
        let few = peak(&servers, action, 2_000);
        let many = peak(&servers, action, 20_000);
        println!("{action}: {few} KiB and {many} KiB");
        assert!(many < few + NOISE, "{action}: {few} KiB and {many} KiB");
        sent += 22_000;
        assert_eq!(servers.counters().await["records"], sent);
    }
}
