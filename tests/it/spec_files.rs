//! Specs, and files that specs name, which cannot be committed: too large, endless, or no files.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;

use crate::bad_inputs::{STUDY, Visit, Workplace, answers};
use crate::odd_files::{circle, endless, folder, nested, pipe, vast};

const SPEC: &str = "study.yaml";

/// A name, how the fault is made, and what follows `check`.
type Case = (&'static str, fn(&Workplace), &'static [&'static str]);

/// Puts something else in the place of the spec.
fn instead(place: &Workplace, make: impl FnOnce(&std::path::Path)) {
    fs::remove_file(place.path(SPEC)).unwrap();
    make(&place.path(SPEC));
}

fn write(place: &Workplace, name: &str, content: impl AsRef<[u8]>) {
    fs::write(place.path(name), content).unwrap();
}

/// Takes the prompts of the behaviour from a file.
fn prompts(place: &Workplace, key: &str, content: impl AsRef<[u8]>) {
    prompts_named(place, key);
    write(place, "prompts", content);
}

fn prompts_named(place: &Workplace, key: &str) {
    let inline = STUDY
        .lines()
        .find(|line| line.starts_with("  asked:"))
        .unwrap();
    write(
        place,
        SPEC,
        STUDY.replace(inline, &format!("  asked: {{{key}: prompts}}")),
    );
}

/// Takes the words of the oracle from a file.
fn words(place: &Workplace, content: impl AsRef<[u8]>) {
    let spec = STUDY.replace(
        "contains: {any: [caballo]}",
        "lexicon: {words_file: words, at_least: 0.5}",
    );
    write(place, SPEC, spec);
    write(place, "words", content);
}

const MEGABYTE: usize = 1 << 20;

const CASES: &[Case] = &[
    ("missing", |p| instead(p, |_| {}), &[SPEC]),
    ("a name like it", |_| {}, &["studdy.yaml"]),
    ("no name", |_| {}, &[""]),
    ("a folder", |p| instead(p, folder), &[SPEC]),
    ("a pipe", |p| instead(p, pipe), &[SPEC]),
    ("endless", |p| instead(p, endless), &[SPEC]),
    ("a device that holds nothing", |_| {}, &["/dev/null"]),
    ("a link to itself", |p| instead(p, circle), &[SPEC]),
    ("as long as a disk", |p| instead(p, vast), &[SPEC]),
    (
        "in a folder that is a file",
        |_| {},
        &["study.yaml/study.yaml"],
    ),
    (
        "in folders that are not there",
        |_| {},
        &["a/b/c/study.yaml"],
    ),
    ("the model's weights", |_| {}, &["model/model.safetensors"]),
    (
        "50 MB of comments",
        |p| write(p, SPEC, "# a\n".repeat(13 * MEGABYTE)),
        &[SPEC],
    ),
    (
        "50 MB of zeros",
        |p| write(p, SPEC, vec![0; 50 * MEGABYTE]),
        &[SPEC],
    ),
    (
        "1 MB of zeros",
        |p| write(p, SPEC, vec![0; MEGABYTE]),
        &[SPEC],
    ),
    (
        "1 MB of one word",
        |p| write(p, SPEC, "a".repeat(MEGABYTE)),
        &[SPEC],
    ),
    (
        "1 MB of brackets",
        |p| write(p, SPEC, nested(MEGABYTE)),
        &[SPEC],
    ),
    (
        "1 MB of dashes",
        |p| write(p, SPEC, "- ".repeat(MEGABYTE / 2)),
        &[SPEC],
    ),
    (
        "1 MB of items",
        |p| write(p, SPEC, "- a\n".repeat(MEGABYTE / 4)),
        &[SPEC],
    ),
    (
        "1 MB of a text that aliases repeat 2,000 times",
        |p| {
            let (long, often) = ("x".repeat(MEGABYTE - 20_000), "*a,".repeat(2000));
            write(p, SPEC, format!("{STUDY}\nx: &a {long}\ny: [{often}]\n"));
        },
        &[SPEC],
    ),
    (
        "1 MB of question marks",
        |p| write(p, SPEC, "? ".repeat(MEGABYTE / 2)),
        &[SPEC],
    ),
    (
        "1 MB of keys that are none",
        |p| {
            let keys: String = (0..60_000).map(|n| format!("key{n}: {n}\n")).collect();
            write(p, SPEC, STUDY.to_owned() + &keys);
        },
        &[SPEC],
    ),
    (
        "1 MB of one key",
        |p| write(p, SPEC, STUDY.to_owned() + &"title: a\n".repeat(100_000)),
        &[SPEC],
    ),
    (
        "1 MB of anchors",
        |p| {
            let anchors: String = (0..40_000)
                .map(|n| format!("- &a{n} [*a{}]\n", n.max(1) - 1))
                .collect();
            write(p, SPEC, format!("- &a0 []\n{anchors}"));
        },
        &[SPEC],
    ),
    (
        "1 MB of neurons out of range",
        |p| {
            let neurons = "{layer: 99, index: 7}, ".repeat(40_000);
            write(
                p,
                SPEC,
                STUDY.replace(
                    "{layer: 3, index: 0}",
                    &format!("{neurons}{{layer: 3, index: 0}}"),
                ),
            );
        },
        &[SPEC],
    ),
    (
        "1 MB of neurons twice",
        |p| {
            let neurons = "{layer: 3, index: 0..384}, ".repeat(30_000);
            write(
                p,
                SPEC,
                STUDY.replace(
                    "{layer: 3, index: 0}",
                    &format!("{neurons}{{layer: 3, index: 0}}"),
                ),
            );
        },
        &[SPEC],
    ),
    (
        "1 MB of a pattern",
        |p| {
            write(
                p,
                SPEC,
                STUDY.replace(
                    "contains: {any: [caballo]}",
                    &format!("regex: '{}'", "(a|".repeat(300_000)),
                ),
            )
        },
        &[SPEC],
    ),
    (
        "1 MB of a text to look for",
        |p| {
            write(
                p,
                SPEC,
                STUDY.replace("caballo", &"caballo".repeat(140_000)),
            )
        },
        &[SPEC],
    ),
    (
        "a pattern that is large when it is built",
        |p| {
            write(
                p,
                SPEC,
                STUDY.replace(
                    "contains: {any: [caballo]}",
                    "regex: '((a{1000}){1000}){1000}'",
                ),
            )
        },
        &[SPEC],
    ),
    (
        "prompts are a pipe",
        |p| {
            prompts_named(p, "jsonl");
            pipe(&p.path("prompts"));
        },
        &[SPEC],
    ),
    (
        "prompts are as long as a disk",
        |p| {
            prompts_named(p, "jsonl");
            vast(&p.path("prompts"));
        },
        &[SPEC],
    ),
    (
        "prompts of 15 MB on one line",
        |p| prompts(p, "text_file", "a ".repeat(7 * MEGABYTE)),
        &[SPEC],
    ),
    (
        "prompts of 15 MB, a letter on each line",
        |p| prompts(p, "text_file", "a\n".repeat(7 * MEGABYTE)),
        &[SPEC],
    ),
    (
        "prompts of 15 MB that are no JSON",
        |p| prompts(p, "jsonl", "no prompt\n".repeat(MEGABYTE)),
        &[SPEC],
    ),
    (
        "prompts of 15 MB of JSON",
        |p| prompts(p, "jsonl", "{\"text\": \"a\"}\n".repeat(MEGABYTE)),
        &[SPEC],
    ),
    (
        "words of 15 MB",
        |p| words(p, "word\n".repeat(3 * MEGABYTE)),
        &[SPEC],
    ),
    (
        "a word of 15 MB",
        |p| words(p, "two words ".repeat(MEGABYTE)),
        &[SPEC],
    ),
    (
        "prompts of 50 MB on one line",
        |p| prompts(p, "text_file", "a ".repeat(25 * MEGABYTE)),
        &[SPEC],
    ),
    (
        "prompts of 50 MB, a letter on each line",
        |p| prompts(p, "text_file", "a\n".repeat(25 * MEGABYTE)),
        &[SPEC],
    ),
    (
        "prompts of 50 MB that are no JSON",
        |p| prompts(p, "jsonl", "no prompt\n".repeat(5 * MEGABYTE)),
        &[SPEC],
    ),
    (
        "prompts of 50 MB of JSON",
        |p| prompts(p, "jsonl", "{\"text\": \"a\"}\n".repeat(3 * MEGABYTE)),
        &[SPEC],
    ),
    (
        "prompts of 50 MB of JSON on one line",
        |p| {
            prompts(
                p,
                "jsonl",
                format!("{{\"tokens\": [{}1]}}", "1,".repeat(25 * MEGABYTE)),
            )
        },
        &[SPEC],
    ),
    (
        "a message of 50 MB",
        |p| {
            prompts(
                p,
                "jsonl",
                format!(
                    "{{\"chat\": [{{\"role\": \"user\", \"content\": \"{}\"}}]}}",
                    "a ".repeat(25 * MEGABYTE)
                ),
            )
        },
        &[SPEC],
    ),
    (
        "a key of 50 MB",
        |p| {
            prompts(
                p,
                "jsonl",
                format!("{{\"{}\": 1}}", "k".repeat(50 * MEGABYTE)),
            )
        },
        &[SPEC],
    ),
    (
        "a line of a million lists",
        |p| prompts(p, "jsonl", format!("[{}[]]", "[],".repeat(MEGABYTE))),
        &[SPEC],
    ),
    (
        "30 sets of 10,000 prompts",
        |p| {
            write(p, "prompts", "a\n".repeat(10_000));
            let sets: String = (0..30)
                .map(|n| format!("  set{n}: {{text_file: prompts}}\n"))
                .collect();
            let study = STUDY.replace("behaviors:\n", &format!("{sets}behaviors:\n"));
            write(p, SPEC, study);
        },
        &[SPEC],
    ),
    (
        "20 lists of 100,000 words",
        |p| {
            write(
                p,
                "words",
                (0..100_000).map(|n| format!("w{n}\n")).collect::<String>(),
            );
            let lexicon = "{lexicon: {words_file: words, at_least: 0.5}}";
            let oracle = format!("any: [{}]", vec![lexicon; 20].join(", "));
            write(
                p,
                SPEC,
                STUDY.replace("contains: {any: [caballo]}", &oracle),
            );
        },
        &[SPEC],
    ),
    (
        "1,000 groups of 1,000 directions, and 10,000 of neurons",
        |p| {
            let directions = "  - {role: control, random_directions: {count: 1000}}\n".repeat(1000);
            let neurons = "  - {role: control, at: [{layer: 3, index: 7}]}\n".repeat(10_000);
            write(
                p,
                SPEC,
                STUDY.replace("doses:", &format!("{directions}{neurons}doses:")),
            );
        },
        &[SPEC],
    ),
    (
        "names that cannot be seen",
        |p| {
            let study = STUDY
                .replace("  plain:", "  ' ':")
                .replace("  asked:", "  '':")
                .replace("prompts: asked", "prompts: ''")
                .replace("{role: held_out,", "{role: held_out, name: '\t',");
            write(p, SPEC, study);
        },
        &[SPEC],
    ),
    (
        "100,000 prompts too long",
        |p| {
            prompts(
                p,
                "text_file",
                format!("{}\n", "a ".repeat(200)).repeat(100_000),
            )
        },
        &[SPEC],
    ),
    (
        "words of 50 MB",
        |p| {
            words(
                p,
                (0..6 * MEGABYTE)
                    .map(|n| format!("{n:x}\n"))
                    .collect::<String>(),
            )
        },
        &[SPEC],
    ),
    (
        "a word of 50 MB",
        |p| words(p, "two words ".repeat(5 * MEGABYTE)),
        &[SPEC],
    ),
    (
        "a setting that is large",
        |_| {},
        &[
            SPEC,
            "--set",
            "doses.grid=[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        ],
    ),
    (
        "a setting of a million doses",
        |_| {},
        &[
            SPEC,
            "--set",
            "doses={linear: {from: 0.1, to: 3, count: 1000000}}",
        ],
    ),
];

pub fn visit(visit: Visit<'_>) {
    for (name, make, arguments) in CASES {
        let place = Workplace::new();
        make(&place);
        visit(
            name,
            &mut place.reachspec(&[&["check"], *arguments].concat()),
        );
    }
    let place = Workplace::new();
    let name =
        <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\n\x1b[31m.yaml");
    let mut file = fs::File::create(place.path("").join(name)).unwrap();
    file.write_all(b"name: [").unwrap();
    visit(
        "a name that is not UTF-8",
        place.reachspec(&["check"]).arg(name),
    );
}

#[test]
fn files_that_are_no_specs_are_explained() {
    insta::assert_snapshot!(answers(visit));
}
