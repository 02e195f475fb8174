//! A rollout is the same bits whatever it is computed beside: the other rows, their order, the number of threads.

use std::path::Path;

use proptest::prelude::*;
use reachspec::coherence::repeats;
use reachspec::model::{
    Cell, LanguageModel, ModelHeader, Resources, Rollout, Steering, Transformer,
};
use reachspec::spec::coherence::RepetitionSpec;
use reachspec::spec::doses::{Apply, StepWindow};
use reachspec::spec::rollout::SampleSpec;
use reachspec::units::{Dose, NeuronId};

/// On two threads, with as many rollouts in flight as there is room for.
fn spacious() -> Transformer {
    load(Resources {
        threads: 2,
        memory: 8 << 30,
    })
}

/// On one thread, with no room for more than a few rollouts.
fn cramped() -> Transformer {
    load(Resources {
        threads: 1,
        memory: 114 << 20,
    })
}

fn load(resources: Resources) -> Transformer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/models/bilingual");
    Transformer::load(ModelHeader::read(&folder).unwrap(), resources).unwrap()
}

fn run(model: &Transformer, cells: &[Cell<'_>]) -> Vec<Rollout> {
    let mut rollouts = vec![None; cells.len()];
    model
        .rollouts(cells, &mut |i, rollout| {
            assert!(
                rollouts[i].replace(rollout).is_none(),
                "cell {i} finished twice"
            );
            Ok(())
        })
        .unwrap();
    rollouts.into_iter().map(Option::unwrap).collect()
}

/// Logits and residual of each cell's first step.
fn first_steps(model: &Transformer, cells: &[Cell<'_>]) -> Vec<(Vec<f32>, Vec<f32>)> {
    let mut steps = vec![(Vec::new(), Vec::new()); cells.len()];
    model
        .first_steps(cells, &mut |i, step| {
            steps[i] = (step.logits.to_vec(), step.residual.to_vec());
        })
        .unwrap();
    steps
}

fn prompts() -> impl Strategy<Value = Vec<Vec<u32>>> {
    prop::collection::vec(prop::collection::vec(5..350_u32, 1..40), 1..4)
}

fn steering() -> impl Strategy<Value = Option<Steering>> {
    let window =
        prop::option::of((0..3_usize, 3..6_usize).prop_map(|(from, to)| StepWindow { from, to }));
    let apply = prop_oneof![Just(Apply::Generation), Just(Apply::All)];
    let index = prop_oneof![
        3 => 0..384_usize,
        1 => NeuronId::FIRST_DIRECTION..NeuronId::FIRST_DIRECTION + 1000,
    ];
    let one = (0..8_usize, index, -400.0..400.0_f32, apply, window).prop_map(
        |(layer, index, dose, apply, window)| Steering {
            neuron: NeuronId { layer, index },
            dose: Dose(dose),
            apply,
            window: window.filter(|_| apply == Apply::Generation),
        },
    );
    prop::option::weighted(0.9, one)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rollout_does_not_depend_on_its_batch(
        prompts in prompts(),
        plan in prop::collection::vec((any::<prop::sample::Index>(), steering(), 1..20_usize, prop::option::of(any::<u64>()), any::<bool>()), 1..60),
    ) {
        let cells: Vec<Cell<'_>> = (plan.iter())
            .map(|(prompt, steering, horizon, seed, stops)| Cell {
                prompt: &prompts[prompt.index(prompts.len())],
                steering: *steering,
                horizon: *horizon,
                stop_at_end: true,
                stop_at_loop: stops.then(RepetitionSpec::default),
                sample: seed.map(|seed| (SampleSpec { temperature: 1.0, top_p: None, top_k: Some(20) }, seed)),
            })
            .collect();
        let together = run(&spacious(), &cells);
        let single = cramped();
        let reversed: Vec<Cell<'_>> = cells.iter().rev().cloned().collect();
        let backwards = run(&single, &reversed);
        prop_assert!(together.iter().eq(backwards.iter().rev()), "the order or the number of threads matters");
        let mut only = vec![Vec::new(); cells.len()];
        single.generate(&cells, &mut |i, tokens| {
            only[i] = tokens;
            Ok(())
        }).unwrap();
        prop_assert!(only.iter().eq(together.iter().map(|rollout| &rollout.tokens)), "tokens alone are others");
        let steps = first_steps(&spacious(), &cells);
        let backwards = first_steps(&single, &reversed);
        prop_assert!(steps.iter().eq(backwards.iter().rev()), "the order or the number of threads matters to a first step");
        for (i, _) in cells.iter().enumerate().filter(|(_, cell)| cell.sample.is_none()) {
            let logits = &steps[i].0;
            let largest = logits.iter().copied().fold(f32::MIN, f32::max);
            prop_assert_eq!(logits[together[i].tokens[0] as usize], largest, "the first step of cell {} is not its rollout's", i);
        }
        for (i, cell) in cells.iter().enumerate().step_by(7) {
            let alone = run(&single, std::slice::from_ref(cell));
            prop_assert_eq!(&alone[0], &together[i], "cell {} alone", i);
        }
    }
}

#[test]
fn a_rollout_that_stops_at_a_loop_is_the_beginning_of_the_whole_one() {
    let model = spacious();
    let prompt = [1, 2, 30, 40, 50, 3];
    let cell = |dose, stop_at_loop| Cell {
        prompt: &prompt,
        steering: Some(Steering {
            neuron: NeuronId {
                layer: 3,
                index: 73,
            },
            dose: Dose(dose),
            apply: Apply::Generation,
            window: None,
        }),
        horizon: 32,
        stop_at_end: false,
        stop_at_loop,
        sample: None,
    };
    let settings = RepetitionSpec::default();
    let doses = [5.0, -5.0, 100.0, -100.0, 1000.0, -1000.0];
    let whole = run(&model, &doses.map(|dose| cell(dose, None)));
    let stopped = run(&model, &doses.map(|dose| cell(dose, Some(settings))));
    let mut shorter = 0;
    for (whole, stopped) in whole.iter().zip(&stopped) {
        let length = stopped.tokens.len();
        assert_eq!(stopped.tokens, whole.tokens[..length]);
        assert_eq!(stopped.nll, whole.nll[..length]);
        assert_eq!(stopped.cosines, whole.cosines[..length]);
        assert!(!repeats(&stopped.tokens[..length - 1], &settings));
        assert_eq!(length < 32, repeats(&whole.tokens[..31], &settings));
        // A loop stays in every longer excerpt.
        assert_eq!(
            repeats(&stopped.tokens, &settings),
            repeats(&whole.tokens, &settings)
        );
        shorter += usize::from(length < 32);
    }
    assert!(shorter > 0, "none of these doses makes a loop");
}

#[test]
fn dose_0_is_no_intervention() {
    let model = cramped();
    let prompt = [1, 2, 30, 40, 50, 3];
    let cell = |steering| Cell {
        prompt: &prompt,
        steering,
        horizon: 24,
        stop_at_end: false,
        stop_at_loop: None,
        sample: None,
    };
    let zero = |apply| {
        Some(Steering {
            neuron: NeuronId { layer: 3, index: 7 },
            dose: Dose(0.0),
            apply,
            window: None,
        })
    };
    let rollouts = run(
        &model,
        &[
            cell(None),
            cell(zero(Apply::Generation)),
            cell(zero(Apply::All)),
        ],
    );
    for rollout in &rollouts[1..] {
        assert_eq!(rollout.tokens, rollouts[0].tokens);
        let bits = |nll: &[f32]| nll.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&rollout.nll), bits(&rollouts[0].nll));
    }
}

#[test]
fn what_cannot_be_applied_is_an_error() {
    let model = cramped();
    let direction = NeuronId::FIRST_DIRECTION;
    for (layer, index, dose) in [
        (8, 0, 1.0),
        (0, 384, 1.0),
        (8, direction, 1.0),
        (0, 0, f32::INFINITY),
    ] {
        let steering = Steering {
            neuron: NeuronId { layer, index },
            dose: Dose(dose),
            apply: Apply::Generation,
            window: None,
        };
        let cell = Cell {
            prompt: &[1, 2, 3],
            steering: Some(steering),
            horizon: 2,
            stop_at_end: true,
            stop_at_loop: None,
            sample: None,
        };
        let error = model.rollouts(&[cell], &mut |_, _| Ok(())).unwrap_err();
        assert!(error.to_string().contains("never applied"), "{error}");
    }
}
