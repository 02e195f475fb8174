//! The training loop: AdamW, warm-up and cosine decay, clipped gradients.

use std::f64::consts::PI;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use candle_core::backprop::GradStore;
use candle_core::{D, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::batch::{Batch, Source};
use crate::net::Net;
use crate::recipe::Phase;

const REPORT_EVERY: usize = 100;

/// Runs the phases of the recipe on `net`: all, or after a resumption those that follow the last rounded one.
pub fn train(net: &Net, source: &Source, seed: u64, resumed: bool) -> Result<()> {
    let phases = &source.recipe.training.phases;
    let done = if resumed {
        phases
            .iter()
            .rposition(|phase| phase.round)
            .map(|last| last + 1)
    } else {
        Some(0)
    };
    let done = done.context("nothing to resume from: no phase of the recipe has `round: true`")?;
    for (index, phase) in phases.iter().enumerate().skip(done) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed.wrapping_add(index as u64));
        let corpus = source.corpus.of_phase(phase)?;
        run_phase(
            net,
            &Source {
                corpus: &corpus,
                ..*source
            },
            phase,
            rng,
        )?;
        if phase.round {
            net.round()?;
        }
    }
    Ok(())
}

fn run_phase(net: &Net, source: &Source, phase: &Phase, rng: &mut ChaCha8Rng) -> Result<()> {
    let training = &source.recipe.training;
    let weights = net.weights();
    let vars: Vec<Var> = weights.iter().map(|(_, var)| (*var).clone()).collect();
    // Norm weights scale the stream and are not decayed.
    let (matrices, scales): (Vec<_>, Vec<_>) =
        vars.iter().cloned().partition(|var| var.rank() == 2);
    let params = ParamsAdamW {
        lr: 0.0,
        beta1: training.beta1,
        beta2: training.beta2,
        eps: 1e-8,
        weight_decay: 0.0,
    };
    let mut decayed = AdamW::new(
        matrices,
        ParamsAdamW {
            weight_decay: training.weight_decay,
            ..params.clone()
        },
    )?;
    let mut plain = AdamW::new(scales, params)?;
    let (start, mut smoothed, mut pending) = (Instant::now(), None, Vec::new());
    for step in 0..phase.steps {
        let rate = learning_rate(phase, step);
        decayed.set_learning_rate(rate);
        plain.set_learning_rate(rate);
        let batch = Batch::draw(source, phase.refuse, &mut pending, rng)?;
        let (loss, penalty) = losses(net, &batch)?;
        let mut grads = (&loss + (&penalty * training.l1)?)?.backward()?;
        clip(&mut grads, &vars, training.clip)?;
        decayed.step(&grads)?;
        plain.step(&grads)?;
        let loss = f64::from(loss.to_scalar::<f32>()?);
        let mean = smoothed.map_or(loss, |mean| 0.98 * mean + 0.02 * loss);
        ensure!(
            mean.is_finite(),
            "the loss is no longer finite at step {step}; lower `learning_rate` in the recipe"
        );
        smoothed = Some(mean);
        if (step + 1) % REPORT_EVERY == 0 || step + 1 == phase.steps {
            let seconds = start.elapsed().as_secs_f64();
            let penalty = penalty.to_scalar::<f32>()?;
            eprintln!(
                "{} {}/{}: loss {mean:.4}, contributions {penalty:.2}, {seconds:.0} s",
                phase.name,
                step + 1,
                phase.steps
            );
        }
    }
    Ok(())
}

/// Linear warm-up, then a cosine down to 2%.
fn learning_rate(phase: &Phase, step: usize) -> f64 {
    let warmup = phase.warmup.max(1);
    let rising = ((step + 1) as f64 / warmup as f64).min(1.0);
    let along =
        step.saturating_sub(warmup) as f64 / phase.steps.saturating_sub(warmup).max(1) as f64;
    phase.learning_rate * rising * (0.02 + 0.98 * 0.5 * (1.0 + (PI * along).cos()))
}

/// Weighted cross-entropy, and the mean size of the feed-forward contributions.
fn losses(net: &Net, batch: &Batch) -> Result<(Tensor, Tensor)> {
    let outputs = net.forward(&batch.inputs)?;
    let log_probabilities = candle_nn::ops::log_softmax(&outputs.logits.flatten_to(1)?, D::Minus1)?;
    let chosen = log_probabilities
        .gather(&batch.targets, 1)?
        .reshape(batch.weights.shape())?;
    let loss = (chosen * &batch.weights)?.sum_all()?.neg()?;
    let penalty = (outputs.contributions * &batch.counted)?.sum_all()?;
    Ok((loss, penalty))
}

/// Scales all gradients so that their joint norm is at most `limit`.
fn clip(grads: &mut GradStore, vars: &[Var], limit: f64) -> Result<()> {
    let mut squares = 0.0;
    for grad in vars.iter().filter_map(|var| grads.get(var)) {
        squares += f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    let norm = squares.sqrt();
    if norm > limit {
        for var in vars {
            if let Some(grad) = grads.remove(var) {
                grads.insert(var, (grad * (limit / norm))?);
            }
        }
    }
    Ok(())
}
