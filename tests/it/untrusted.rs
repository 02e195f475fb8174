//! What others wrote: chat templates, patterns, names and paths of a spec, links in a run folder. None of it runs away, reads or writes
//! where it should not, or is executed or fetched.

#![cfg(unix)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use reachspec::oracles::Oracle;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::numbers::spec;
use crate::tiny::{TinyModel, tokenizer_config};

/// A study of this model with changes, ready to be run.
fn written(model: &TinyModel, change: impl Fn(&mut Value)) -> PathBuf {
    let mut study = spec();
    change(&mut study);
    model.write_json("study.yaml", &study);
    model.file("study.yaml")
}

fn reachspec(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reachspec"))
        .args(arguments)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Nothing in what was said can disturb a terminal, or show it in another order.
pub fn assert_harmless(said: &str, name: &str) {
    let disturbs =
        |c: char| (c.is_control() && !"\n\t".contains(c)) || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!said.contains(disturbs), "{name}: {said:?}");
}

/// Names that would retitle a terminal, overwrite what it shows, or show it in another order.
#[test]
fn names_of_strangers_disturb_no_terminal() {
    const NAMES: [&str; 3] = ["a\u{1b}]0;title\u{7}b", "a\r\u{9b}31mb", "a\u{202e}b"];
    for name in NAMES {
        let model = TinyModel::new();
        let folder = model.path().join(name);
        fs::create_dir(&folder).unwrap();
        for file in ["study.yaml", "run", "missing"].map(|file| folder.join(file)) {
            for command in [
                "check", "plan", "run", "report", "verify", "export", "runs", "inspect",
            ] {
                let output = reachspec(&[command.as_ref(), &file]);
                assert_harmless(&said(&output), command);
                assert_harmless(&String::from_utf8(output.stdout).unwrap(), command);
            }
        }
        // Names of shards, and of a run that there is.
        let path = written(&model, |study| study["name"] = "plain".into());
        let run = folder.join("run");
        for arguments in [
            ["run".as_ref(), path.as_path(), "--out".as_ref(), &run].as_slice(),
            &["verify".as_ref(), &run],
            &["report".as_ref(), &run],
            &["diff".as_ref(), &run, &run],
            &["runs".as_ref(), &folder],
        ] {
            let output = reachspec(arguments);
            assert_eq!(output.status.code(), Some(0), "{}", said(&output));
            assert_harmless(&said(&output), name);
            assert_harmless(&String::from_utf8(output.stdout).unwrap(), name);
        }
        fs::remove_file(model.file("model.safetensors")).unwrap();
        let index = json!({"metadata": {}, "weight_map": {"a": format!("{name}.safetensors")}});
        model.write_json("model.safetensors.index.json", &index);
        for arguments in [
            ["inspect".as_ref(), model.path()],
            ["check".as_ref(), &path],
        ] {
            let output = reachspec(&arguments);
            assert_eq!(output.status.code(), Some(3), "{}", said(&output));
            assert_harmless(&said(&output), name);
        }
    }
}

