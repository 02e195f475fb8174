//! Rollouts made again by the model, and compared with those that are stored.
//!
//! What is asked of the model is built from the study, and has to give the key under which the rollout is stored: so its settings, its dose
//! and the seed of its sampling are those of the study. In `f32` on a processor a rollout is the same to the bit whatever it is computed
//! beside, so everything that is kept is compared: tokens, their likelihood, and cosθ at every step. Elsewhere the last bits may depend
//! on the batch, so tokens alone are.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Check, VerifyError};
use crate::events::{Listener, Stage};
use crate::model::{self, Cell, LanguageModel, ModelError, ModelHeader, Resources, Rollout};
use crate::monitor::{Expected, Monitor};
use crate::record::error::RecordError;
use crate::record::folder::RunFolder;
use crate::record::key::{ModelFingerprint, TrialKey};
use crate::record::store::TrialStore;
use crate::record::trial::Trial;
use crate::report::format::{counted, keyword, listed, thousands};
use crate::spec::model::{Device, Dtype};
use crate::spec::neurons::Role;
use crate::stages::screen::Group;
use crate::stages::sweep;
use crate::stop::Stop;
use crate::study::Study;
use crate::units::{NeuronId, TokenId};

/// How rollouts are made again.
pub struct Rerun<'a> {
    /// How many, in equal parts of calibration, held-out and control neurons and of the unsteered model: always the same ones, those with
    /// the smallest keys. All when absent.
    pub sample: Option<usize>,
    /// What may be used of the machine; it changes no result.
    pub resources: Resources,
    /// Who wants to know how far it has come.
    pub listener: &'a mut dyn Listener,
}

/// What tells how a run's rollouts were made.
pub(super) struct Made {
    pub study: Study,
    pub groups: Vec<Group>,
}

/// Makes rollouts again with the model in `folder`.
///
/// # Errors
/// If the model's weights cannot be read or run, or the store cannot be read.
pub(super) fn rerun(
    run: &RunFolder,
    made: &Made,
    folder: &Path,
    asked: &mut Rerun<'_>,
) -> Result<Check, VerifyError> {
    let mut check = Check::new("rerun");
    let study = &made.study;
    let header = ModelHeader::read(folder).map_err(VerifyError::Weights)?;
    if check_files(study, &header, &mut check) {
        return Ok(check.of("the weights, before any rollout was made again"));
    }
    let store = TrialStore::open_read_only(&run.trials())?;
    let all = Strata::of(made, &store, asked.sample.unwrap_or(usize::MAX))?;
    let identity = &study.model;
    let model = model::load(header, identity.dtype, identity.device, asked.resources)?;
    let (chosen, words) = all.choose(asked.sample);
    let mut comparison = Comparison::new(study, &store, &chosen);
    comparison
        .make(&*model, asked.listener)
        .map_err(from_rollouts)?;
    for difference in comparison.first.values() {
        check.problem("trials.sqlite", difference);
    }
    check.more_problems += comparison.count - comparison.first.len();
    let what = match comparison.exact {
        true => "tokens, likelihoods and cosθ to the bit".to_owned(),
        false => format!(
            "tokens alone: in {} on {} the last bits may depend on the batch",
            keyword(identity.dtype),
            identity.device
        ),
    };
    Ok(check.of(format!("{words}; {what}")))
}

fn from_rollouts(error: anyhow::Error) -> VerifyError {
    let error = match error.downcast::<RecordError>() {
        Ok(error) => return error.into(),
        Err(error) => error,
    };
    match error.downcast::<ModelError>() {
        Ok(error @ ModelError::Memory { .. }) => VerifyError::Model(error),
        Ok(error) => VerifyError::Rerun(error.into()),
        Err(error) => VerifyError::Rerun(error),
    }
}

/// Whether the model in the folder is another one than the run's, down to each file.
fn check_files(study: &Study, header: &ModelHeader, check: &mut Check) -> bool {
    let (recorded, found) = (&study.model.files, &header.files);
    let other = |name: &&String| recorded.get(*name) != found.get(*name);
    let added = found.keys().filter(|name| !recorded.contains_key(*name));
    let names: Vec<&String> = recorded.keys().chain(added).filter(other).collect();
    for name in &names {
        let path = header.folder.join(name);
        let problem = "the file is not the one that the rollouts were made with";
        check.problem(path.display().to_string(), problem);
    }
    !names.is_empty()
}

/// A stored rollout to be made again.
struct Chosen<'a> {
    key: TrialKey,
    prompt_id: &'a str,
    cell: Cell<'a>,
}

