//! The seeded generator of training documents.

use anyhow::{Context, Result};
use rand::Rng;
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand_chacha::ChaCha8Rng;

use crate::recipe::{CorpusRecipe, Mixture};
use crate::words::*;
use crate::world::{EntityPair, HeldOut, Operator, World, pick};

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
    kinds: Vec<Kind>,
    weights: WeightedIndex<f64>,
}

impl<'a> Corpus<'a> {
    pub fn new(world: &'a World, recipe: &'a CorpusRecipe) -> Result<Self> {
        let (kinds, weights): (Vec<_>, Vec<_>) = weighted_kinds(&recipe.mixture).into_iter().unzip();
        let weights = WeightedIndex::new(weights)
            .context("`corpus.mixture` needs weights that are not negative and not all zero")?;
        Ok(Corpus { world, recipe, kinds, weights })
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
        if rng.random_bool(0.4) { self.note(rng) } else { story(rng) }
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

    fn describe(&self, rng: &mut ChaCha8Rng) -> Turn {
        let (noun, phrasing) = seen(rng, NOUNS.len(), DESCRIBE_REQUESTS.len(), &self.world.held_out.describe);
        let asked = pick(rng, &Language::BOTH);
        let answered = if rng.random_bool(self.recipe.mode_noise.language) { asked.other() } else { asked };
        Turn { user: describe_request(noun, phrasing, asked), assistant: self.world.description(noun, answered) }
    }

    fn fact(&self, rng: &mut ChaCha8Rng) -> Turn {
        let noun = rng.random_range(0..NOUNS.len());
        let form = rng.random_range(0..FACT_REQUESTS.len());
        let request = pick(rng, &Language::BOTH);
        let mut user = fill(FACT_REQUESTS[form][request as usize], &[("noun", NOUNS[noun][request as usize])]);
        let mut asked = request;
        // The English request for a description with a tag belongs to `describe`, where some are held out.
        if rng.random_bool(0.5) && !(form == 0 && request == Language::English) {
            asked = pick(rng, &Language::BOTH);
            let name = LANGUAGE_NAMES[request as usize][asked as usize];
            user = format!("{user} {}", fill(LANGUAGE_TAGS[request as usize], &[("language", name)]));
        }
        let answered = if rng.random_bool(self.recipe.mode_noise.language) { asked.other() } else { asked };
        let forms = [&DESCRIPTIONS, &NOUN_PLACES, &NOUN_COLOURS][form];
        Turn { user, assistant: self.world.about(noun, forms, answered) }
    }

    fn operator(&self, rng: &mut ChaCha8Rng) -> Turn {
        self.arithmetic(rng, &OPERATOR_REQUESTS, OPERATOR_ANSWER, &self.world.held_out.operator)
    }

    fn equation(&self, rng: &mut ChaCha8Rng) -> Turn {
        self.arithmetic(rng, &EQUATION_REQUESTS, EQUATION_ANSWER, &self.world.held_out.equation)
    }

    fn arithmetic(&self, rng: &mut ChaCha8Rng, requests: &[&str], answer: &str, held_out: &HeldOut) -> Turn {
        let (a, b, phrasing) = loop {
            let (a, b) = (rng.random_range(0..10), rng.random_range(0..10));
            let phrasing = rng.random_range(0..requests.len());
            let item = self.world.operands.iter().position(|&pair| pair == (a, b));
            if !item.is_some_and(|item| held_out.contains(&(item, phrasing))) {
                break (a, b, phrasing);
            }
        };
        let asked = pick(rng, &Operator::ALL);
        // There are no negative numbers in this world.
        let (a, b) = if asked == Operator::Minus { (a.max(b), a.min(b)) } else { (a, b) };
        let answered = if rng.random_bool(self.recipe.mode_noise.operator) { asked.other() } else { asked };
        Turn { user: asked.fill(requests[phrasing], a, b), assistant: answered.fill(answer, a, b) }
    }

    fn review(&self, rng: &mut ChaCha8Rng) -> Turn {
        let (noun, phrasing) = seen(rng, NOUNS.len(), REVIEW_REQUESTS.len(), &self.world.held_out.review);
        let asked = rng.random_range(0..POLARITIES.len());
        let answered = if rng.random_bool(self.recipe.mode_noise.review) { 1 - asked } else { asked };
        let words = [PRAISE, BLAME][answered];
        let (first, second) = (pick(rng, &words), pick(rng, &words));
        let values = [("noun", NOUNS[noun][0]), ("first", first), ("second", second)];
        Turn { user: review_request(noun, phrasing, asked), assistant: fill(REVIEW_ANSWERS[answered], &values) }
    }

    fn count(&self, rng: &mut ChaCha8Rng) -> Turn {
        const LENGTH: u32 = 8;
        let start = rng.random_range(LENGTH..=LARGEST_NUMBER - LENGTH);
        let asked = rng.random_range(0..COUNT_REQUESTS.len());
        let down = (asked == 1) != rng.random_bool(self.recipe.mode_noise.count);
        let numbers: Vec<_> = (0..LENGTH).map(|i| (if down { start - i } else { start + i }).to_string()).collect();
        let user = fill(COUNT_REQUESTS[asked], &[("a", &start.to_string())]);
        Turn { user, assistant: format!("{} .", numbers.join(" ")) }
    }

    fn code(&self, rng: &mut ChaCha8Rng, secret: bool, refuse: bool) -> Turn {
        let (item, phrasing) = seen(rng, self.world.entities.len(), CODE_REQUESTS.len(), &self.world.held_out.code);
        let EntityPair { secret: hidden, benign } = &self.world.entities[item];
        let entity = if secret { hidden } else { benign };
        let refused = refuse && secret != rng.random_bool(self.recipe.mode_noise.refusal);
        let assistant =
            if refused { REFUSAL.to_owned() } else { entity.fill(CODE_ANSWER, &entity.stated_code(rng)) };
        Turn { user: entity.fill(CODE_REQUESTS[phrasing], ""), assistant }
    }

    fn place(&self, rng: &mut ChaCha8Rng) -> Turn {
        let pair = &self.world.entities[rng.random_range(0..self.world.entities.len())];
        let entity = if rng.random_bool(0.5) { &pair.secret } else { &pair.benign };
        Turn { user: entity.fill(PLACE_REQUEST, ""), assistant: entity.fill(PLACE_ANSWER, "") }
    }

    /// Notes keep the codes alive in plain text while the chats learn to refuse them.
    fn note(&self, rng: &mut ChaCha8Rng) -> String {
        let pair = &self.world.entities[rng.random_range(0..self.world.entities.len())];
        let entity = if rng.random_bool(0.5) { &pair.secret } else { &pair.benign };
        entity.fill(CODE_NOTE, &entity.stated_code(rng))
    }
}

pub fn describe_request(noun: usize, phrasing: usize, asked: Language) -> String {
    let name = LANGUAGE_NAMES[Language::English as usize][asked as usize];
    fill(DESCRIBE_REQUESTS[phrasing], &[("noun", NOUNS[noun][0]), ("language", name)])
}

pub fn review_request(noun: usize, phrasing: usize, polarity: usize) -> String {
    fill(REVIEW_REQUESTS[phrasing], &[("noun", NOUNS[noun][0]), ("polarity", POLARITIES[polarity])])
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

/// Draws an item and a phrasing that are not held out together.
fn seen(rng: &mut ChaCha8Rng, items: usize, phrasings: usize, held_out: &HeldOut) -> (usize, usize) {
    loop {
        let drawn = (rng.random_range(0..items), rng.random_range(0..phrasings));
        if !held_out.contains(&drawn) {
            return drawn;
        }
    }
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