/// The same with so much address space, in KiB; the thread that renders a chat template reserves 512 MiB of it.
fn limited(kib: usize, arguments: &[&Path]) -> Output {
    Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -v {kib} && exec \"$0\" \"$@\""),
            env!("CARGO_BIN_EXE_reachspec"),
        ])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn greedy_chat_templates_end_soon_in_little_memory() {
    const DOUBLED: &str = "{% set ns = namespace(x=START) %}{% for i in range(99) %}{% set ns.x = STEP %}{% endfor %}{{ ns.x | length }}";
    let doubled = |start: &str, step: &str| DOUBLED.replace("START", start).replace("STEP", step);
    let templates = [
        doubled("'xxxxxxxx'", "ns.x ~ ns.x"),
        doubled("'xxxxxxxx'", "ns.x + ns.x"),
        doubled("'xxxxxxxx'", "ns.x * 2"),
        doubled("'xxxxxxxx'", "ns.x.replace('x', 'xx')"),
        doubled("'xxxxxxxx'", "ns.x | replace('x', 'xx')"),
        doubled("'x y z'", "(ns.x ~ ' ') * 8"),
        doubled("[1, 2, 3]", "ns.x + ns.x"),
        doubled("[1, 2, 3]", "(ns.x | join(',') ~ ns.x | join(',')).split(',')"),
        doubled("{'a': 1}", "{'a': ns.x, 'b': ns.x}") + "{{ ns.x }}",
        doubled("{'a': 1}", "{'a': ns.x, 'b': ns.x}") + "{{ ns.x | tojson }}",
        "{{ 'x' * 1000000000 }}".into(),
        "{{ ('x' * 1000000000) | length }}".into(),
        "{{ [1] * 1000000000 }}".into(),
        "{{ range(1000000000) | list | length }}".into(),
        "{% for a in range(1000000000) %}x{% endfor %}".into(),
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}".into(),
        "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}".into(),
        "{% macro m(n) %}{{ n }}{{ m(n ~ n) }}{{ m(n ~ n) }}{% endmacro %}{{ m('x') }}".into(),
        "{{ '%1000000000d' | format(1) }}".into(),
        "{{ 'x'.rjust(1000000000) }}{{ 'x'.zfill(1000000000) }}".into(),
        "{{ 'abc'[-9223372036854775808:9223372036854775807:-9223372036854775808] }}{{ raise_exception('no') }}".into(),
        "{{ range(9223372036854775807, -9223372036854775807, -9223372036854775807) | list }}{{ raise_exception('no') }}".into(),
        "{% include '/etc/passwd' %}".into(),
        "{% include '../../../../etc/passwd' %}".into(),
        "{% import 'tokenizer.json' as t %}".into(),
        "{% extends 'config.json' %}".into(),
    ];
    for template in templates {
        let model = TinyModel::new();
        let mut config = tokenizer_config();
        config["chat_template"] = template.as_str().into();
        model.write_json("tokenizer_config.json", &config);
        let path = written(&model, |study| {
            study["prompts"]["asked"] =
                json!({"inline": [{"chat": [{"role": "user", "content": "one"}]}]});
        });
        let started = Instant::now();
        let output = limited(2 << 20, &["check".as_ref(), &path]);
        let (took, said) = (started.elapsed(), said(&output));
        // Whether an overflow breaks the template or the exception behind it is raised depends on how this was compiled.
        let raises = template.contains("raise_exception");
        let code = output.status.code();
        let expected = code == Some(3) || (raises && code == Some(2));
        assert!(expected, "{template}: {code:?} {said}");
        assert!(said.contains("the chat template"), "{template}: {said}");
        assert!(
            !said.contains("root:") && !said.contains("panicked"),
            "{template}: {said}"
        );
        assert!(took < Duration::from_secs(30), "{template}: {took:?}");
    }
}

#[test]
fn patterns_match_in_linear_time() {
    let text = "a".repeat(200_000) + "!";
    for pattern in [
        "(a+)+$",
        "(a|aa)+$",
        "(a*)*b",
        "(.*)(.*)(.*)(.*)x",
        "^(a?){50}a{50}b",
        "(?i)(A|a)*c",
    ] {
        let judge = Oracle::Regex(pattern.into()).compile().unwrap();
        let started = Instant::now();
        assert!(!judge.judge(&text, &Default::default()).holds, "{pattern}");
        assert!(started.elapsed() < Duration::from_secs(20), "{pattern}");
    }
    let nested = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
    for pattern in [
        "(a{1000}){1000}",
        r"\pL{9999}",
        "((((a{99}){99}){99}){99}){99}",
        "a{4294967296}",
        &nested,
    ] {
        let started = Instant::now();
        assert!(Oracle::Regex(pattern.into()).compile().is_err());
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{}",
            &pattern[..9]
        );
    }
}

