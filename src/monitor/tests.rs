//! What a listener hears, and how the time left is put together.

use super::*;

#[derive(Default)]
struct Heard(Vec<Event>);

impl Listener for Heard {
    fn on(&mut self, event: &Event) {
        self.0.push(event.clone());
    }
}

const EXPECTED: Expected = Expected {
    rollouts: 1000,
    horizons: 2,
    searched: false,
};

fn in_stage(stage: Stage, planned: usize, stored: usize) -> Running {
    Running {
        stage,
        since: 0.0,
        round: None,
        unit: Unit::Rollouts,
        planned,
        done: stored,
        all_planned: planned,
        made: 0,
        stored,
        tokens: 0,
        told: None,
    }
}

#[test]
fn the_stages_to_come_are_part_of_the_time_left() {
    let mut silent = crate::events::Silent;
    let mut monitor = Monitor::new(&mut silent, Stop::default(), EXPECTED, 130);
    let mut clock = 0.0;
    monitor.rollouts.resume(clock);
    while clock < 40.0 {
        clock += 0.1;
        monitor.rollouts.done(clock);
    }
    // 100 of 200 left to calibrate, 700 of 800 to sweep: a tenth of a second each.
    let calibrating = in_stage(Stage::Calibrate, 200, 30);
    let left = monitor.run_seconds_left(&calibrating, 100, clock).unwrap();
    assert!((left - 80.0).abs() < 1.0, "{left}");
    monitor.judgements.resume(0.0);
    (1..=400).for_each(|i| monitor.judgements.done(f64::from(i) * 0.1));
    monitor.judgements.pause(40.0);
    // 1000 rollouts at two horizons.
    let left = monitor.run_seconds_left(&calibrating, 100, clock).unwrap();
    assert!((left - 280.0).abs() < 4.0, "{left}");
    let sweeping = in_stage(Stage::Sweep, 800, 100);
    let left = monitor.run_seconds_left(&sweeping, 50, clock).unwrap();
    assert!((left - 165.0).abs() < 4.0, "{left}");
    monitor.expected.searched = true;
    assert_eq!(monitor.run_seconds_left(&sweeping, 50, clock), None);
}

#[test]
fn many_rollouts_are_few_events() {
    let mut heard = Heard::default();
    let mut monitor = Monitor::new(&mut heard, Stop::default(), EXPECTED, 0);
    monitor.begin(Stage::Sweep).unwrap();
    monitor.rollouts(5000, 10);
    (0..4990).for_each(|_| monitor.rollout_made(2));
    assert_eq!(monitor.work().made, 4990);
    monitor.end();
    let progress = |event: &&Event| matches!(event, Event::Progress(_));
    let told = heard.0.iter().filter(progress).count();
    assert!((1..5).contains(&told), "{told} events");
    let Some(Event::Progress(first)) = heard.0.iter().find(progress) else {
        panic!("nothing was told");
    };
    assert_eq!((first.done, first.planned), (11, 5000));
    assert_eq!(
        (first.run_seconds_left, first.stage_seconds_left),
        (None, None)
    );
    let Some(Event::StageFinished {
        made,
        stored,
        tokens,
        ..
    }) = heard.0.last()
    else {
        panic!("the stage did not end");
    };
    assert_eq!((*made, *stored, *tokens), (4990, 10, 9980));
}

#[test]
fn rounds_are_counted_where_doses_are_searched() {
    let mut heard = Heard::default();
    let searched = Expected {
        searched: true,
        ..EXPECTED
    };
    let mut monitor = Monitor::new(&mut heard, Stop::default(), searched, 0);
    monitor.begin(Stage::Sweep).unwrap();
    monitor.rollouts(40, 40);
    monitor.rollouts(20, 5);
    monitor.rollout_made(3);
    let reached = monitor.reached();
    assert_eq!((reached.kept, reached.planned), (46, 60));
    let Some(Event::Progress(progress)) = heard.0.last() else {
        panic!("nothing was told");
    };
    assert_eq!((progress.round, progress.done), (Some(2), 6));
    assert_eq!((progress.run_done, progress.run_planned), (None, None));
}

#[test]
fn a_request_to_stop_is_heard() {
    let mut silent = crate::events::Silent;
    let stop = Stop::default();
    let mut monitor = Monitor::new(&mut silent, stop.clone(), EXPECTED, 0);
    monitor.begin(Stage::Judge).unwrap();
    monitor.judging(Some(2));
    assert_eq!(monitor.judged(), Ok(()));
    stop.request();
    assert_eq!(monitor.judged(), Err(Stopped));
    assert_eq!(monitor.begin(Stage::Verdict), Err(Stopped));
}
