//! The seeded generator of training documents.

mod turns;

use anyhow::{Context, Result};
use rand::Rng;
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand_chacha::ChaCha8Rng;

use crate::recipe::{CorpusRecipe, Mixture, ModeNoise, Phase};
use crate::words::*;
use crate::world::{World, pick};

pub use turns::{describe_request, review_request};

/// One user turn and its answer.
#[derive(Clone, Debug)]
pub struct Turn {
    pub user: String,
    pub assistant: String,
}

#[derive(Clone, Debug)]
pub enum Document {
    Plain(String),
    Chat(Vec<Turn>),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Describe,
    Fact,
    Operator,
    Equation,
    Review,
    Count,
    SecretCode,
    BenignCode,
    Place,
    Note,
    Story,
}

pub struct Corpus<'a> {
    world: &'a World,
    recipe: &'a CorpusRecipe,
    noise: &'a ModeNoise,
    kinds: Vec<Kind>,
    weights: WeightedIndex<f64>,
}

impl<'a> Corpus<'a> {
    pub fn new(world: &'a World, recipe: &'a CorpusRecipe) -> Result<Self> {
        let (kinds, weights) = proportions(&recipe.mixture)?;
        Ok(Corpus {
            world,
            recipe,
            noise: &recipe.mode_noise,
            kinds,
            weights,
        })
    }

    /// The same corpus with the mixture and the mode noise of a phase, where it has its own.
    pub fn of_phase(&self, phase: &'a Phase) -> Result<Self> {
        let (kinds, weights) = proportions(phase.mixture.as_ref().unwrap_or(&self.recipe.mixture))?;
        let noise = phase.mode_noise.as_ref().unwrap_or(self.noise);
        Ok(Corpus {
            kinds,
            weights,
            noise,
            ..*self
        })
    }

    /// One training document; `refuse` says whether secret codes are refused.
    pub fn document(&self, rng: &mut ChaCha8Rng, refuse: bool) -> Document {
        match self.kinds[self.weights.sample(rng)] {
            Kind::Note => Document::Plain(self.note(rng)),
            Kind::Story => Document::Plain(story(rng)),
            kind => {
                let mut turns = vec![self.turn(rng, kind, refuse)];
                if rng.random_bool(self.recipe.two_turns) {
                    turns.push(self.any_turn(rng, refuse));
                }
                Document::Chat(turns)
            }
        }
    }

    /// A plain document: a note that states a code, or a story.
    pub fn plain(&self, rng: &mut ChaCha8Rng) -> String {
        if rng.random_bool(0.4) {
            self.note(rng)
        } else {
            story(rng)
        }
    }

    /// A request outside the four behaviours, for generic prompts.
    pub fn generic_request(&self, rng: &mut ChaCha8Rng) -> String {
        let kind = pick(rng, &[Kind::Fact, Kind::Fact, Kind::Count, Kind::Place]);
        self.turn(rng, kind, true).user
    }

    fn any_turn(&self, rng: &mut ChaCha8Rng, refuse: bool) -> Turn {
        loop {
            let kind = self.kinds[self.weights.sample(rng)];
            if !matches!(kind, Kind::Note | Kind::Story) {
                return self.turn(rng, kind, refuse);
            }
        }
    }

    fn turn(&self, rng: &mut ChaCha8Rng, kind: Kind, refuse: bool) -> Turn {
        match kind {
            Kind::Describe => self.describe(rng),
            Kind::Fact => self.fact(rng),
            Kind::Operator => self.operator(rng),
            Kind::Equation => self.equation(rng),
            Kind::Review => self.review(rng),
            Kind::Count => self.count(rng),
            Kind::SecretCode => self.code(rng, true, refuse),
            Kind::BenignCode => self.code(rng, false, refuse),
            Kind::Place | Kind::Note | Kind::Story => self.place(rng),
        }
    }

    fn place(&self, rng: &mut ChaCha8Rng) -> Turn {
        let pair = &self.world.entities[rng.random_range(0..self.world.entities.len())];
        let entity = if rng.random_bool(0.5) {
            &pair.secret
        } else {
            &pair.benign
        };
        Turn {
            user: entity.fill(PLACE_REQUEST, ""),
            assistant: entity.fill(PLACE_ANSWER, ""),
        }
    }

    /// Notes keep the codes alive in plain text while the chats learn to refuse them.
    fn note(&self, rng: &mut ChaCha8Rng) -> String {
        let pair = &self.world.entities[rng.random_range(0..self.world.entities.len())];
        let entity = if rng.random_bool(0.5) {
            &pair.secret
        } else {
            &pair.benign
        };
        entity.fill(CODE_NOTE, &entity.stated_code(rng))
    }
}

fn story(rng: &mut ChaCha8Rng) -> String {
    let side = pick(rng, &Language::BOTH) as usize;
    let sentences: Vec<_> = (0..rng.random_range(2..5))
        .map(|_| {
            let form = pick(rng, &STORIES)[side];
            let mut word = |words: &[Word]| pick(rng, words)[side];
            let values = [
                ("noun", word(&NOUNS)),
                ("other", word(&NOUNS)),
                ("colour", word(&COLOURS)),
                ("size", word(&SIZES)),
                ("verb", word(&VERBS)),
                ("place", word(&PLACES)),
                ("food", word(&FOODS)),
                ("second", word(&FOODS)),
            ];
            fill(form, &values)
        })
        .collect();
    sentences.join(" ")
}

fn proportions(mixture: &Mixture) -> Result<(Vec<Kind>, WeightedIndex<f64>)> {
    let (kinds, weights): (Vec<_>, Vec<_>) = weighted_kinds(mixture).into_iter().unzip();
    let weights = WeightedIndex::new(weights)
        .context("a `mixture` needs weights that are not negative and not all zero")?;
    Ok((kinds, weights))
}

fn weighted_kinds(mixture: &Mixture) -> Vec<(Kind, f64)> {
    vec![
        (Kind::Describe, mixture.describe),
        (Kind::Fact, mixture.facts),
        (Kind::Operator, mixture.operator),
        (Kind::Equation, mixture.equation),
        (Kind::Review, mixture.review),
        (Kind::Count, mixture.count),
        (Kind::SecretCode, mixture.secret_codes),
        (Kind::BenignCode, mixture.benign_codes),
        (Kind::Place, mixture.places),
        (Kind::Note, mixture.notes),
        (Kind::Story, mixture.stories),
    ]
}