#[test]
fn long_lists_are_checked_in_little_time_and_memory() {
    let model = TinyModel::new();
    let words: Vec<String> = (0..200_000).map(|i| format!("word{i}")).collect();
    model.write("words.txt", words.join("\n"));
    let strings: Vec<String> = (0..20_000).map(|i| format!("string {i}")).collect();
    for (oracle, code) in [
        (
            json!({"lexicon": {"words_file": "words.txt", "at_least": 0.5}}),
            0,
        ),
        (json!({"contains": {"any": strings}}), 0),
        (json!({"contains": {"all": strings}}), 2),
        (
            json!({"any": strings.iter().map(|s| json!({"regex": format!(r"{s}\w{{40}}")})).collect::<Vec<_>>()}),
            2,
        ),
    ] {
        let path = written(&model, |study| {
            study["behaviors"]["says-five"]["flipped_when"] = oracle.clone()
        });
        let started = Instant::now();
        let output = limited(1 << 20, &["check".as_ref(), &path]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{:?}",
            started.elapsed()
        );
    }
}

/// Every file and folder below a folder, sorted.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn no_name_of_a_spec_leads_out_of_the_run_folder() {
    for name in [
        "../evil",
        "..",
        "/tmp/evil",
        "a/b",
        ".hidden",
        "a\\b",
        "a\u{0}b",
        "-x",
        "",
    ] {
        let model = TinyModel::new();
        let before = below(model.path());
        let path = written(&model, |study| study["name"] = name.into());
        for command in ["check", "run"] {
            let output = Command::new(env!("CARGO_BIN_EXE_reachspec"))
                .arg(command)
                .arg(&path)
                .current_dir(model.path())
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(2), "{name:?}: {}", said(&output));
        }
        assert_eq!(below(model.path()).len(), before.len() + 1, "{name:?}");
    }
    let names = [
        "../../evil",
        "/tmp/evil",
        "..",
        "a/../../b",
        "CON",
        "x\u{0}y",
        "<b>&\"'`|$(touch evil)",
    ];
    let model = TinyModel::new();
    let path = written(&model, |study| {
        let behavior = study["behaviors"]["says-five"].clone();
        study["behaviors"] = names
            .iter()
            .map(|name| ((*name).to_owned(), behavior.clone()))
            .collect();
        study["neurons"][0]["name"] = "../../group".into();
        study["prompts"]["asked"]["inline"][0]["id"] = "../../prompt".into();
        study["report"] = json!({"title": "../../title"});
    });
    let parent = TempDir::new().unwrap();
    let run = parent.path().join("a/b/run");
    let output = reachspec(&["run".as_ref(), &path, "--out".as_ref(), &run]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for path in below(parent.path()) {
        let known = path.starts_with(&run) || run.starts_with(&path);
        assert!(known, "{} was written", path.display());
        let name = path.file_name().unwrap().to_str().unwrap();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        assert!(name.chars().all(plain), "{name}");
    }
}

