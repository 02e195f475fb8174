//! What fuel does not bound in a template of somebody else's, of a chat or of a report: its length, its depth, the time that one
//! instruction takes, and values that hold themselves.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

use crate::caught::caught;
use crate::units::bytes;

/// Stack for values and expressions that hold each other as deeply as length and fuel allow. Only what is used takes memory, which is more
/// than any [`Limits::growth`] long before the stack ends.
const STACK: usize = 512 << 20;
/// How often memory is looked at.
const GLANCE: Duration = Duration::from_millis(2);

/// What the templates of one kind may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What they are called in errors.
    pub name: &'static str,
    /// Longest one, in bytes.
    pub longest: usize,
    /// Printing or comparing a value that grew exponentially takes for ever.
    pub patience: Duration,
    /// By so many bytes the program may grow while a template works; a text that is doubled a few dozen times would fill any memory.
    pub growth: u64,
}

/// Why a template gave nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure<E> {
    /// It is broken, or refuses what it was given.
    Refused(E),
    /// It was given up: with anything else it would not end either.
    GivenUp(String),
}

impl Failure<String> {
    /// In words.
    pub fn into_problem(self) -> String {
        match self {
            Failure::Refused(problem) | Failure::GivenUp(problem) => problem,
        }
    }
}

/// Does a template's work on a thread with a deep stack, and gives up when it takes too long or too much memory. The thread is left to
/// itself then: the program is about to end with this error.
pub fn guarded<T: Send + 'static, E: Send + 'static>(
    limits: Limits,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Failure<E>> {
    let name = limits.name;
    let (done, outcome) = mpsc::channel();
    thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || {
            // Nobody listens any more when this took too long.
            if let Some(outcome) = caught(work) {
                let _ = done.send(outcome);
            }
        })
        .map_err(|e| Failure::GivenUp(format!("no thread for {name}: {e}")))?;
    let (started, mut memory) = (
        Instant::now(),
        Memory {
            system: System::new().ok(),
            first: None,
        },
    );
    loop {
        match outcome.recv_timeout(GLANCE) {
            Ok(done) => return done.map_err(Failure::Refused),
            Err(RecvTimeoutError::Disconnected) => {
                let problem = format!(
                    "{name} broke the program that renders it; look for numbers near the largest that there are"
                );
                return Err(Failure::GivenUp(problem));
            }
            Err(RecvTimeoutError::Timeout)
                if started.elapsed() > limits.patience || memory.growth() > limits.growth =>
            {
                let (seconds, most) = (limits.patience.as_secs(), bytes(limits.growth as usize));
                return Err(Failure::GivenUp(format!(
                    "{name} took longer than {seconds} s or more than {most} of memory; a template that ends is needed"
                )));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// The memory of this program, where the system says it.
struct Memory {
    system: Option<System>,
    first: Option<u64>,
}

impl Memory {
    /// By how much it has grown since it was first looked at, in bytes.
    fn growth(&mut self) -> u64 {
        let (Some(system), Ok(pid)) = (&mut self.system, sysinfo::get_current_pid()) else {
            return 0;
        };
        let only = ProcessesToUpdate::Some(&[pid]);
        let memory = ProcessRefreshKind::nothing().with_memory();
        system.refresh_processes_specifics(only, false, memory);
        let now = system.process(pid).map_or(0, sysinfo::Process::memory);
        now.saturating_sub(*self.first.get_or_insert(now))
    }
}

/// Refuses a template that is too long, or that could make a value hold itself.
///
/// Only a namespace can be changed after it was made, so only a namespace can come to hold itself, and printing it would not end. A
/// namespace that is never used as a value cannot: real templates only set and read its attributes.
pub fn check(limits: Limits, source: &str) -> Result<(), String> {
    let (length, longest) = (source.len(), limits.longest);
    if length > longest {
        return Err(format!(
            "it has {length} bytes, and {longest} are supported"
        ));
    }
    let tags = tags(source);
    let declared: Vec<&str> = (tags.iter())
        .flat_map(|tag| tag.windows(5))
        .filter(|w| w[0] == "set" && w[2..] == ["=", "namespace", "("])
        .map(|w| w[1])
        .collect();
    for tag in &tags {
        for (i, word) in tag.iter().enumerate() {
            let at = |offset: isize| {
                let place = i.checked_add_signed(offset)?;
                tag.get(place).copied()
            };
            let (before, after) = (at(-1), at(1));
            let is_attribute = before == Some(".");
            let is_declaration = before == Some("=") && at(-3) == Some("set") && after == Some("(");
            if *word == "namespace" && !is_attribute && !is_declaration {
                return Err(
                    "it uses `namespace` elsewhere than in `{% set name = namespace(…) %}`".into(),
                );
            }
            let is_target = before == Some("set");
            let is_argument_name = after == Some("=") && at(2) != Some("=");
            let is_read = after == Some(".");
            if declared.contains(word)
                && !(is_attribute || is_target || is_argument_name || is_read)
            {
                return Err(format!(
                    "it uses the namespace `{word}` as a value, where only its attributes may be used"
                ));
            }
        }
    }
    Ok(())
}

/// Words and signs of each tag, `{% … %}` or `{{ … }}`; a string is one sign, `'`.
fn tags(source: &str) -> Vec<Vec<&str>> {
    let mut tags = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find("{").filter(|start| start + 2 <= rest.len()) {
        let (end, inside) = match rest.as_bytes()[start + 1] {
            b'%' => ("%}", true),
            b'{' => ("}}", true),
            b'#' => ("#}", false),
            _ => ("", false),
        };
        rest = &rest[start + 1..];
        if inside {
            let (tag, left) = words(&rest[1..], end);
            tags.push(tag);
            rest = left;
        } else if !end.is_empty() {
            rest = rest.split_once(end).map_or("", |(_, left)| left);
        }
    }
    tags
}

/// Words and signs up to `end`, and what comes after it.
fn words<'a>(text: &'a str, end: &str) -> (Vec<&'a str>, &'a str) {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(left) = rest.strip_prefix(end) {
            return (found, left);
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            '\'' | '"' => {
                found.push("'");
                rest = after_string(&rest[1..], first);
                continue;
            }
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        if !first.is_whitespace() {
            found.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    (found, "")
}

/// What follows a string that ends with `quote`.
fn after_string(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return &text[at + c.len_utf8()..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        name: "the template",
        longest: 1000,
        patience: Duration::from_secs(1),
        growth: 96 << 20,
    };

    #[test]
    fn attributes_of_namespaces_may_be_used() {
        for source in [
            "{%- set ns = namespace(found=false, l=[]) -%}{% for m in messages %}{% set ns.found = true %}{{ ns.found }}{% endfor %}",
            "{{ 'ns' }}{# ns #} ns {{ x.ns }}{% set ns = namespace() %}{{ \"it's {{ ns }}\" }}{{ f(ns=1) }}",
            "{{ '{%' }}{{ \"\\\"ns\" }}{% set ns=namespace(a='}}') %}{{ ns.a }}",
            "{",
            "{%",
            "é{{ é",
        ] {
            assert_eq!(check(LIMITS, source), Ok(()), "{source}");
        }
    }

    #[test]
    fn namespaces_may_not_be_values() {
        for source in [
            "{% set ns=namespace() %}{% set ns.a=ns %}{{ ns }}",
            "{% set ns = namespace() %}{% set x = [ns] %}",
            "{% set ns = namespace() %}{{ m(ns) }}",
            "{% set ns = namespace() %}{% if ns == 1 %}{% endif %}",
            "{% for ns in [namespace()] %}{% endfor %}",
            "{% set f = namespace %}",
            "{{ '%}' }}{% set ns = namespace() %}{{ns}}",
        ] {
            let error = check(LIMITS, source).unwrap_err();
            assert!(error.contains("namespace"), "{source}: {error}");
        }
        assert!(check(LIMITS, &"x".repeat(LIMITS.longest + 1)).is_err());
    }

    #[test]
    fn work_that_panics_or_fails_is_an_error() {
        assert_eq!(guarded::<_, ()>(LIMITS, || Ok(1)), Ok(1));
        let refused = Failure::Refused("no");
        assert_eq!(guarded::<(), _>(LIMITS, || Err("no")), Err(refused));
        let panicked = guarded::<(), ()>(LIMITS, || panic!("as a test")).unwrap_err();
        assert!(matches!(panicked, Failure::GivenUp(_)));
    }

    #[test]
    fn work_that_does_not_end_or_fills_the_memory_is_given_up() {
        let endless = guarded::<(), ()>(LIMITS, || {
            thread::sleep(Duration::from_secs(100));
            Ok(())
        });
        let greedy = guarded::<_, ()>(LIMITS, || {
            let filled = vec![1_u8; 2 * LIMITS.growth as usize];
            thread::sleep(Duration::from_secs(100));
            Ok(filled)
        });
        for given_up in [endless.unwrap_err(), greedy.map(drop).unwrap_err()] {
            let Failure::GivenUp(problem) = &given_up else {
                panic!("{given_up:?}");
            };
            assert!(problem.contains("longer than 1 s or more than 96.0 MiB"));
        }
    }
}
