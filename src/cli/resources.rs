//! What a command may use of the machine.

use crate::model::Resources;

/// What may be used of the machine; it does not change any result.
#[derive(clap::Args)]
pub struct ResourceArgs {
    /// Threads that make rollouts [default: all processors].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Most memory to use, such as 4GiB or 800MB (units KB to TB, KiB to TiB): it limits the rollouts in flight [default: half of what is free].
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<usize>,
}

impl ResourceArgs {
    /// Whether anything was asked for.
    pub fn is_given(&self) -> bool {
        self.threads.is_some() || self.memory.is_some()
    }

    /// What is asked for, and the machine's where nothing is.
    pub fn get(&self) -> Resources {
        let machine = Resources::of_machine();
        Resources {
            threads: self.threads.map_or(machine.threads, usize::from),
            memory: self.memory.unwrap_or(machine.memory),
        }
    }
}

/// A size in bytes: a number with a unit.
fn size(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, f64); 9] = [
        ("tib", 1099511627776.0),
        ("tb", 1e12),
        ("kib", 1024.0),
        ("mib", 1048576.0),
        ("gib", 1073741824.0),
        ("kb", 1e3),
        ("mb", 1e6),
        ("gb", 1e9),
        ("b", 1.0),
    ];
    let lower = text.trim().to_lowercase();
    let wrong =
        || format!("`{text}` is not a size; write a number with a unit, such as 4GiB or 800MB");
    let (number, unit) = UNITS
        .iter()
        .find_map(|(unit, size)| Some((lower.strip_suffix(unit)?, size)))
        .ok_or_else(wrong)?;
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    match number * unit {
        bytes if bytes >= 1.0 && bytes < usize::MAX as f64 => Ok(bytes as usize),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("4GiB", 4 << 30),
            ("1.5 gib", 3 << 29),
            ("800MB", 800_000_000),
            ("64kib", 65536),
            ("512b", 512),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "4", "", "GiB", "-1GiB", "nanGB", "1e40GB", "infGB", "4 Gi", "0MB",
        ] {
            assert!(size(text).unwrap_err().contains("such as 4GiB"), "{text}");
        }
    }
}
