//! The command line as it was given, changed where another one is proposed.

use std::ffi::OsString;

/// The command that was given, for a shell, without some flags. `--flag value` stands for a flag that has a value.
pub fn without(args: impl Iterator<Item = OsString>, flags: &[&str]) -> String {
    let mut words = Vec::new();
    let mut args = args.map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = args.next() {
        match flags.iter().find_map(|flag| dropped(flag, &word)) {
            None => words.push(word),
            Some(Dropped::WithNext) => drop(args.next()),
            Some(Dropped::Alone) => {}
        }
    }
    // Only a word with a NUL cannot be quoted, and no argument holds one.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

enum Dropped {
    Alone,
    WithNext,
}

fn dropped(flag: &str, word: &str) -> Option<Dropped> {
    let Some((name, _)) = flag.split_once(' ') else {
        return (word == flag).then_some(Dropped::Alone);
    };
    match word.strip_prefix(name)? {
        "" => Some(Dropped::WithNext),
        rest => rest.starts_with('=').then_some(Dropped::Alone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(words: &[&str]) -> String {
        let args = words.iter().map(OsString::from);
        without(args, &["--fresh", "--until seal"])
    }

    #[test]
    fn a_run_is_continued_by_its_own_command() {
        let given = [
            "reachspec",
            "run",
            "a b.yaml",
            "--fresh",
            "--set",
            "doses.grid=[1, 2]",
        ];
        assert_eq!(
            left(&given),
            "reachspec run 'a b.yaml' --set 'doses.grid=[1, 2]'"
        );
        assert_eq!(
            left(&["reachspec", "run", "it's.yaml"]),
            "reachspec run \"it's.yaml\""
        );
    }

    #[test]
    fn a_flag_goes_with_its_value() {
        for given in [
            &["r", "--until", "seal", "a"][..],
            &["r", "--until=seal", "a"],
        ] {
            assert_eq!(left(given), "r a");
        }
        assert_eq!(left(&["r", "--untill", "a"]), "r --untill a");
    }
}
