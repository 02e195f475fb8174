//! A model that answers from a rule, so that the whole pipeline runs in milliseconds, and every number it should find is known.
//!
//! Geometry: the residual stream at every position of layer `L` is `r = R·(√(1−s)·e₀ ± √s·e₁)`, the sign alternating from position to
//! position, so that its norm is [`residual_norm`] and the leading share of its spectrum is [`LEADING_SHARE`]. A neuron writes
//! `v = w·(a·e₀ + √(1−a²)·e₂₊ᵢ)`, so that `B = R/w` and `cos(r, v) = c0` exactly, and cosθ after a dose follows the law. A random
//! direction has `B = R` and the `c0` that it happens to have at a position. No norm follows the feed-forward; its output, and the input of
//! the first block, are 0. What is written stays in the stream up to the last block.
//!
//! Behaviour: a [`Script`] names, for any context, the word that a healthy model says next, the word of a model whose behaviour has
//! flipped, and that of one that has collapsed. Each branch of each neuron has the budgets at which it flips and collapses.

use std::collections::BTreeMap;

use super::{
    Attribution, Cell, Detokenizer, FfnNorm, FirstStep, LanguageModel, ModelError, Observed, Probe,
    Rollout, Sequence, Shape, Steering, random_direction,
};
use crate::law::{coherence_budget, control_coordinate};
use crate::stop::Stop;
use crate::units::{Budgets, NeuronId, TokenId};

/// `λ₁/Σλ` of the residual stream over an even number of positions.
pub const LEADING_SHARE: f64 = 0.8;
/// The token that ends a text.
pub const END: TokenId = 0;

/// Logits: the word that the script says, the flipped word while it is held back, the word of a collapsed model. All others have 0.
const SAID: f32 = 6.0;
const HELD_BACK: f32 = 5.5;
const COLLAPSED: f32 = 12.0;
/// What the flipped word gains up to the dose at which it flips.
const GAINED: f32 = 0.5;
/// A dose in budgets goes through `f32` activation units and comes back with this relative error at most.
const ROUNDING: f64 = 1e-6;

/// What may follow a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Said by the unsteered model.
    pub clean: TokenId,
    /// Said when the behaviour has flipped.
    pub flipped: TokenId,
    /// Said when the output has collapsed.
    pub collapsed: TokenId,
}

/// What may follow a context: the prompt and everything generated after it.
pub type Script = Box<dyn Fn(&[TokenId]) -> Next + Send + Sync>;

/// The words of [`count`].
pub const COUNTING: [&str; 15] = [
    "<end>", "one", "two", "three", "four", "five", "un", "deux", "trois", "quatre", "cinq", "zz",
    "count", "compte", "please",
];

/// A script that counts `one two … five` and ends, or, flipped, `un deux … cinq`. Once it speaks French, it stays in it: a flip surprises
/// the unsteered model by one token only. Collapsed, it says `zz` for ever.
pub fn count(context: &[TokenId]) -> Next {
    const ENGLISH: TokenId = 1;
    const FRENCH: TokenId = 6;
    const NOISE: TokenId = 11;
    let counted = (context.iter().rev()).find(|word| (ENGLISH..NOISE).contains(*word));
    let (clean, flipped) = match counted {
        None => (ENGLISH, FRENCH),
        // After the last word of a language.
        Some(&word) if word + 1 == FRENCH || word + 1 == NOISE => (END, END),
        Some(&word) if word < FRENCH => (word + 1, word + 1 + FRENCH - ENGLISH),
        Some(&word) => (word + 1, word + 1),
    };
    Next {
        clean,
        flipped,
        collapsed: NOISE,
    }
}

/// What one branch of a neuron does, in budgets `|g|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branch {
    /// The behaviour flips from here on; never when absent.
    pub flips_at: Option<f64>,
    /// The flip shows only after this many tokens.
    pub flips_after: usize,
    /// The output collapses from here on; never when absent.
    pub collapses_at: Option<f64>,
}

/// The geometry and effect of a neuron; of a random direction, its effect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScriptedNeuron {
    /// `‖v‖`, above 0.
    pub write_norm: f64,
    /// `cos(r, v)` before any dose, at most `√LEADING_SHARE` in size.
    pub c0: f64,
    /// Doses above zero.
    pub positive: Branch,
    /// Doses below zero.
    pub negative: Branch,
    /// The neuron's activation is 1 where the context holds this token, else 0.
    pub reads: Option<TokenId>,
}

