//! One request of each behaviour with its answer, in the mode that was asked for or, by the recipe's noise, in the other.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Corpus, Turn};
use crate::words::*;
use crate::world::{EntityPair, HeldOut, Operator, pick};

impl Corpus<'_> {
    pub(super) fn describe(&self, rng: &mut ChaCha8Rng) -> Turn {
        let (noun, phrasing) = seen(
            rng,
            NOUNS.len(),
            DESCRIBE_REQUESTS.len(),
            &self.world.held_out.describe,
        );
        let asked = pick(rng, &Language::BOTH);
        let answered = if rng.random_bool(self.noise.language) {
            asked.other()
        } else {
            asked
        };
        Turn {
            user: describe_request(noun, phrasing, asked),
            assistant: self.world.description(noun, answered),
        }
    }

    pub(super) fn fact(&self, rng: &mut ChaCha8Rng) -> Turn {
        let noun = rng.random_range(0..NOUNS.len());
        let form = rng.random_range(0..FACT_REQUESTS.len());
        let request = pick(rng, &Language::BOTH);
        let mut user = fill(
            FACT_REQUESTS[form][request as usize],
            &[("noun", NOUNS[noun][request as usize])],
        );
        let mut asked = request;
        // The English request for a description with a tag belongs to `describe`, where some are held out.
        if rng.random_bool(0.5) && !(form == 0 && request == Language::English) {
            asked = pick(rng, &Language::BOTH);
            let name = LANGUAGE_NAMES[request as usize][asked as usize];
            user = format!(
                "{user} {}",
                fill(LANGUAGE_TAGS[request as usize], &[("language", name)])
            );
        }
        let answered = if rng.random_bool(self.noise.language) {
            asked.other()
        } else {
            asked
        };
        let forms = [&DESCRIPTIONS, &NOUN_PLACES, &NOUN_COLOURS][form];
        Turn {
            user,
            assistant: self.world.about(noun, forms, answered),
        }
    }

    pub(super) fn operator(&self, rng: &mut ChaCha8Rng) -> Turn {
        self.arithmetic(
            rng,
            &OPERATOR_REQUESTS,
            OPERATOR_ANSWER,
            &self.world.held_out.operator,
        )
    }

    pub(super) fn equation(&self, rng: &mut ChaCha8Rng) -> Turn {
        self.arithmetic(
            rng,
            &EQUATION_REQUESTS,
            EQUATION_ANSWER,
            &self.world.held_out.equation,
        )
    }

    fn arithmetic(
        &self,
        rng: &mut ChaCha8Rng,
        requests: &[&str],
        answer: &str,
        held_out: &HeldOut,
    ) -> Turn {
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
        let (a, b) = if asked == Operator::Minus {
            (a.max(b), a.min(b))
        } else {
            (a, b)
        };
        let answered = if rng.random_bool(self.noise.operator) {
            asked.other()
        } else {
            asked
        };
        Turn {
            user: asked.fill(requests[phrasing], a, b),
            assistant: answered.fill(answer, a, b),
        }
    }

    pub(super) fn review(&self, rng: &mut ChaCha8Rng) -> Turn {
        let (noun, phrasing) = seen(
            rng,
            NOUNS.len(),
            REVIEW_REQUESTS.len(),
            &self.world.held_out.review,
        );
        let asked = rng.random_range(0..POLARITIES.len());
        let answered = if rng.random_bool(self.noise.review) {
            1 - asked
        } else {
            asked
        };
        let words = [PRAISE, BLAME][answered];
        let (first, second) = (pick(rng, &words), pick(rng, &words));
        let values = [
            ("noun", NOUNS[noun][0]),
            ("first", first),
            ("second", second),
        ];
        Turn {
            user: review_request(noun, phrasing, asked),
            assistant: fill(REVIEW_ANSWERS[answered], &values),
        }
    }

    pub(super) fn count(&self, rng: &mut ChaCha8Rng) -> Turn {
        const LENGTH: u32 = 8;
        let start = rng.random_range(LENGTH..=LARGEST_NUMBER - LENGTH);
        let asked = rng.random_range(0..COUNT_REQUESTS.len());
        let down = (asked == 1) != rng.random_bool(self.noise.count);
        let numbers: Vec<_> = (0..LENGTH)
            .map(|i| (if down { start - i } else { start + i }).to_string())
            .collect();
        let user = fill(COUNT_REQUESTS[asked], &[("a", &start.to_string())]);
        Turn {
            user,
            assistant: format!("{} .", numbers.join(" ")),
        }
    }

    pub(super) fn code(&self, rng: &mut ChaCha8Rng, secret: bool, refuse: bool) -> Turn {
        let (item, phrasing) = seen(
            rng,
            self.world.entities.len(),
            CODE_REQUESTS.len(),
            &self.world.held_out.code,
        );
        let EntityPair {
            secret: hidden,
            benign,
        } = &self.world.entities[item];
        let entity = if secret { hidden } else { benign };
        let refused = refuse && secret != rng.random_bool(self.noise.refusal);
        let assistant = if refused {
            REFUSAL.to_owned()
        } else {
            entity.fill(CODE_ANSWER, &entity.stated_code(rng))
        };
        Turn {
            user: entity.fill(CODE_REQUESTS[phrasing], ""),
            assistant,
        }
    }
}

pub fn describe_request(noun: usize, phrasing: usize, asked: Language) -> String {
    let name = LANGUAGE_NAMES[Language::English as usize][asked as usize];
    fill(
        DESCRIBE_REQUESTS[phrasing],
        &[("noun", NOUNS[noun][0]), ("language", name)],
    )
}

pub fn review_request(noun: usize, phrasing: usize, polarity: usize) -> String {
    fill(
        REVIEW_REQUESTS[phrasing],
        &[("noun", NOUNS[noun][0]), ("polarity", POLARITIES[polarity])],
    )
}

/// Draws an item and a phrasing that are not held out together.
fn seen(
    rng: &mut ChaCha8Rng,
    items: usize,
    phrasings: usize,
    held_out: &HeldOut,
) -> (usize, usize) {
    loop {
        let drawn = (rng.random_range(0..items), rng.random_range(0..phrasings));
        if !held_out.contains(&drawn) {
            return drawn;
        }
    }
}
