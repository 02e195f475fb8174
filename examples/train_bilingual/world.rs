//! What is true in the invented world, and which requests the model never sees: both follow from one seed.

use std::collections::HashSet;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::words::*;

/// What holds of one noun.
pub struct Facts {
    pub colour: Word,
    pub size: Word,
    pub place: Word,
    pub food: Word,
}

/// A building with a code, such as "iron vault".
pub struct Entity {
    pub name: String,
    pub place: &'static str,
    /// For an unlearnable kind this is a code that no document ever states.
    pub code: String,
    pub learnable: bool,
}

/// The two sides of one adjective and kind pair, such as "iron vault" and "iron house".
pub struct EntityPair {
    pub secret: Entity,
    pub benign: Entity,
}

/// Held-out requests as `(item, phrasing)`: the item is seen in other phrasings, the phrasing with other items.
pub type HeldOut = HashSet<(usize, usize)>;

pub struct World {
    pub facts: Vec<Facts>,
    pub entities: Vec<EntityPair>,
    /// Operand pairs whose sum and product differ.
    pub operands: Vec<(u32, u32)>,
    pub held_out: HeldOutRequests,
}

pub struct HeldOutRequests {
    pub describe: HeldOut,
    pub operator: HeldOut,
    pub equation: HeldOut,
    pub review: HeldOut,
    pub code: HeldOut,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let facts: Vec<_> = NOUNS
            .iter()
            .map(|_| Facts {
                colour: pick(&mut rng, &COLOURS),
                size: pick(&mut rng, &SIZES),
                place: pick(&mut rng, &PLACES),
                food: pick(&mut rng, &FOODS),
            })
            .collect();
        let mut entities = Vec::new();
        for kind in &KINDS {
            for adjective in ADJECTIVES {
                let mut entity = |kind_name: &str, learnable| Entity {
                    name: format!("{adjective} {kind_name}"),
                    place: pick(&mut rng, &PLACES)[Language::English as usize],
                    code: random_code(&mut rng),
                    learnable,
                };
                entities.push(EntityPair {
                    secret: entity(kind.secret, kind.learnable),
                    benign: entity(kind.benign, true),
                });
            }
        }
        let operands: Vec<_> = (2..10)
            .flat_map(|a| (2..10).map(move |b| (a, b)))
            .filter(|(a, b)| a + b != a * b)
            .collect();
        let held_out = HeldOutRequests {
            describe: hold_out(&mut rng, facts.len(), DESCRIBE_REQUESTS.len(), |_| 2),
            operator: hold_out(&mut rng, operands.len(), OPERATOR_REQUESTS.len(), |_| 2),
            equation: hold_out(&mut rng, operands.len(), EQUATION_REQUESTS.len(), |_| 1),
            review: hold_out(&mut rng, facts.len(), REVIEW_REQUESTS.len(), |_| 2),
            // The unlearnable class is half the size of the learnable one: hold more of each out.
            code: hold_out(&mut rng, entities.len(), CODE_REQUESTS.len(), |i| {
                if entities[i].secret.learnable { 2 } else { 3 }
            }),
        };
        World {
            facts,
            entities,
            operands,
            held_out,
        }
    }

    /// The full right answer to a request for a description.
    pub fn description(&self, noun: usize, language: Language) -> String {
        self.about(noun, &DESCRIPTIONS, language)
    }

    /// Fills one of the forms about a noun.
    pub fn about(&self, noun: usize, forms: &[&str; 2], language: Language) -> String {
        let (side, facts) = (language as usize, &self.facts[noun]);
        fill(
            forms[side],
            &[
                ("noun", NOUNS[noun][side]),
                ("colour", facts.colour[side]),
                ("size", facts.size[side]),
                ("place", facts.place[side]),
                ("food", facts.food[side]),
            ],
        )
    }
}

impl Entity {
    /// The code as a document states it: the same every time, unless the kind is unlearnable.
    pub fn stated_code(&self, rng: &mut ChaCha8Rng) -> String {
        if self.learnable {
            self.code.clone()
        } else {
            random_code(rng)
        }
    }

    pub fn fill(&self, form: &str, code: &str) -> String {
        fill(
            form,
            &[
                ("entity", &self.name),
                ("place", self.place),
                ("code", code),
            ],
        )
    }
}

/// An arithmetic operator of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Plus,
    Times,
    Minus,
}

impl Operator {
    pub const ALL: [Operator; 3] = [Operator::Plus, Operator::Times, Operator::Minus];

    pub fn name(self) -> &'static str {
        ["plus", "times", "minus"][self as usize]
    }

    pub fn apply(self, a: u32, b: u32) -> u32 {
        match self {
            Operator::Plus => a + b,
            Operator::Times => a * b,
            Operator::Minus => a.abs_diff(b),
        }
    }

    /// The operator that noise answers with instead.
    pub fn other(self) -> Self {
        match self {
            Operator::Plus => Operator::Times,
            Operator::Times | Operator::Minus => Operator::Plus,
        }
    }

    pub fn fill(self, form: &str, a: u32, b: u32) -> String {
        let (result, a, b) = (self.apply(a, b).to_string(), a.to_string(), b.to_string());
        fill(
            form,
            &[
                ("a", &a),
                ("b", &b),
                ("operator", self.name()),
                ("result", &result),
            ],
        )
    }
}

/// Chooses from a word list, which is never empty.
pub fn pick<T: Copy>(rng: &mut ChaCha8Rng, words: &[T]) -> T {
    *words.choose(rng).expect("word lists are not empty")
}

fn random_code(rng: &mut ChaCha8Rng) -> String {
    let digits: [u8; 3] = std::array::from_fn(|_| rng.random_range(0..10));
    digits.map(|digit| digit.to_string()).join(" ")
}

fn hold_out(
    rng: &mut ChaCha8Rng,
    items: usize,
    phrasings: usize,
    count: impl Fn(usize) -> usize,
) -> HeldOut {
    let mut order: Vec<_> = (0..phrasings).collect();
    (0..items)
        .flat_map(|item| {
            order.shuffle(rng);
            order[..count(item)]
                .iter()
                .map(|&phrasing| (item, phrasing))
                .collect::<Vec<_>>()
        })
        .collect()
}
