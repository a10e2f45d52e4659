//! The instances are processes, and end with the process that started them.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use tokio::time::Instant;

use crate::run::command;

const PATIENCE: Duration = Duration::from_secs(20);

struct Parent(Child);

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The child processes of a process, as the system reports them.
fn children(id: u32) -> Vec<u32> {
    let mut children = Vec::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else {
        return children;
    };
    for task in tasks.flatten() {
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(list.split_whitespace().map(|id| id.parse::<u32>().unwrap()));
    }
    children
}

/// The state of a process as one letter; `None` if the process does not exist.
fn state(id: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim().chars().next()
}

fn is_over(id: u32) -> bool {
    // A zombie has ended, and waits only for the process that inherited it.
    matches!(state(id), None | Some('Z' | 'X'))
}

#[track_caller]
fn until(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(
            started.elapsed() < PATIENCE,
            "the condition does not become true in time"
        );
        sleep(Duration::from_millis(5));
    }
}

fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args([name, &id.to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn no_instance_outlives_a_killed_parent_even_if_the_instance_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let mut parent = command(&["--instances", "3", "--tasks", "2", "--seconds", "600"]);
    let mut parent = Parent(parent.arg("--trace").arg(&trace).spawn().unwrap());
    // Each instance has the session when it has adopted version 1.
    until(|| {
        let trace = fs::read_to_string(&trace).unwrap_or_default();
        trace.matches("adopted version 1 ").count() == 3
    });
    let instances = children(parent.0.id());
    signal(instances[0], "-STOP");
    until(|| state(instances[0]) == Some('T'));
    parent.0.kill().unwrap();
    parent.0.wait().unwrap();
    until(|| instances.iter().all(|id| is_over(*id)));
}