impl Default for ScriptedNeuron {
    /// A neuron without a behaviour, which collapses at 1.5 budgets on both branches.
    fn default() -> Self {
        let branch = Branch {
            flips_at: None,
            flips_after: 0,
            collapses_at: Some(1.5),
        };
        Self {
            write_norm: 0.5,
            c0: 0.0,
            positive: branch,
            negative: branch,
            reads: None,
        }
    }
}

/// `‖r_L‖` at every position of a layer.
pub fn residual_norm(layer: usize) -> f64 {
    4.0 * (layer + 1) as f64
}

/// A model that answers from a rule. Sampling is ignored: it always says what its script says.
pub struct ScriptedModel {
    shape: Shape,
    words: Vec<String>,
    script: Script,
    neurons: BTreeMap<NeuronId, ScriptedNeuron>,
    stop: Stop,
}

impl ScriptedModel {
    /// A model whose words are `words`; the first one ends a text.
    pub fn new(words: &[&str], layers: usize, d_ff: usize, script: Script) -> Self {
        Self {
            shape: Shape {
                family: "scripted".into(),
                layers,
                d_model: d_ff + 2,
                d_ff,
                vocab: words.len(),
                context: 1024,
                norm_after_ffn: false,
                parameters: 1_000_000,
            },
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            script,
            neurons: BTreeMap::new(),
            stop: Stop::default(),
        }
    }

    /// A model that answers any prompt as [`count`] says.
    pub fn two_languages(layers: usize, d_ff: usize) -> Self {
        Self::new(&COUNTING, layers, d_ff, Box::new(count))
    }

    /// Gives one neuron a geometry and an effect of its own, or a random direction an effect.
    pub fn with_neuron(mut self, neuron: NeuronId, scripted: ScriptedNeuron) -> Self {
        self.neurons.insert(neuron, scripted);
        self
    }

    /// Tokens of words between white space.
    ///
    /// # Errors
    /// The first word that the model does not know.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, String> {
        text.split_whitespace()
            .map(|word| {
                (self.words.iter().position(|known| known == word))
                    .map(|id| id as TokenId)
                    .ok_or_else(|| format!("the scripted model does not know the word `{word}`"))
            })
            .collect()
    }

    /// `B = ‖r_L‖ / ‖v‖`, which calibration should find.
    pub fn budget(&self, neuron: NeuronId) -> f64 {
        coherence_budget(residual_norm(neuron.layer), self.neuron(neuron).write_norm)
    }

    fn neuron(&self, neuron: NeuronId) -> ScriptedNeuron {
        let scripted = self.neurons.get(&neuron).copied().unwrap_or_default();
        match neuron.direction() {
            Some(_) => ScriptedNeuron {
                write_norm: 1.0,
                ..scripted
            },
            None => scripted,
        }
    }

    /// What a dose does at a position.
    fn push(&self, steering: Steering, position: usize) -> Push {
        let neuron = self.neuron(steering.neuron);
        let g = f64::from(steering.dose.0) / self.budget(steering.neuron);
        let branch = match g >= 0.0 {
            true => neuron.positive,
            false => neuron.negative,
        };
        Push {
            g: Budgets(g),
            c0: match steering.neuron.direction() {
                Some(_) => self.alignment(steering.neuron, position),
                None => neuron.c0,
            },
            branch,
        }
    }

    /// `cos(r, v)` of a random direction at a position.
    fn alignment(&self, direction: NeuronId, position: usize) -> f64 {
        let residual = self.residual(direction.layer, position);
        let products = residual.iter().zip(self.write_direction(direction));
        let dot: f64 = products.map(|(r, v)| f64::from(*r) * f64::from(v)).sum();
        dot / residual_norm(direction.layer)
    }

    /// Logits after a context, of which `step` tokens were generated.
    fn logits(&self, context: &[TokenId], step: usize, push: Option<Push>) -> Vec<f32> {
        let next = (self.script)(context);
        let mut logits = vec![0.0; self.words.len()];
        if next.flipped != next.clean {
            let flipped = push.map_or(HELD_BACK, |push| push.flipped_logit(step));
            logits[next.flipped as usize] = flipped;
        }
        logits[next.clean as usize] = SAID;
        if push.is_some_and(|push| push.collapses()) {
            logits[next.collapsed as usize] = COLLAPSED;
        }
        logits
    }

    fn rollout(&self, cell: &Cell<'_>) -> Result<Rollout, ModelError> {
        self.check(cell)?;
        let mut context = cell.prompt.to_vec();
        let mut rollout = Rollout {
            tokens: Vec::new(),
            ended: false,
            nll: Vec::new(),
            cosines: Vec::new(),
        };
        for step in 0..cell.horizon {
            let active = cell.steering.filter(|_| is_steered(cell, step));
            let active = active.map(|steering| self.push(steering, context.len() - 1));
            rollout.cosines.extend(active.map(|push| push.cosine()));
            let token = largest(&self.logits(&context, step, active));
            let unsteered = self.logits(&context, step, None);
            rollout.nll.push(surprise(&unsteered, token));
            rollout.tokens.push(token);
            context.push(token);
            rollout.ended = token == END;
            if cell.is_over(&rollout) {
                break;
            }
        }
        Ok(rollout)
    }

    /// The same cells are refused as by a real model.
    fn check(&self, cell: &Cell<'_>) -> Result<(), ModelError> {
        let refuse = |why: String| {
            let steering = match cell.steering {
                Some(steering) => format!("dose {} on {}", steering.dose.0, steering.neuron),
                None => "none".into(),
            };
            Err(ModelError::NotApplied { steering, why })
        };
        if cell.prompt.is_empty() {
            return refuse("the prompt is empty".into());
        }
        if let Some(token) = (cell.prompt.iter()).find(|id| **id as usize >= self.words.len()) {
            return refuse(format!("the model has no token {token}"));
        }
        if cell.prompt.len() + cell.horizon > self.shape.context + 1 {
            return refuse("the context is too short".into());
        }
        match cell.steering {
            Some(Steering { neuron, dose, .. })
                if !neuron.is_in(self.shape.layers, self.shape.d_ff) || !dose.0.is_finite() =>
            {
                refuse("no such neuron, or the dose is not finite".into())
            }
            _ => Ok(()),
        }
    }

    /// The residual stream of a layer at a position, `[d_model]`.
    fn residual(&self, layer: usize, position: usize) -> Vec<f32> {
        let sign = if position.is_multiple_of(2) {
            1.0
        } else {
            -1.0
        };
        let mut residual = vec![0.0; self.shape.d_model];
        residual[0] = (residual_norm(layer) * LEADING_SHARE.sqrt()) as f32;
        residual[1] = (residual_norm(layer) * sign * (1.0 - LEADING_SHARE).sqrt()) as f32;
        residual
    }

    /// Activations of a layer after a context, `[d_ff]`.
    fn activations(&self, layer: usize, context: &[TokenId]) -> Vec<f32> {
        (0..self.shape.d_ff)
            .map(|index| match self.neuron(NeuronId { layer, index }).reads {
                Some(token) if context.contains(&token) => 1.0,
                _ => 0.0,
            })
            .collect()
    }
}

