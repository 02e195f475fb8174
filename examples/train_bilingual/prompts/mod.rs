//! The prompt sets: held-out requests and calibration requests, in pairs that differ in their mode only.

mod files;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::corpus::{describe_request, review_request};
use crate::recipe::PromptRecipe;
use crate::words::*;
use crate::world::{HeldOut, Operator, World};

pub use files::write;

/// How the trainer judges the unsteered answer.
#[derive(Clone, Debug)]
pub enum Judge {
    Exact(String),
    /// A review of this noun in the words of this polarity.
    Review {
        noun: usize,
        polarity: usize,
    },
}

#[derive(Clone, Debug)]
pub struct Prompt {
    pub id: String,
    pub request: String,
    pub expect: Value,
    pub judge: Judge,
}

/// Two sets with the same ids in the same order, one for each mode.
pub struct PairedSets {
    pub behavior: &'static str,
    /// What the two modes are called.
    pub sides: [&'static str; 2],
    pub held_out: [Vec<Prompt>; 2],
    /// Prompts seen in training.
    pub calibration: [Vec<Prompt>; 2],
}

/// The requests of one behaviour: every item in every phrasing, in two modes.
struct Requests<'a> {
    behavior: &'static str,
    sides: [&'static str; 2],
    items: Vec<usize>,
    phrasings: usize,
    held_out: &'a HeldOut,
    /// From item, phrasing and side.
    prompt: fn(&World, usize, usize, usize) -> Prompt,
}

/// Builds the sets of every behaviour.
pub fn paired_sets(world: &World, recipe: &PromptRecipe, seed: u64) -> Vec<PairedSets> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let behaviors = behaviors(world);
    behaviors
        .iter()
        .map(|requests| requests.draw(world, recipe, rng))
        .collect()
}

fn behaviors(world: &World) -> [Requests<'_>; 6] {
    let held = &world.held_out;
    let (known, unknown) =
        (0..world.entities.len()).partition(|&item| world.entities[item].secret.learnable);
    let nouns: Vec<_> = (0..NOUNS.len()).collect();
    let operands: Vec<_> = (0..world.operands.len()).collect();
    [
        Requests {
            behavior: "language",
            sides: ["english", "spanish"],
            items: nouns.clone(),
            phrasings: DESCRIBE_REQUESTS.len(),
            held_out: &held.describe,
            prompt: language_prompt,
        },
        Requests {
            behavior: "operator",
            sides: ["plus", "times"],
            items: operands.clone(),
            phrasings: OPERATOR_REQUESTS.len(),
            held_out: &held.operator,
            prompt: operator_prompt,
        },
        Requests {
            behavior: "equation",
            sides: ["plus", "times"],
            items: operands,
            phrasings: EQUATION_REQUESTS.len(),
            held_out: &held.equation,
            prompt: equation_prompt,
        },
        Requests {
            behavior: "review",
            sides: POLARITIES,
            items: nouns,
            phrasings: REVIEW_REQUESTS.len(),
            held_out: &held.review,
            prompt: review_prompt,
        },
        Requests {
            behavior: "refusal",
            sides: ["secret", "benign"],
            items: known,
            phrasings: CODE_REQUESTS.len(),
            held_out: &held.code,
            prompt: code_prompt,
        },
        Requests {
            behavior: "unknown",
            sides: ["secret", "benign"],
            items: unknown,
            phrasings: CODE_REQUESTS.len(),
            held_out: &held.code,
            prompt: code_prompt,
        },
    ]
}

impl Requests<'_> {
    fn draw(&self, world: &World, recipe: &PromptRecipe, rng: &mut ChaCha8Rng) -> PairedSets {
        let (mut out, mut seen): (Vec<_>, Vec<_>) = self
            .items
            .iter()
            .flat_map(|&item| (0..self.phrasings).map(move |phrasing| (item, phrasing)))
            .partition(|request| self.held_out.contains(request));
        // Shuffled, so that the first few prompts of a set are as mixed as the whole.
        out.shuffle(rng);
        seen.shuffle(rng);
        out.truncate(recipe.held_out);
        seen.truncate(recipe.calibration);
        let prompt =
            |&(item, phrasing): &(usize, usize), side| (self.prompt)(world, item, phrasing, side);
        let both = |requests: &[(usize, usize)]| {
            [0, 1].map(|side| {
                requests
                    .iter()
                    .map(|request| prompt(request, side))
                    .collect()
            })
        };
        PairedSets {
            behavior: self.behavior,
            sides: self.sides,
            held_out: both(&out),
            calibration: both(&seen),
        }
    }
}

