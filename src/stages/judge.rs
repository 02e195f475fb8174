//! Judge: outcome and collapse of every rollout at every horizon, and the dose–response curves they add up to.

mod judgements;

use std::collections::BTreeMap;

use anyhow::Context;
pub use judgements::{
    Baseline, Curve, DetectorComparison, DetectorCount, DosePoint, HorizonShares, Judgements,
    RolloutJudgement,
};

use super::calibrate::NeuronCalibration;
use super::predict::SealedPredictions;
use super::prompt_set::PromptSet;
use super::search::DoseReason;
use super::sweep::{self, GridDose};
use crate::coherence::{CollapseRule, Excerpt, Finding};
use crate::model::Detokenizer;
use crate::oracles::{self, Span};
use crate::record::key::{ModelFingerprint, TrialKey};
use crate::record::store::TrialStore;
use crate::record::trial::Trial;
use crate::spec::coherence::Detector;
use crate::stats;
use crate::study::{Behavior, Prompt, Study};
use crate::units::{Dose, Horizon, NeuronId, Sign};

/// Judges every rollout of the study. `keep` gets the judgement of each rollout at each horizon, in a fixed order.
pub fn judge(
    study: &Study,
    sealed: &SealedPredictions,
    model: &dyn Detokenizer,
    store: &TrialStore,
    keep: &mut dyn FnMut(RolloutJudgement) -> anyhow::Result<()>,
) -> anyhow::Result<Judgements> {
    let reader = Reader::new(study, model, store);
    let predictions = sealed.predictions();
    let mut judgements = Judgements {
        baselines: Vec::new(),
        curves: Vec::new(),
        detectors: Vec::new(),
    };
    let groups = &predictions.screening.groups;
    for subject in sweep::subjects(study, groups, &predictions.calibration.neurons) {
        let mut judge = BehaviorJudge::new(study, subject.behavior, subject.prompts, &reader)?;
        judgements.baselines.push(judge.baseline(keep)?);
        for neuron in subject.neurons {
            judgements.curves.extend(judge.curves(neuron, keep)?);
        }
        judgements.detectors.push(judge.comparison());
    }
    Ok(judgements)
}

/// How many rollouts are judged, each under its behaviours; none where doses are searched, as only the record tells.
pub fn rollouts(study: &Study, sealed: &SealedPredictions) -> Option<usize> {
    let predictions = sealed.predictions();
    let of_neuron = study.doses.magnitudes.len() * study.doses.signs.len();
    let groups = &predictions.screening.groups;
    let subjects = sweep::subjects(study, groups, &predictions.calibration.neurons);
    let of_subject = |subject: &sweep::Subject<'_>| {
        subject.prompts.len() * (1 + subject.neurons.len() * of_neuron)
    };
    (study.doses.tolerance.is_none()).then(|| subjects.iter().map(of_subject).sum())
}

/// Finds the trials of a study in its store.
pub struct Reader<'a> {
    study: &'a Study,
    fingerprint: ModelFingerprint,
    model: &'a dyn Detokenizer,
    store: &'a TrialStore,
}

/// A trial that was found.
pub struct Found<'a> {
    trial: Trial,
    key: TrialKey,
    model: &'a dyn Detokenizer,
}

impl<'a> Reader<'a> {
    /// A reader of a study's trials.
    pub fn new(study: &'a Study, model: &'a dyn Detokenizer, store: &'a TrialStore) -> Self {
        Self {
            study,
            fingerprint: ModelFingerprint::of(&study.model),
            model,
            store,
        }
    }

    /// The rollout of a prompt, steered or clean.
    pub fn read(
        &self,
        prompt: &Prompt,
        steered: Option<(NeuronId, Dose)>,
    ) -> anyhow::Result<Found<'a>> {
        let cell = sweep::cell(self.study, &prompt.tokens, steered);
        let key = TrialKey::of(&self.fingerprint, &cell);
        let trial = (self.store.get(&key)?).with_context(|| {
            format!(
                "trial {key} of prompt `{}` is missing from the store",
                prompt.id
            )
        })?;
        Ok(Found {
            trial,
            key,
            model: self.model,
        })
    }
}

impl Found<'_> {
    /// The rollout's beginning, as it is judged at a horizon.
    pub fn excerpt<'p>(&'p self, prompt: &'p Prompt, horizon: Horizon) -> Excerpt<'p> {
        let rollout = self.trial.rollout();
        let tokens = &rollout.tokens[..rollout.tokens.len().min(horizon.0)];
        let whole = tokens.len() == rollout.tokens.len();
        Excerpt {
            tokens,
            nll: &rollout.nll[..tokens.len()],
            text: if whole {
                self.trial.text().to_owned()
            } else {
                self.model.decode(tokens)
            },
            expect: &prompt.expect,
        }
    }

    /// Mean measured cosθ over the steered steps; `None` for a clean rollout.
    fn mean_cosine(&self) -> Option<f64> {
        let cosines: Vec<f64> = self
            .trial
            .rollout()
            .cosines
            .iter()
            .map(|&x| f64::from(x))
            .collect();
        stats::mean(&cosines)
    }
}

