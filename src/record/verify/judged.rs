//! Every rollout judged again.

use std::collections::HashSet;

use super::{Check, Intact, difference};
use crate::record::error::RecordError;
use crate::record::folder::RunFolder;
use crate::record::key::TrialKey;
use crate::record::store::{HorizonJudgement, TrialStore};
use crate::report::format::{counted, thousands};
use crate::stages::calibrate;
use crate::stages::judge::{Judgements, RolloutJudgement, judge};

/// Compares the stored judgement of every rollout with the one derived again; hands on what they add up to.
pub fn judgements(run: &RunFolder, intact: &Intact) -> (Check, Option<Judgements>) {
    let mut check = Check::new("judgements");
    match compare(intact, &mut check) {
        Ok((judgements, count)) => {
            let horizons = intact.manifest.study.rollout.horizons.len();
            let compared = format!(
                "{} judged again at {}; none is missing, none belongs to nothing",
                counted(count, "rollout"),
                counted(horizons, "horizon")
            );
            (check.of(compared), Some(judgements))
        }
        Err(error) => {
            match error.downcast_ref::<RecordError>() {
                Some(error) => check.failure(run, error),
                None => check.problem("trials.sqlite", format!("{error:#}")),
            }
            (check.of("rollouts judged again"), None)
        }
    }
}

/// All judgements, and of how many rollouts.
fn compare(intact: &Intact, check: &mut Check) -> anyhow::Result<(Judgements, usize)> {
    let (study, store) = (&intact.manifest.study, &intact.store);
    let mut comparison = Comparison {
        store,
        check,
        unclaimed: store.keys()?,
        group: Vec::new(),
        count: 0,
    };
    let judgements = judge(
        study,
        &intact.sealed,
        &intact.text,
        store,
        &mut |judgement| Ok(comparison.take(judgement)?),
    )?;
    comparison.compare_group()?;
    let count = comparison.count;
    let unclaimed = comparison.unclaimed;
    let stored = store.judged_count()?;
    if stored != count {
        let problem = format!(
            "{} are stored, {} derived again",
            counted(stored, "judged rollout"),
            thousands(count)
        );
        check.problem("trials.sqlite", problem);
    }
    check_unclaimed(intact, unclaimed, check)?;
    Ok((judgements, count))
}

/// Rollouts that are neither judged nor of the calibration belong to nothing, unless the study asked for more at an earlier start.
fn check_unclaimed(
    intact: &Intact,
    mut unclaimed: HashSet<TrialKey>,
    check: &mut Check,
) -> anyhow::Result<()> {
    let predictions = intact.sealed.predictions();
    calibrate::rederive(
        &intact.manifest.study,
        &predictions.screening,
        &predictions.calibration,
        &intact.text,
        &intact.store,
        &mut |judgement| {
            let key: TrialKey = (judgement.trial.parse()).expect("trials are named by their keys");
            unclaimed.remove(&key);
            Ok(())
        },
    )?;
    let continued = intact.manifest.environment.started_at.len() > 1;
    if let (Some(first), false) = (unclaimed.iter().min(), continued) {
        let problem = format!(
            "{} to no part of the study; the first is trial {first}",
            match unclaimed.len() {
                1 => "1 rollout belongs".to_owned(),
                many => format!("{} rollouts belong", thousands(many)),
            }
        );
        check.problem("trials.sqlite", problem);
    }
    Ok(())
}

/// Takes judgements rollout by rollout.
struct Comparison<'a> {
    store: &'a TrialStore,
    check: &'a mut Check,
    /// Trials that no judgement was about.
    unclaimed: HashSet<TrialKey>,
    /// Judgements of one rollout under one behaviour.
    group: Vec<RolloutJudgement>,
    count: usize,
}

impl Comparison<'_> {
    fn take(&mut self, judgement: RolloutJudgement) -> Result<(), RecordError> {
        if (self.group.first()).is_some_and(|first| !first.is_of_same_rollout(&judgement)) {
            self.compare_group()?;
        }
        self.group.push(judgement);
        Ok(())
    }

    fn compare_group(&mut self) -> Result<(), RecordError> {
        let Some(first) = self.group.first() else {
            return Ok(());
        };
        self.count += 1;
        let key: TrialKey = (first.trial.parse()).expect("judged trials are named by their keys");
        self.unclaimed.remove(&key);
        let derived: Vec<_> = self.group.iter().map(HorizonJudgement::of).collect();
        let stored = (self.store).judgements_of(&key, &first.behavior, &first.prompt_id);
        let difference = match stored {
            Ok(Some(stored)) => difference::of_values(&stored, &derived),
            Ok(None) => Some("it is not there".into()),
            Err(error @ RecordError::Integrity { .. }) => Some(error.to_string()),
            Err(error) => return Err(error),
        };
        if let Some(difference) = difference {
            let problem = format!(
                "judgement of trial {key} under `{}`: {difference}",
                first.behavior
            );
            self.check.problem("trials.sqlite", problem);
        }
        self.group.clear();
        Ok(())
    }
}