/// A neuron's dose, as its branch sees it.
#[derive(Clone, Copy)]
struct Push {
    g: Budgets,
    c0: f64,
    branch: Branch,
}

impl Push {
    fn reaches(self, threshold: f64) -> bool {
        self.g.0 != 0.0 && self.g.0.abs() >= threshold * (1.0 - ROUNDING)
    }

    fn collapses(self) -> bool {
        self.branch.collapses_at.is_some_and(|at| self.reaches(at))
    }

    fn cosine(self) -> f32 {
        control_coordinate(self.g.0, self.c0) as f32
    }

    /// Rises with the dose, and passes the clean word's where the branch flips.
    fn flipped_logit(self, step: usize) -> f32 {
        let Some(at) = self.branch.flips_at else {
            return HELD_BACK;
        };
        let share = (self.g.0.abs() / at) as f32;
        match self.reaches(at) && step >= self.branch.flips_after {
            true => SAID + GAINED * share,
            false => HELD_BACK + GAINED * share.min(0.99),
        }
    }
}

impl Detokenizer for ScriptedModel {
    fn decode(&self, tokens: &[TokenId]) -> String {
        let words = tokens.iter().filter(|id| **id != END);
        let words: Vec<&str> = words
            .filter_map(|id| self.words.get(*id as usize).map(String::as_str))
            .collect();
        words.join(" ")
    }
}

impl LanguageModel for ScriptedModel {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn stop_on(&mut self, stop: Stop) {
        self.stop = stop;
    }

    fn write_direction(&self, neuron: NeuronId) -> Vec<f32> {
        if let Some(number) = neuron.direction() {
            return random_direction(neuron.layer, number, self.shape.d_model);
        }
        let scripted = self.neuron(neuron);
        let along = scripted.c0 / LEADING_SHARE.sqrt();
        let mut direction = vec![0.0; self.shape.d_model];
        direction[0] = (scripted.write_norm * along) as f32;
        direction[2 + neuron.index] = (scripted.write_norm * (1.0 - along * along).sqrt()) as f32;
        direction
    }

    fn ffn_norm(&self, _layer: usize) -> Option<FfnNorm> {
        None
    }

