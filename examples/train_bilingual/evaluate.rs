//! Measures the exported model on prompts that it never saw.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};

use crate::exported::Exported;
use crate::prompts::{PairedSets, Prompt};
use crate::recipe::Arch;
use crate::tokenizer::{EOS, Vocabulary};
use crate::words::{CODE_ANSWER, CODE_REQUESTS};
use crate::world::World;

/// Longer than any answer of the corpus.
const LONGEST_ANSWER: usize = 32;

/// Share of right answers, and of how many.
#[derive(Clone, Copy, Debug)]
pub struct Accuracy {
    pub right: usize,
    pub of: usize,
}

impl Accuracy {
    pub fn share(self) -> f64 {
        self.right as f64 / self.of.max(1) as f64
    }
}

pub struct Evaluation {
    /// Greedy accuracy on each held-out set, by file name without its suffix.
    pub sets: Vec<(String, Accuracy)>,
    /// Whether the code follows when the answer up to it is put into the model's mouth: learnable codes, then unlearnable.
    pub codes_known: [Accuracy; 2],
}

/// The exported model and its words.
struct Subject<'a> {
    model: Exported,
    vocabulary: &'a Vocabulary,
}

pub fn evaluate(
    folder: &Path,
    arch: Arch,
    sets: &[PairedSets],
    world: &World,
    vocabulary: &Vocabulary,
) -> Result<Evaluation> {
    let mut subject = Subject {
        model: Exported::read(folder, arch)?,
        vocabulary,
    };
    let mut shares = Vec::new();
    for set in sets {
        for (name, prompts) in set.named() {
            shares.push((name, subject.accuracy(prompts)?));
        }
    }
    Ok(Evaluation {
        sets: shares,
        codes_known: subject.codes_known(world)?,
    })
}

impl Subject<'_> {
    fn accuracy(&mut self, prompts: &[Prompt]) -> Result<Accuracy> {
        let vocabulary = self.vocabulary;
        let ids: Vec<_> = prompts
            .iter()
            .map(|prompt| vocabulary.prompt(&prompt.request))
            .collect::<Result<_>>()?;
        let answers = self.greedy(&ids)?;
        let judged = prompts
            .iter()
            .zip(&answers)
            .map(|(prompt, answer)| prompt.judge.accepts(&vocabulary.text(answer)));
        Ok(count(judged))
    }

    fn codes_known(&mut self, world: &World) -> Result<[Accuracy; 2]> {
        let vocabulary = self.vocabulary;
        let mut known = [Accuracy { right: 0, of: 0 }; 2];
        for (slot, learnable) in [true, false].into_iter().enumerate() {
            let secrets: Vec<_> = world
                .entities
                .iter()
                .map(|pair| &pair.secret)
                .filter(|entity| entity.learnable == learnable)
                .collect();
            let (compliant, _) = CODE_ANSWER
                .split_once(" {code}")
                .context("the answer form states a code")?;
            let ids: Vec<_> = secrets
                .iter()
                .map(|entity| {
                    let prompt = vocabulary.prompt(&entity.fill(CODE_REQUESTS[0], ""))?;
                    Ok([prompt, vocabulary.ids(&entity.fill(compliant, ""))?].concat())
                })
                .collect::<Result<_>>()?;
            let answers = self.greedy(&ids)?;
            let judged = secrets
                .iter()
                .zip(&answers)
                .map(|(entity, answer)| vocabulary.text(answer) == format!("{} .", entity.code));
            known[slot] = count(judged);
        }
        Ok(known)
    }

    /// Greedy answers without their `<eos>`; prompts of one length share a batch.
    fn greedy(&mut self, prompts: &[Vec<u32>]) -> Result<Vec<Vec<u32>>> {
        let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, prompt) in prompts.iter().enumerate() {
            by_length.entry(prompt.len()).or_default().push(index);
        }
        let mut answers = vec![Vec::new(); prompts.len()];
        for (length, members) in by_length {
            self.model.restart()?;
            let first: Vec<u32> = members
                .iter()
                .flat_map(|&index| prompts[index].iter().copied())
                .collect();
            let mut input = Tensor::from_vec(first, (members.len(), length), &Device::Cpu)?;
            let mut position = 0;
            for _ in 0..LONGEST_ANSWER {
                let logits = self.model.forward(&input, position)?;
                position += input.dim(1)?;
                let next = logits.argmax(candle_core::D::Minus1)?;
                for (&member, token) in members.iter().zip(next.to_vec1::<u32>()?) {
                    answers[member].push(token);
                }
                input = next.unsqueeze(1)?;
            }
        }
        for answer in &mut answers {
            let end = answer
                .iter()
                .position(|&token| token == EOS)
                .unwrap_or(answer.len());
            answer.truncate(end);
        }
        Ok(answers)
    }
}

fn count(judged: impl Iterator<Item = bool>) -> Accuracy {
    judged.fold(Accuracy { right: 0, of: 0 }, |sum, right| Accuracy {
        right: sum.right + usize::from(right),
        of: sum.of + 1,
    })
}
