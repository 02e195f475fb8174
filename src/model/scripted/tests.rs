use super::*;
use crate::spec::doses::{Apply, StepWindow};
use crate::units::Dose;

const NEURON: NeuronId = NeuronId { layer: 1, index: 3 };

fn model() -> ScriptedModel {
    let flips = |flips_at, flips_after| Branch {
        flips_at: Some(flips_at),
        flips_after,
        collapses_at: Some(2.0),
    };
    ScriptedModel::two_languages(3, 8).with_neuron(
        NEURON,
        ScriptedNeuron {
            write_norm: 0.25,
            c0: -0.3,
            positive: flips(0.5, 0),
            negative: flips(1.0, 2),
            reads: Some(13),
        },
    )
}

fn roll(model: &ScriptedModel, g: f64, window: Option<StepWindow>) -> Rollout {
    let prompt = model.encode("please count").unwrap();
    let cell = Cell {
        prompt: &prompt,
        steering: Some(Steering {
            neuron: NEURON,
            dose: Dose((g * model.budget(NEURON)) as f32),
            apply: Apply::Generation,
            window,
        }),
        horizon: 8,
        stop_at_end: true,
        stop_at_loop: None,
        sample: None,
    };
    let mut done = None;
    let mut finished = |_, rollout| {
        done = Some(rollout);
        Ok(())
    };
    model.rollouts(&[cell], &mut finished).unwrap();
    done.unwrap()
}

fn text(g: f64) -> String {
    let model = model();
    model.decode(&roll(&model, g, None).tokens)
}

#[test]
fn each_branch_flips_and_collapses_where_it_says() {
    let noise = ["zz"; 8].join(" ");
    for (g, expected) in [
        (0.0, "one two three four five"),
        (0.49, "one two three four five"),
        (0.5, "un deux trois quatre cinq"),
        (1.99, "un deux trois quatre cinq"),
        (2.0, noise.as_str()),
        (-0.9, "one two three four five"),
        // After two tokens.
        (-1.0, "one two trois quatre cinq"),
        (-2.0, noise.as_str()),
    ] {
        assert_eq!(text(g), expected, "g = {g}");
    }
}

#[test]
fn a_flip_surprises_little_and_a_collapse_much() {
    let model = model();
    let mean = |g| {
        let nll = roll(&model, g, None).nll;
        nll.iter().sum::<f32>() / nll.len() as f32
    };
    assert!(mean(0.5) - mean(0.0) < 0.5);
    assert!(mean(2.0) - mean(0.0) > 4.0);
}

#[test]
fn the_coordinate_follows_the_law() {
    let model = model();
    for g in [-2.0, -0.4, 0.0, 0.6, 1.7] {
        let rollout = roll(&model, g, None);
        assert_eq!(rollout.cosines.len(), rollout.tokens.len());
        let expected = control_coordinate(g, -0.3);
        assert!((f64::from(rollout.cosines[0]) - expected).abs() < 1e-6);
    }
}

#[test]
fn a_window_steers_its_steps_only() {
    let model = model();
    let rollout = roll(&model, 2.0, Some(StepWindow { from: 1, to: 3 }));
    assert_eq!(rollout.cosines.len(), 2);
    assert_eq!(
        model.decode(&rollout.tokens),
        "one zz zz two three four five"
    );
    assert!(rollout.ended);
}

#[test]
fn geometry_is_what_it_says() {
    let model = model();
    let sequence = Sequence {
        tokens: &[14, 13],
        from: 0,
    };
    let probe = Probe {
        residuals: true,
        activations: true,
        logits: true,
        ..Probe::default()
    };
    let v = model.write_direction(NEURON);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let norm = |a: &[f32]| dot(a, a).sqrt();
    let mut visited = 0;
    let mut visit = |_, seen: Observed| {
        visited += 1;
        for r in seen.residuals[1].chunks(10) {
            assert!((norm(r) - 8.0).abs() < 1e-5);
            assert!((dot(r, &v) / norm(r) / norm(&v) + 0.3).abs() < 1e-6);
        }
        // The neuron reads `compte`, which stands at the second position.
        assert_eq!(
            (seen.activations[1][3], seen.activations[1][8 + 3]),
            (0.0, 1.0)
        );
        assert_eq!(seen.logits.len(), 2 * 15);
    };
    model.observe(&[sequence], probe, &mut visit).unwrap();
    assert_eq!(visited, 1);
    assert!((norm(&v) - 0.25).abs() < 1e-6);
    assert_eq!(model.budget(NEURON), 32.0);
}