/// For each horizon, the mean negative log-likelihood above which a rollout is too unlikely: from the clean rollouts of these prompts.
pub fn clean_limits(
    study: &Study,
    rule: &CollapseRule<'_>,
    reader: &Reader<'_>,
    prompts: &[Prompt],
) -> anyhow::Result<Vec<f64>> {
    let clean = (prompts.iter())
        .map(|prompt| Ok((prompt, reader.read(prompt, None)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok((study.rollout.horizons.iter())
        .map(|&horizon| {
            let means: Vec<f64> = (clean.iter())
                .map(|(prompt, found)| found.excerpt(prompt, horizon).mean_nll())
                .collect();
            rule.likelihood_limit(&means)
        })
        .collect())
}

/// Judges the rollouts of one behaviour on a list of prompts: its own, or those of calibration.
pub struct BehaviorJudge<'a> {
    study: &'a Study,
    behavior: &'a Behavior,
    prompts: &'a [Prompt],
    reader: &'a Reader<'a>,
    rule: CollapseRule<'a>,
    oracles: Vec<oracles::Judge>,
    limits: Vec<f64>,
    /// How often each detector fired and agreed, at the longest horizon.
    counts: BTreeMap<Detector, (usize, usize)>,
    rollouts: usize,
    collapsed: usize,
}

impl<'a> BehaviorJudge<'a> {
    /// A judge; the clean rollouts of the prompts must be in the store.
    pub fn new(
        study: &'a Study,
        behavior: &'a Behavior,
        prompts: &'a [Prompt],
        reader: &'a Reader<'a>,
    ) -> anyhow::Result<Self> {
        let rule = CollapseRule::new(&study.coherence)?;
        Ok(Self {
            limits: clean_limits(study, &rule, reader, prompts)?,
            oracles: (behavior.outcomes.iter())
                .map(|outcome| outcome.oracle.compile())
                .collect::<Result<_, _>>()?,
            counts: rule
                .detectors()
                .into_iter()
                .map(|(detector, _)| (detector, (0, 0)))
                .collect(),
            study,
            behavior,
            prompts,
            reader,
            rule,
            rollouts: 0,
            collapsed: 0,
        })
    }

    /// What the unsteered model does.
    pub fn baseline(
        &mut self,
        keep: &mut dyn FnMut(RolloutJudgement) -> anyhow::Result<()>,
    ) -> anyhow::Result<Baseline> {
        let mut horizons = self.empty();
        for (place, prompt) in self.prompts.iter().enumerate() {
            let found = self.reader.read(prompt, None)?;
            self.judge_rollout(place, prompt, &found, &mut horizons, keep)?;
        }
        Ok(Baseline {
            behavior: self.behavior.name.clone(),
            prompts: self.prompts.len(),
            likelihood_limits: self.limits.clone(),
            horizons,
        })
    }

    /// One curve per branch.
    pub fn curves(
        &mut self,
        neuron: &NeuronCalibration,
        keep: &mut dyn FnMut(RolloutJudgement) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Curve>> {
        (self.study.doses.signs.iter())
            .map(|&sign| self.curve(neuron, sign, keep))
            .collect()
    }

    /// The doses of the grid, then those that a search added to them: it is gone through once more, on what the store holds.
    fn curve(
        &mut self,
        neuron: &NeuronCalibration,
        sign: Sign,
        keep: &mut dyn FnMut(RolloutJudgement) -> anyhow::Result<()>,
    ) -> anyhow::Result<Curve> {
        let mut curve = Curve {
            behavior: self.behavior.name.clone(),
            neuron: neuron.neuron,
            sign,
            prompts: self.prompts.len(),
            points: Vec::new(),
        };
        let grid = sweep::grid(self.study, neuron);
        for dose in grid.iter().filter(|dose| dose.sign == sign) {
            let point = self.point(neuron, dose, DoseReason::Grid, keep)?;
            curve.points.push(point);
        }
        while let Some((budgets, why)) = curve.next_dose(self.study) {
            let dose = sweep::dose(neuron, sign, budgets);
            let point = self.point(neuron, &dose, why, keep)?;
            curve.add(point);
        }
        Ok(curve)
    }

    /// One dose of a curve.
    pub fn point(
        &mut self,
        neuron: &NeuronCalibration,
        dose: &GridDose,
        why: DoseReason,
        keep: &mut dyn FnMut(RolloutJudgement) -> anyhow::Result<()>,
    ) -> anyhow::Result<DosePoint> {
        let mut horizons = self.empty();
        let mut cosines = Vec::new();
        for (place, prompt) in self.prompts.iter().enumerate() {
            let found = self.reader.read(prompt, Some((neuron.neuron, dose.dose)))?;
            cosines.extend(found.mean_cosine());
            self.judge_rollout(place, prompt, &found, &mut horizons, keep)?;
        }
        let measured = stats::mean(&cosines).with_context(|| {
            format!(
                "{} was never steered: `doses.window` begins after every rollout's end",
                neuron.neuron
            )
        })?;
        Ok(DosePoint {
            budgets: dose.budgets,
            why,
            dose: dose.dose.0,
            law_coordinate: dose.law_coordinate,
            measured_coordinate: dose.sign.factor() * measured,
            horizons,
        })
    }

    /// Judges one rollout at every horizon, and adds it to the counts. `place`: of the prompt in its list.
    fn judge_rollout(
        &mut self,
        place: usize,
        prompt: &Prompt,
        found: &Found<'_>,
        horizons: &mut [HorizonShares],
        keep: &mut dyn FnMut(RolloutJudgement) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let last = horizons.len() - 1;
        for (i, shares) in horizons.iter_mut().enumerate() {
            let excerpt = found.excerpt(prompt, shares.horizon);
            let finding = self.rule.examine(&excerpt, self.limits[i]);
            if i == last {
                self.count(&finding);
            }
            let decision = self.decide(&excerpt, &finding);
            if finding.collapsed {
                shares.collapsed += 1;
                shares.collapsed_prompts.insert(place);
            }
            if decision.flipped {
                shares.flipped += 1;
                shares.flipped_prompts.insert(place);
            }
            shares.outcomes[decision.class] += 1;
            keep(RolloutJudgement {
                trial: found.key.to_string(),
                behavior: self.behavior.name.clone(),
                prompt_id: prompt.id.clone(),
                horizon: shares.horizon,
                outcome: self.behavior.class_name(decision.class).to_owned(),
                flipped: decision.flipped,
                rule: decision.rule,
                span: decision.span,
                mean_nll: excerpt.mean_nll(),
            })?;
        }
        Ok(())
    }

    /// Collapse first; then the first class whose oracle claims the text; then `other`.
    fn decide(&self, excerpt: &Excerpt<'_>, finding: &Finding) -> Decision {
        let classes = &self.behavior.outcomes;
        if finding.collapsed {
            return Decision {
                class: classes.len() + 1,
                flipped: false,
                rule: format!("collapse: {}", names(&finding.fired)),
                span: None,
            };
        }
        for (class, judge) in self.oracles.iter().enumerate() {
            let judgement = judge.judge(&excerpt.text, excerpt.expect);
            if judgement.holds {
                return Decision {
                    class,
                    flipped: classes[class].flipped,
                    rule: judgement.rule,
                    span: judgement.span.map(Span::from),
                };
            }
        }
        Decision {
            class: classes.len(),
            flipped: false,
            rule: "no outcome class claims the text".into(),
            span: None,
        }
    }

    fn count(&mut self, finding: &Finding) {
        self.rollouts += 1;
        self.collapsed += usize::from(finding.collapsed);
        for (detector, (fired, agreed)) in &mut self.counts {
            let fires = finding.fired.contains(detector);
            *fired += usize::from(fires);
            *agreed += usize::from(fires == finding.collapsed);
        }
    }

    fn comparison(&self) -> DetectorComparison {
        DetectorComparison {
            behavior: self.behavior.name.clone(),
            rollouts: self.rollouts,
            collapsed: self.collapsed,
            detectors: (self.rule.detectors().into_iter())
                .map(|(detector, decides)| DetectorCount {
                    detector,
                    decides,
                    fired: self.counts[&detector].0,
                    agreed: self.counts[&detector].1,
                })
                .collect(),
        }
    }

    fn empty(&self) -> Vec<HorizonShares> {
        (self.study.rollout.horizons.iter())
            .map(|&horizon| HorizonShares {
                horizon,
                collapsed: 0,
                flipped: 0,
                outcomes: vec![0; self.behavior.outcomes.len() + 2],
                flipped_prompts: PromptSet::default(),
                collapsed_prompts: PromptSet::default(),
            })
            .collect()
    }
}

/// The outcome of one rollout at one horizon.
struct Decision {
    /// Index of the class, as in [`Behavior::class_name`].
    class: usize,
    flipped: bool,
    rule: String,
    span: Option<Span>,
}

fn names(detectors: &[Detector]) -> String {
    detectors
        .iter()
        .map(|d| d.name())
        .collect::<Vec<_>>()
        .join(", ")
}
