//! What a command costs: how long it runs, and the most memory that it holds at any time.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A command that runs longer is killed: nothing that is tried here takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// A command that takes more memory is killed, before the machine is full.
const FULL: u64 = 2 << 30;

/// A command that has ended, or was killed.
pub struct Measured {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// From start to end.
    pub time: Duration,
    /// Most memory in use, in bytes: the kernel's high-water mark, looked at every millisecond.
    pub memory: u64,
}

/// Runs a command to its end.
pub fn measure(command: &mut Command) -> Measured {
    let [mut stdout, mut stderr] = [(); 2].map(|()| tempfile::tempfile().unwrap());
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let (status, memory) = watch(&mut child, started);
    Measured {
        time: started.elapsed(),
        status,
        memory,
        stdout: written(&mut stdout),
        stderr: written(&mut stderr),
    }
}

fn watch(child: &mut Child, started: Instant) -> (ExitStatus, u64) {
    let mut memory = 0;
    loop {
        memory = memory.max(high_water_mark(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            return (status, memory);
        }
        if started.elapsed() > PATIENCE || memory > FULL {
            child.kill().unwrap();
            return (child.wait().unwrap(), memory);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `VmHWM` of a process, in bytes; none once it has ended.
fn high_water_mark(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes << 10)
}

fn written(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn time_and_memory_are_those_of_the_command() {
    let measured = measure(Command::new("bash").args([
        "-c",
        "x=$(head -c 50M /dev/zero | tr '\\0' x); sleep 0.1; echo $? ${#x}; echo no >&2; exit 3",
    ]));
    assert_eq!(measured.status.code(), Some(3));
    assert_eq!(measured.stdout.trim(), "0 52428800");
    assert_eq!(measured.stderr.trim(), "no");
    assert!(measured.memory > 50 << 20, "{}", measured.memory);
    assert!(measured.time >= Duration::from_millis(100));
}