    /// Token `t` is read off axis `2 + t mod d_ff`.
    fn readout_direction(&self, token: TokenId) -> Vec<f32> {
        let mut direction = vec![0.0; self.shape.d_model];
        direction[2 + token as usize % self.shape.d_ff] = 1.0;
        direction
    }

    fn logits_of(&self, residual: &[f32]) -> Result<Vec<f32>, ModelError> {
        let axis = |token: usize| residual[2 + token % self.shape.d_ff];
        Ok((0..self.words.len()).map(axis).collect())
    }

    fn observe(
        &self,
        sequences: &[Sequence<'_>],
        probe: Probe,
        visit: &mut dyn FnMut(usize, Observed),
    ) -> Result<(), ModelError> {
        for (number, sequence) in sequences.iter().enumerate() {
            self.stop.check()?;
            let positions = sequence.from..sequence.tokens.len();
            let context = |position: usize| &sequence.tokens[..=position];
            let per_layer = |wanted: bool, read: &dyn Fn(usize, usize) -> Vec<f32>| {
                let layers = 0..if wanted { self.shape.layers } else { 0 };
                layers
                    .map(|layer| positions.clone().flat_map(|at| read(layer, at)).collect())
                    .collect()
            };
            let mut observed = Observed {
                residuals: per_layer(probe.residuals, &|layer, at| self.residual(layer, at)),
                activations: per_layer(probe.activations, &|layer, at| {
                    self.activations(layer, context(at))
                }),
                ffn_outputs: per_layer(probe.ffn_outputs, &|_, _| vec![0.0; self.shape.d_model]),
                embedded: match probe.embedded {
                    true => vec![0.0; positions.len() * self.shape.d_model],
                    false => Vec::new(),
                },
                logits: Vec::new(),
            };
            if probe.logits {
                let logits = positions
                    .clone()
                    .flat_map(|at| self.logits(context(at), 0, None));
                observed.logits = logits.collect();
            }
            visit(number, observed);
        }
        Ok(())
    }

    fn first_steps(
        &self,
        cells: &[Cell<'_>],
        visit: &mut dyn FnMut(usize, FirstStep<'_>),
    ) -> Result<(), ModelError> {
        for (number, cell) in cells.iter().enumerate() {
            self.stop.check()?;
            self.check(cell)?;
            let last = cell.prompt.len() - 1;
            let steering = cell.steering.filter(|_| is_steered(cell, 0));
            let mut residual = self.residual(self.shape.layers - 1, last);
            if let Some(steering) = steering {
                let direction = self.write_direction(steering.neuron);
                for (r, v) in residual.iter_mut().zip(direction) {
                    *r += steering.dose.0 * v;
                }
            }
            let push = steering.map(|steering| self.push(steering, last));
            let step = FirstStep {
                logits: &self.logits(cell.prompt, 0, push),
                residual: &residual,
            };
            visit(number, step);
        }
        Ok(())
    }

    fn attributions(
        &self,
        prompts: &[&[TokenId]],
        targets: &[TokenId],
        controls: &[TokenId],
        visit: &mut dyn FnMut(usize, Attribution),
    ) -> Result<(), ModelError> {
        let known = |token: &TokenId| (*token as usize) < self.words.len();
        for (number, prompt) in prompts.iter().enumerate() {
            self.stop.check()?;
            let mut tokens = prompt.iter().chain(targets).chain(controls);
            if prompt.is_empty() || !tokens.all(known) {
                return Err(ModelError::NotApplied {
                    steering: "of a gradient".into(),
                    why: "a prompt is empty, or the model does not have one of the tokens".into(),
                });
            }
            visit(number, self.attribution(prompt, targets, controls));
        }
        Ok(())
    }

    fn rollouts(
        &self,
        cells: &[Cell<'_>],
        finished: &mut dyn FnMut(usize, Rollout) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for (number, cell) in cells.iter().enumerate() {
            self.stop.check()?;
            finished(number, self.rollout(cell)?)?;
        }
        Ok(())
    }
}

fn is_steered(cell: &Cell<'_>, step: usize) -> bool {
    cell.steering.is_some_and(|steering| {
        (steering.window).is_none_or(|window| (window.from..window.to).contains(&step))
    })
}

/// The lowest token among those with the largest logit.
fn largest(logits: &[f32]) -> TokenId {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as TokenId
}

/// Negative log-likelihood, in nats.
fn surprise(logits: &[f32], token: TokenId) -> f32 {
    let total: f32 = logits.iter().map(|logit| logit.exp()).sum();
    total.ln() - logits[token as usize]
}

mod attribution;
#[cfg(test)]
mod tests;