impl PairedSets {
    /// The held-out sets with their names, such as `language-english`.
    pub fn named(&self) -> impl Iterator<Item = (String, &[Prompt])> {
        let sides = self.sides.iter().zip(&self.held_out);
        sides.map(|(side, prompts)| (format!("{}-{side}", self.behavior), prompts.as_slice()))
    }

    /// The calibration sets with their names, such as `calibration-language-english`.
    pub fn calibration(&self) -> impl Iterator<Item = (String, &[Prompt])> {
        let sides = self.sides.iter().zip(&self.calibration);
        sides.map(|(side, prompts)| {
            (
                format!("calibration-{}-{side}", self.behavior),
                prompts.as_slice(),
            )
        })
    }
}

fn language_prompt(world: &World, noun: usize, phrasing: usize, side: usize) -> Prompt {
    let answers = Language::BOTH.map(|language| world.description(noun, language));
    let asked = Language::BOTH[side];
    Prompt {
        id: format!("{}-{phrasing}", NOUNS[noun][0]),
        request: describe_request(noun, phrasing, asked),
        expect: json!({Language::English.code(): answers[0], Language::Spanish.code(): answers[1]}),
        judge: Judge::Exact(answers[side].clone()),
    }
}

fn operator_prompt(world: &World, item: usize, phrasing: usize, side: usize) -> Prompt {
    let forms = (OPERATOR_REQUESTS[phrasing], OPERATOR_ANSWER);
    arithmetic_prompt(world, item, phrasing, side, forms)
}

fn equation_prompt(world: &World, item: usize, phrasing: usize, side: usize) -> Prompt {
    let forms = (EQUATION_REQUESTS[phrasing], EQUATION_ANSWER);
    arithmetic_prompt(world, item, phrasing, side, forms)
}

fn arithmetic_prompt(
    world: &World,
    item: usize,
    phrasing: usize,
    side: usize,
    (request, answer): (&str, &str),
) -> Prompt {
    let (a, b) = world.operands[item];
    let asked = [Operator::Plus, Operator::Times][side];
    let result = |operator: Operator| operator.apply(a, b).to_string();
    Prompt {
        id: format!("{a}-{b}-{phrasing}"),
        request: asked.fill(request, a, b),
        expect: json!({"plus": result(Operator::Plus), "times": result(Operator::Times)}),
        judge: Judge::Exact(asked.fill(answer, a, b)),
    }
}

fn review_prompt(_: &World, noun: usize, phrasing: usize, polarity: usize) -> Prompt {
    let name = NOUNS[noun][0];
    Prompt {
        id: format!("{name}-{phrasing}"),
        request: review_request(noun, phrasing, polarity),
        expect: json!({"noun": name}),
        judge: Judge::Review { noun, polarity },
    }
}

fn code_prompt(world: &World, item: usize, phrasing: usize, side: usize) -> Prompt {
    let pair = &world.entities[item];
    let entity = [&pair.secret, &pair.benign][side];
    let answer = if side == 0 {
        REFUSAL.to_owned()
    } else {
        entity.fill(CODE_ANSWER, &entity.code)
    };
    Prompt {
        id: format!("{}-{phrasing}", pair.secret.name.replace(' ', "-")),
        request: entity.fill(CODE_REQUESTS[phrasing], ""),
        expect: json!({"entity": entity.name, "place": entity.place, "code": entity.code}),
        judge: Judge::Exact(answer),
    }
}

impl Judge {
    pub fn accepts(&self, answer: &str) -> bool {
        match self {
            Judge::Exact(right) => answer == right,
            Judge::Review { noun, polarity } => [PRAISE, BLAME][*polarity].iter().any(|first| {
                [PRAISE, BLAME][*polarity].iter().any(|second| {
                    let values = [
                        ("noun", NOUNS[*noun][0]),
                        ("first", first),
                        ("second", second),
                    ];
                    answer == fill(REVIEW_ANSWERS[*polarity], &values)
                })
            }),
        }
    }
}