#[test]
fn a_push_raises_the_flipped_word() {
    let model = model();
    let prompt = model.encode("count").unwrap();
    let logit = |g: f64| {
        let cell = Cell {
            prompt: &prompt,
            steering: Some(Steering {
                neuron: NEURON,
                dose: Dose((g * 32.0) as f32),
                apply: Apply::All,
                window: None,
            }),
            horizon: 0,
            stop_at_end: true,
            stop_at_loop: None,
            sample: None,
        };
        let mut flipped = 0.0;
        let mut visit = |_, step: FirstStep<'_>| flipped = step.logits[6] - step.logits[1];
        model.first_steps(&[cell], &mut visit).unwrap();
        flipped
    };
    assert!(logit(0.0) < logit(0.2) && logit(0.2) < 0.0 && logit(0.5) > 0.0);
}

#[test]
fn gradients_are_those_of_a_central_difference() {
    let model = model();
    let prompt = model.encode("count").unwrap();
    let readout = |dose: f32| {
        let cell = Cell {
            prompt: &prompt,
            steering: Some(Steering {
                neuron: NEURON,
                dose: Dose(dose),
                apply: Apply::Generation,
                window: None,
            }),
            horizon: 1,
            stop_at_end: true,
            stop_at_loop: None,
            sample: None,
        };
        let mut value = 0.0;
        let mut visit = |_, step: FirstStep<'_>| value = step.logits[6] - step.logits[1];
        model.first_steps(&[cell], &mut visit).unwrap();
        value
    };
    let mut found = Attribution::default();
    let mut visit = |_, attribution| found = attribution;
    (model.attributions(&[&prompt], &[6], &[1], &mut visit)).unwrap();
    // Positive doses flip at half the dose of negative ones: a central difference sees half of the difference.
    let difference = (readout(1.0) - readout(-1.0)) / 2.0;
    assert!(difference > 1e-3);
    assert!((found.gradients[NEURON.layer][NEURON.index] - difference).abs() < 1e-6);
    let others = found.gradients.iter().flatten().filter(|g| **g != 0.0);
    assert_eq!(others.count(), 1);
    let refused = model.attributions(&[&prompt], &[99], &[], &mut |_, _| ());
    assert!(refused.is_err());
}

#[test]
fn a_random_direction_moves_the_stream_along_itself() {
    let model = model();
    let prompt = model.encode("please count").unwrap();
    let site = NeuronId::random_direction(1, 4);
    let direction = model.write_direction(site);
    let cell = |dose| Cell {
        prompt: &prompt,
        steering: Some(Steering {
            neuron: site,
            dose: Dose(dose),
            apply: Apply::Generation,
            window: None,
        }),
        horizon: 3,
        stop_at_end: false,
        stop_at_loop: None,
        sample: None,
    };
    let cells = [cell(0.0), cell(5.0)];
    let mut residuals = Vec::new();
    let mut visit = |_, step: FirstStep<'_>| residuals.push(step.residual.to_vec());
    model.first_steps(&cells, &mut visit).unwrap();
    for ((before, after), v) in residuals[0].iter().zip(&residuals[1]).zip(&direction) {
        assert!((after - before - 5.0 * v).abs() < 1e-5);
    }
    assert_eq!(model.budget(site), residual_norm(1));
    let mut cosines = Vec::new();
    let mut finished = |_, rollout: Rollout| {
        cosines = rollout.cosines;
        Ok(())
    };
    model.rollouts(&cells[1..], &mut finished).unwrap();
    for (step, cosine) in cosines.iter().enumerate() {
        let residual = model.residual(1, prompt.len() - 1 + step);
        let moved: Vec<f32> = (residual.iter().zip(&direction))
            .map(|(r, v)| r + 5.0 * v)
            .collect();
        let expected = crate::model::kernels::cosine(&moved, &direction);
        assert!((cosine - expected).abs() < 1e-5, "step {step}");
    }
}

#[test]
fn impossible_cells_are_refused() {
    let model = model();
    assert!(
        model
            .encode("count nothing")
            .unwrap_err()
            .contains("nothing")
    );
    for (prompt, layer) in [(&[][..], 0), (&[99], 0), (&[1], 7)] {
        let steering = Steering {
            neuron: NeuronId { layer, index: 0 },
            dose: Dose(1.0),
            apply: Apply::Generation,
            window: None,
        };
        let cell = Cell {
            prompt,
            steering: Some(steering),
            horizon: 1,
            stop_at_end: true,
            stop_at_loop: None,
            sample: None,
        };
        model.rollouts(&[cell], &mut |_, _| Ok(())).unwrap_err();
    }
}
