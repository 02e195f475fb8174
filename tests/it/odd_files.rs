//! What may stand behind the name of a file without being one, or without ending.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

pub fn folder(path: &Path) {
    fs::create_dir(path).unwrap();
}

pub fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

pub fn endless(path: &Path) {
    symlink("/dev/zero", path).unwrap();
}

/// A link to itself.
pub fn circle(path: &Path) {
    symlink(path.file_name().unwrap(), path).unwrap();
}

/// A file without content that is as long as a disk.
pub fn vast(path: &Path) {
    File::create(path).unwrap().set_len(1 << 40).unwrap();
}

/// Brackets within brackets.
pub fn nested(depth: usize) -> String {
    "[".repeat(depth)
}