/// The rollouts of a study by who was steered: the three roles in their order, then the unsteered model.
#[derive(Default)]
struct Strata<'a> {
    /// As many of each part as may be chosen, in the order of the keys.
    parts: [Vec<Chosen<'a>>; 4],
    /// How many each part has.
    sizes: [usize; 4],
    /// Stored, and not asked for by the study.
    left_out: usize,
}

const NAMES: [&str; 4] = [
    "of calibration neurons",
    "of held-out neurons",
    "of control neurons",
    "unsteered",
];

impl<'a> Strata<'a> {
    /// `most`: of each part.
    fn of(made: &'a Made, store: &TrialStore, most: usize) -> Result<Self, RecordError> {
        let study = &made.study;
        let model = ModelFingerprint::of(&study.model);
        let roles: BTreeMap<NeuronId, Role> = (made.groups.iter())
            .flat_map(|group| group.neurons.iter().map(|&neuron| (neuron, group.role)))
            .collect();
        let prompts: BTreeMap<&[TokenId], &str> = (study.prompts.values().flatten())
            .map(|prompt| (prompt.tokens.as_slice(), prompt.id.as_str()))
            .collect();
        let mut all = Self::default();
        store.for_each(|key, trial| {
            let steered = trial
                .steering()
                .map(|steering| (steering.neuron, steering.dose));
            let part = match steered.map(|(neuron, _)| roles.get(&neuron)) {
                None => Some(3),
                Some(role) => role.map(|role| *role as usize),
            };
            let known = prompts.get_key_value(trial.cell().prompt);
            let chosen = known.map(|(&prompt, &prompt_id)| Chosen {
                key,
                prompt_id,
                cell: sweep::cell(study, prompt, steered),
            });
            match (part, chosen) {
                (Some(part), Some(chosen)) if TrialKey::of(&model, &chosen.cell) == key => {
                    all.sizes[part] += 1;
                    if all.parts[part].len() < most {
                        all.parts[part].push(chosen);
                    }
                }
                _ => all.left_out += 1,
            }
            Ok::<(), RecordError>(())
        })?;
        Ok(all)
    }

    /// As many as are asked for, in turns from each part, and what was chosen in words.
    fn choose(self, sample: Option<usize>) -> (Vec<Chosen<'a>>, String) {
        let total: usize = self.sizes.iter().sum();
        let wanted = sample.unwrap_or(total).min(total);
        let counts = shares(self.sizes, wanted);
        let named: Vec<String> = (counts.iter().zip(NAMES))
            .filter(|(count, _)| **count > 0)
            .map(|(count, name)| format!("{} {name}", thousands(*count)))
            .collect();
        let mut words = format!(
            "{} of {} made again, {}",
            thousands(wanted),
            counted(total, "rollout"),
            listed(&named)
        );
        if self.left_out > 0 {
            words += &format!(
                "; {} that the study does not ask for left out",
                self.left_out
            );
        }
        let chosen = (self.parts.into_iter().zip(counts))
            .flat_map(|(part, count)| part.into_iter().take(count));
        (chosen.collect(), words)
    }
}

/// Shares that are as equal as the parts allow, and add up to what is wanted.
fn shares(sizes: [usize; 4], wanted: usize) -> [usize; 4] {
    let mut shares = [0; 4];
    let turns = (0..).flat_map(|turn| (0..4).map(move |part| (turn, part)));
    let open = turns.take_while(|(turn, _)| sizes.iter().any(|size| turn < size));
    for (_, part) in open
        .filter(|(turn, part)| *turn < sizes[*part])
        .take(wanted)
    {
        shares[part] += 1;
    }
    shares
}

/// Makes rollouts and keeps the differences of those with the smallest keys.
struct Comparison<'a> {
    study: &'a Study,
    store: &'a TrialStore,
    chosen: &'a [Chosen<'a>],
    exact: bool,
    first: BTreeMap<TrialKey, String>,
    count: usize,
}

