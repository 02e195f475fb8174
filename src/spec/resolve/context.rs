//! What every part of resolution shares: the spec, the model, and the problems found so far.

use std::collections::BTreeSet;

use crate::spec::path::SpecPath;
use crate::spec::problem::{Problem, SpecError};
use crate::spec::suggest;
use crate::spec::target::SpecTarget;
use crate::spec::written::Written;

/// The state of a resolution.
pub struct Context<'a> {
    /// What was written.
    pub written: &'a Written,
    /// The model.
    pub target: &'a dyn SpecTarget,
    /// Names of prompt sets that lack prompts because these, or their file, have problems of their own.
    pub incomplete: BTreeSet<String>,
    /// Regular expressions so far.
    pub regexes: usize,
    /// Words of word lists so far.
    pub words: usize,
    /// Prompts so far, in all sets.
    pub prompts: usize,
    problems: Vec<Problem>,
    /// How many of them the model is to blame for.
    of_model: usize,
    warnings: Vec<Problem>,
}

impl<'a> Context<'a> {
    pub fn new(written: &'a Written, target: &'a dyn SpecTarget) -> Self {
        Self {
            written,
            target,
            incomplete: BTreeSet::new(),
            regexes: 0,
            words: 0,
            prompts: 0,
            problems: Vec::new(),
            of_model: 0,
            warnings: Vec::new(),
        }
    }

    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// All problems as one error.
    pub fn into_error(self) -> SpecError {
        SpecError {
            of_model: self.of_model == self.problems.len(),
            ..self.written.error(self.problems)
        }
    }

    pub fn into_warnings(self) -> Vec<Problem> {
        self.warnings
    }

    /// Says something that is not wrong, but perhaps not what was meant.
    pub fn warn(&mut self, path: &SpecPath, message: impl Into<String>, help: impl Into<String>) {
        let problem = self.problem(path, message).help(help);
        self.warnings.push(problem);
    }

    /// A problem with a value of the spec, to be added to and then reported.
    pub fn problem(&self, path: &SpecPath, message: impl Into<String>) -> Problem {
        self.written.located.problem(path, message)
    }

    /// How many problems there are so far.
    pub fn problems(&self) -> usize {
        self.problems.len()
    }

    pub fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports a problem for which the model is to blame, if `of_model`, and not what is written.
    pub fn blame(&mut self, of_model: bool, problem: Problem) {
        self.of_model += usize::from(of_model);
        self.report(problem);
    }

    /// Reports a problem with what to do about it.
    pub fn reject(&mut self, path: &SpecPath, message: impl Into<String>, help: impl Into<String>) {
        let problem = self.problem(path, message).help(help);
        self.report(problem);
    }

    /// A name that can be seen; reports a blank one otherwise.
    pub fn is_named(&mut self, path: &SpecPath, name: &str, what: &str) {
        if name.trim().is_empty() {
            self.reject(path, format!("this {what} has an empty name"), "name it");
        }
    }

    /// Whether a prompt set of that name is written; reports it otherwise.
    pub fn prompt_set_exists(&mut self, path: &SpecPath, name: &str) -> bool {
        let known = self.written.spec.prompts.keys().map(String::as_str);
        self.exists(path, name, known.collect(), "prompt set", "prompts")
    }

    /// Whether a behaviour of that name is written; reports it otherwise.
    pub fn behavior_exists(&mut self, path: &SpecPath, name: &str) -> bool {
        let known = self.written.spec.behaviors.keys().map(String::as_str);
        self.exists(path, name, known.collect(), "behavior", "behaviors")
    }

    fn exists(
        &mut self,
        path: &SpecPath,
        name: &str,
        known: Vec<&str>,
        what: &str,
        section: &str,
    ) -> bool {
        if known.contains(&name) {
            return true;
        }
        let help = match suggest::nearest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if known.is_empty() => format!("define it under `{section}`"),
            None => format!(
                "define it under `{section}`; known there: {}",
                suggest::list(known)
            ),
        };
        self.reject(path, format!("there is no {what} `{name}`"), help);
        false
    }

    /// Of several keys exactly one is to be given: its name, or a report. `given` holds each key with whether it is written.
    pub fn exactly_one(
        &mut self,
        path: &SpecPath,
        given: &[(&'static str, bool)],
    ) -> Option<&'static str> {
        let named: Vec<&str> = (given.iter())
            .filter(|(_, written)| *written)
            .map(|(key, _)| *key)
            .collect();
        match named.as_slice() {
            [only] => (given.iter().find(|(key, _)| key == only)).map(|(key, _)| *key),
            [] => {
                let help = format!("give exactly one of {}", keys(given));
                self.reject(
                    path,
                    format!("`{path}` gives none of {}", keys(given)),
                    help,
                );
                None
            }
            [first, second, ..] => {
                let place = self.written.located.key_place(&path.key(first));
                let mut problem = self.problem(
                    path,
                    format!("`{path}` gives {}", suggest::list(named.iter().copied())),
                );
                problem.place = self.written.located.key_place(&path.key(second));
                let help = format!("give exactly one of {}", keys(given));
                self.report(problem.also(place, "the other one is here").help(help));
                None
            }
        }
    }
}

fn keys(given: &[(&'static str, bool)]) -> String {
    suggest::list(given.iter().map(|(key, _)| *key))
}