#[test]
fn links_that_somebody_left_in_a_run_folder_are_not_followed() {
    let model = TinyModel::new();
    let path = written(&model, |_| ());
    let parent = TempDir::new().unwrap();
    let (run, elsewhere) = (parent.path().join("run"), parent.path().join("elsewhere"));
    let again = || reachspec(&["run".as_ref(), &path, "--out".as_ref(), &run]);
    assert_eq!(again().status.code(), Some(0));
    fs::create_dir(&elsewhere).unwrap();
    for name in [
        "trials.sqlite",
        "run.lock",
        "trials.sqlite-journal",
        "figures",
        "predictions.json",
        "verdicts.json",
        "manifest.json",
        "report.md",
        "report.html",
        "notes.txt",
        "figures/more.svg",
    ] {
        let (link, target) = (run.join(name), elsewhere.join(name));
        let there = link.exists();
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        if there {
            fs::rename(&link, &target).unwrap();
        } else {
            fs::write(&target, "precious").unwrap();
        }
        symlink(&target, &link).unwrap();
        let contents = |path: &Path| match path.is_dir() {
            true => below(path)
                .iter()
                .map(|file| fs::read(file).unwrap())
                .collect(),
            false => vec![fs::read(path).unwrap()],
        };
        let before = contents(&target);
        let export = || reachspec(&["export".as_ref(), &run]);
        let report = || reachspec(&["report".as_ref(), &run]);
        let verify = || reachspec(&["verify".as_ref(), &run]);
        for output in [again(), export(), report(), verify()] {
            let told = said(&output) + &String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(5), "{name}: {told}");
            assert!(told.contains("symbolic link"), "{name}: {told}");
        }
        assert!(!parent.path().join("evil").exists());
        assert_eq!(contents(&target), before, "{name} was followed");
        let _ = fs::remove_file(&link);
        match there {
            true => {
                let _ = fs::remove_file(&link);
                fs::rename(&target, &link).unwrap();
            }
            false => fs::remove_file(&target).unwrap(),
        }
    }
    let output = again();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn templates_of_strangers_read_nothing_else_and_break_nothing() {
    let model = TinyModel::new();
    let path = written(&model, |_| ());
    let (run, templates) = (model.file("run"), model.file("templates"));
    let output = reachspec(&["run".as_ref(), &path, "--out".as_ref(), &run]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    fs::create_dir(&templates).unwrap();
    let template = templates.join("report.md.jinja");
    let report = || {
        let out = model.file("out");
        reachspec(&[
            "report".as_ref(),
            &run,
            "--templates".as_ref(),
            &templates,
            "--out".as_ref(),
            &out,
        ])
    };
    symlink("/etc/passwd", &template).unwrap();
    let output = report();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(
        said(&output).contains("report.md.jinja: this is a link out of the folder of templates"),
        "{}",
        said(&output)
    );
    fs::remove_file(&template).unwrap();
    // Farther down, what includes it is named, too.
    fs::create_dir(templates.join("parts")).unwrap();
    fs::write(&template, "\n{% include 'parts/a.md.jinja' %}").unwrap();
    symlink("/etc/passwd", templates.join("parts/a.md.jinja")).unwrap();
    let output = report();
    let told = said(&output);
    assert!(
        told.contains("template report.md.jinja, line 2")
            && told.contains("parts/a.md.jinja: this is a link out of the folder"),
        "{told}"
    );
    for text in [
        "{{ 'abc'[-9223372036854775808:9223372036854775807:-9223372036854775808] }}",
        "{{ range(9223372036854775807, -9223372036854775807, -9223372036854775807) | list }}",
    ] {
        fs::write(&template, text).unwrap();
        let output = report();
        // What overflows where overflow is checked gives some number elsewhere.
        assert!(
            matches!(output.status.code(), Some(0 | 2 | 4)),
            "{}",
            said(&output)
        );
        assert!(!said(&output).contains("panicked"), "{}", said(&output));
    }
    let itself = "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}";
    for text in [itself, &"x".repeat(2 << 20)] {
        fs::write(&template, text).unwrap();
        let output = report();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(
            said(&output).contains("report.md.jinja"),
            "{}",
            said(&output)
        );
    }
    let nested = "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% for j in range(99) %}{% set ns.l = [ns.l] %}{% endfor %}{% endfor %}{{ ns.l | string | length }}";
    let chain = format!("{{{{ a{} }}}}", ".b".repeat(200_000));
    for text in [nested, &chain] {
        fs::write(&template, text).unwrap();
        let code = report().status.code();
        // Whether it is rendered or refused: the stack holds it.
        assert!(matches!(code, Some(0 | 2 | 4)), "{text:.80}: {code:?}");
    }
    for (start, step) in [("'x'", "ns.x ~ ns.x"), ("[1]", "[ns.x, ns.x]")] {
        let text = format!(
            "{{% set ns = namespace(x={start}) %}}{{% for i in range(60) %}}{{% set ns.x = {step} %}}{{% endfor %}}{{{{ ns.x }}}}"
        );
        fs::write(&template, text).unwrap();
        let (started, output) = (Instant::now(), report());
        let (took, said) = (started.elapsed(), said(&output));
        assert_eq!(output.status.code(), Some(4), "{step}: {said}");
        let limits = "report.md.jinja: it, or a template that it includes, took longer than 30 s or more than 256.0 MiB";
        assert!(said.contains(limits), "{step}: {said}");
        assert!(took < Duration::from_secs(60), "{step}: {took:?}");
    }
}

/// A cells file replaces one, and nothing else: neither evidence nor the spec. Nothing is put into the folder of a run.
#[test]
fn what_a_user_has_is_not_written_over() {
    let model = TinyModel::new();
    let path = written(&model, |_| ());
    let run = model.file("run");
    let output = reachspec(&["run".as_ref(), &path, "--out".as_ref(), &run]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let manifest = run.join("manifest.json");
    let cells = model.file("cells.json");
    let plan = |file: &Path| {
        reachspec(&[
            "plan".as_ref(),
            &path,
            "--no-timing".as_ref(),
            "--cells".as_ref(),
            file,
        ])
    };
    for file in [
        &path,
        &manifest,
        &run.join("cells.json"),
        &model.file("config.json"),
    ] {
        let before = fs::read(file).ok();
        let output = plan(file);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert_eq!(fs::read(file).ok(), before, "{}", file.display());
        let output = reachspec(&["export".as_ref(), &run, "--out".as_ref(), file]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert_eq!(fs::read(file).ok(), before, "{}", file.display());
    }
    let before = below(&run);
    let (within, figures) = (run.join("a/b"), run.join("figures"));
    for arguments in [
        ["run".as_ref(), path.as_path(), "--out".as_ref(), &within].as_slice(),
        &[
            "run".as_ref(),
            &path,
            "--accept".as_ref(),
            "--committed".as_ref(),
            &within,
        ],
        &["report".as_ref(), &run, "--out".as_ref(), &figures],
        &[
            "report".as_ref(),
            &run,
            "--accept".as_ref(),
            "--committed".as_ref(),
            &figures,
        ],
        &[
            "export".as_ref(),
            &run,
            "--out".as_ref(),
            &figures.join("a.csv"),
        ],
        &[
            "init".as_ref(),
            &run.join("a.yaml"),
            "--model".as_ref(),
            model.path(),
        ],
    ] {
        let output = reachspec(arguments);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(
            said(&output).contains("choose another"),
            "{}",
            said(&output)
        );
        assert_eq!(below(&run), before, "{arguments:?}");
    }
    for _ in 0..2 {
        let output = plan(&cells);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }
}

#[test]
fn nothing_that_a_spec_names_is_fetched_or_executed() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let address = server.local_addr().unwrap();
    let url = format!("http://{address}/x");
    let model = TinyModel::new();
    let evil = model.file("evil");
    let command = format!("touch {}", evil.display());
    let names = [
        url.clone(),
        format!("|{command}"),
        format!("$({command})"),
        format!("`{command}`"),
        format!("file://{}", evil.display()),
    ];
    for name in names {
        for place in [
            "/model/path",
            "/prompts/asked/jsonl",
            "/prompts/asked/text_file",
            "/words",
            "/name",
            "/description",
        ] {
            let path = written(&model, |study| match place {
                "/model/path" => study["model"]["path"] = name.as_str().into(),
                "/words" => {
                    study["behaviors"]["says-five"]["flipped_when"] =
                        json!({"lexicon": {"words_file": name, "at_least": 0.5}});
                }
                "/name" | "/description" => study[&place[1..]] = name.as_str().into(),
                _ => study["prompts"]["asked"] = json!({place.rsplit('/').next().unwrap(): name}),
            });
            for subcommand in ["check", "plan"] {
                let output = Command::new(env!("CARGO_BIN_EXE_reachspec"))
                    .arg(subcommand)
                    .arg(&path)
                    .env("HF_ENDPOINT", format!("http://{address}"))
                    .output()
                    .unwrap();
                let code = output.status.code();
                assert!(
                    place == "/description" || [Some(2), Some(3)].contains(&code),
                    "{place} {name}: {}",
                    said(&output)
                );
            }
        }
    }
    assert!(!evil.exists(), "something was executed");
    let asked = server.accept().map(|_| ()).unwrap_err();
    assert_eq!(
        asked.kind(),
        std::io::ErrorKind::WouldBlock,
        "something was fetched"
    );
}