impl<'a> Comparison<'a> {
    fn new(study: &'a Study, store: &'a TrialStore, chosen: &'a [Chosen<'a>]) -> Self {
        let engine = (study.model.dtype, study.model.device);
        Self {
            study,
            store,
            chosen,
            exact: engine == (Dtype::F32, Device::Cpu),
            first: BTreeMap::new(),
            count: 0,
        }
    }

    fn make(
        &mut self,
        model: &dyn LanguageModel,
        listener: &mut dyn Listener,
    ) -> anyhow::Result<()> {
        let chosen = self.chosen;
        let expected = Expected {
            rollouts: chosen.len(),
            horizons: 0,
            searched: false,
        };
        let mut monitor = Monitor::new(listener, Stop::default(), expected, 0);
        monitor.begin_last(Stage::Rerun);
        monitor.rollouts(chosen.len(), 0);
        let cells: Vec<Cell<'_>> = chosen.iter().map(|chosen| chosen.cell.clone()).collect();
        model.rollouts(&cells, &mut |number, rollout| {
            let tokens = rollout.tokens.len();
            self.compare(&chosen[number], rollout)?;
            monitor.rollout_made(tokens);
            Ok(())
        })?;
        monitor.end();
        Ok(())
    }

    fn compare(&mut self, chosen: &Chosen<'_>, rollout: Rollout) -> anyhow::Result<()> {
        let key = chosen.key;
        let model = ModelFingerprint::of(&self.study.model);
        let again = Trial::new(&model, &chosen.cell, rollout, String::new())?;
        let difference = match self.store.get(&key)? {
            Some(stored) => difference(stored.rollout(), again.rollout(), self.exact),
            None => Some("it is gone".into()),
        };
        if let Some(difference) = difference {
            self.count += 1;
            let steered = match chosen.cell.steering {
                Some(steering) => format!("{} at dose {}", steering.neuron, steering.dose.0),
                None => "the unsteered model".into(),
            };
            let place = format!("trial {key}, {steered} on prompt `{}`", chosen.prompt_id);
            self.first.insert(key, format!("{place}: {difference}"));
            if self.first.len() > Check::MOST {
                self.first.pop_last();
            }
        }
        Ok(())
    }
}

/// The first thing in which a rollout that was made again is another one. Tokens and steps are counted from 0.
fn difference(stored: &Rollout, again: &Rollout, exact: bool) -> Option<String> {
    let bits = |values: &[f32]| {
        values
            .iter()
            .map(|value| value.to_bits())
            .collect::<Vec<_>>()
    };
    if let Some(step) = first_other(&stored.tokens, &again.tokens) {
        return Some(worded("token", step, &stored.tokens, &again.tokens));
    }
    if stored.ended != again.ended {
        return Some("whether it ended by itself is not the same".into());
    }
    if !exact {
        return None;
    }
    if let Some(step) = first_other(&bits(&stored.nll), &bits(&again.nll)) {
        let what = "the negative log-likelihood of token";
        return Some(worded(what, step, &stored.nll, &again.nll));
    }
    let step = first_other(&bits(&stored.cosines), &bits(&again.cosines))?;
    Some(worded(
        "cosθ at steered step",
        step,
        &stored.cosines,
        &again.cosines,
    ))
}

/// The first place at which two lists differ, be it that one of them has ended.
fn first_other<T: PartialEq>(one: &[T], other: &[T]) -> Option<usize> {
    let longest = one.len().max(other.len());
    (0..longest).find(|&place| one.get(place) != other.get(place))
}

fn worded<T: ToString>(what: &str, step: usize, stored: &[T], again: &[T]) -> String {
    let at = |values: &[T]| values.get(step).map_or("none".into(), T::to_string);
    format!("{what} {step} is {}, made again {}", at(stored), at(again))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_the_parts() {
        assert_eq!(shares([9, 9, 9, 9], 6), [2, 2, 1, 1]);
        assert_eq!(shares([0, 1, 9, 2], 8), [0, 1, 5, 2]);
        assert_eq!(shares([1, 0, 2, 0], 9), [1, 0, 2, 0]);
        assert_eq!(shares([0; 4], 3), [0; 4]);
    }

    #[test]
    fn the_first_difference_is_named() {
        let stored = Rollout {
            tokens: vec![1, 2, 3],
            ended: false,
            nll: vec![0.5, 0.25, 0.0],
            cosines: vec![0.5, 0.5, 0.5],
        };
        let changed = |change: fn(&mut Rollout)| {
            let mut again = stored.clone();
            change(&mut again);
            (
                difference(&stored, &again, true),
                difference(&stored, &again, false),
            )
        };
        let words = |text: &str| Some(text.to_owned());
        let other = words("token 1 is 2, made again 7");
        assert_eq!(changed(|r| r.tokens[1] = 7), (other.clone(), other));
        let longer = words("token 3 is none, made again 9");
        assert_eq!(changed(|r| r.tokens.push(9)), (longer.clone(), longer));
        let nll = words("the negative log-likelihood of token 1 is 0.25, made again 0.5");
        assert_eq!(changed(|r| r.nll[1] = 0.5), (nll, None));
        let cosine = words("cosθ at steered step 2 is 0.5, made again -0.5");
        assert_eq!(changed(|r| r.cosines[2] = -0.5), (cosine, None));
        assert!(changed(|r| r.ended = true).1.is_some());
        assert_eq!(changed(|_| ()), (None, None));
    }
}
