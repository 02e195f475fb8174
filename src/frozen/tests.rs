//! Differences of committed results, from made-up files.

use super::*;

const TABLE: &str = "behavior,neuron,sign,role,window,trigger,ceiling,predicted
routing,L1.2,+,held-out,open,0.3000,0.6000,0.6100
routing,L1.2,−,held-out,collapses first,>0.9500,0.5000,0.5100
routing,L2.7,+,held-out,too late,,0.7000,
";

fn facts() -> Facts {
    let hash = |digit: &str| digit.repeat(64);
    Facts {
        study: "made-up".into(),
        study_sha256: hash("1"),
        model: [("model.safetensors".into(), hash("2"))].into(),
        prompts: [("english".into(), hash("3"))].into(),
        seal: hash("4"),
        trials: StoreDigest {
            trials: 12,
            sha256: hash("5"),
        },
        verdicts_sha256: hash("6"),
    }
}

fn committed(facts: &Facts, table: &str, report: &str) -> Committed {
    let files = [
        (FACTS, render(facts)),
        (BRANCHES, table.into()),
        ("report.md", report.into()),
        ("report.html", format!("<p>{report}</p>")),
        ("figures/saturation.svg", "<svg/>".into()),
    ];
    let bytes = |(name, text): (&str, String)| (name.to_owned(), text.into_bytes());
    Committed(files.map(bytes).into())
}

fn told(before: &Committed, now: &Committed) -> String {
    let lines = differences(before, now).into_iter().map(|d| {
        let details: String = d.details.iter().map(|line| format!("  {line}\n")).collect();
        format!("{}: {}\n{details}", d.what, d.summary)
    });
    lines.collect()
}

#[test]
fn the_same_bytes_are_no_difference() {
    let one = committed(&facts(), TABLE, "a\nb\n");
    assert_eq!(differences(&one, &one.clone()), []);
}

#[test]
fn changed_windows_come_before_changed_numbers_and_large_before_small() {
    let before = committed(&facts(), TABLE, "head\nopen\nfoot\n");
    let table = TABLE
        .replace("open,0.3000,0.6000", "undecided,0.3000,0.6001")
        .replace("0.5000", "0.4000")
        .replace("too late,,0.7000", "too late,,0.7002");
    let now = Facts {
        seal: "9".repeat(64),
        verdicts_sha256: "8".repeat(64),
        ..facts()
    };
    let now = committed(&now, &table, "head\nundecided\nfoot\n");
    assert_eq!(
        told(&before, &now),
        "seal: 444444444444… → 999999999999…: the predictions are others
verdicts.json: 666666666666… → 888888888888…: curves, thresholds, windows or scores are others
verdicts: 3 of 3 branches changed, 1 of them in their window
  routing L1.2 +: window open → undecided, ceiling 0.6000 → 0.6001
  routing L1.2 −: ceiling 0.5000 → 0.4000
  routing L2.7 +: ceiling 0.7000 → 0.7002
report.md: differs in 2 lines
  -open
  +undecided
report.html: differs
"
    );
}

#[test]
fn causes_are_named() {
    let before = facts();
    let now = Facts {
        study_sha256: "a".repeat(64),
        model: [("model.safetensors".into(), "b".repeat(64))].into(),
        prompts: [
            ("english".into(), "3".repeat(64)),
            ("spanish".into(), "c".repeat(64)),
        ]
        .into(),
        trials: StoreDigest {
            trials: 14,
            sha256: "d".repeat(64),
        },
        ..facts()
    };
    let told = told(&committed(&before, TABLE, ""), &committed(&now, TABLE, ""));
    for cause in [
        "study: 111111111111… → aaaaaaaaaaaa…",
        "model model.safetensors: 222222222222… → bbbbbbbbbbbb…",
        "prompts spanish: none → cccccccccccc…",
        "trials: 555555555555… → dddddddddddd…: 14 trials were 12",
    ] {
        assert!(told.contains(cause), "{told}");
    }
    assert!(!told.contains("english"), "{told}");
}

#[test]
fn branches_that_are_new_or_gone_are_named() {
    let shorter = TABLE.lines().take(3).collect::<Vec<_>>().join("\n") + "\n";
    let (long, short) = (
        committed(&facts(), TABLE, ""),
        committed(&facts(), &shorter, ""),
    );
    assert!(told(&long, &short).contains("routing L2.7 +: is gone"));
    assert!(told(&short, &long).contains("routing L2.7 +: is new"));
}

#[test]
fn damaged_or_missing_files_are_named() {
    let whole = committed(&facts(), TABLE, "a\n");
    for (name, bytes, said) in [
        (
            FACTS,
            Some("{"),
            "frozen.json: is missing or cannot be read",
        ),
        (FACTS, None, "frozen.json: is missing or cannot be read"),
        (BRANCHES, Some("x,y\n1,2\n"), "verdicts.csv: cannot be read"),
        (BRANCHES, None, "verdicts.csv: is missing"),
        ("report.md", None, "report.md: is missing"),
        (
            "figures/saturation.svg",
            Some("<svg></svg>"),
            "figures/saturation.svg",
        ),
        (
            "figures/saturation.svg",
            None,
            "figures/saturation.svg is missing",
        ),
    ] {
        let mut damaged = whole.clone();
        damaged.0.remove(name);
        if let Some(bytes) = bytes {
            damaged.0.insert(name.into(), bytes.into());
        }
        assert!(
            told(&damaged, &whole).contains(said),
            "{name}: {}",
            told(&damaged, &whole)
        );
    }
    let mut more = whole.clone();
    more.0
        .insert("figures/windows-9.svg".into(), "<svg/>".into());
    assert!(told(&more, &whole).contains("figures/windows-9.svg is drawn no more"));
}

#[test]
fn changed_white_space_is_a_difference_too() {
    let whole = committed(&facts(), TABLE, "a\n");
    for name in [FACTS, BRANCHES] {
        let mut changed = whole.clone();
        let bytes = changed.0.get_mut(name).unwrap();
        *bytes = [bytes.as_slice(), b"\n"].concat();
        assert!(!told(&changed, &whole).is_empty(), "{name}");
    }
}

#[test]
fn line_ends_that_git_changed_are_told_apart() {
    let whole = committed(&facts(), TABLE, "a\nb\n");
    let mut changed = whole.clone();
    changed.0.insert("report.md".into(), "a\r\nb\r\n".into());
    let told = told(&changed, &whole);
    assert!(
        told.contains("report.md: differs only in its line ends"),
        "{told}"
    );
}

#[test]
fn a_long_difference_is_cut() {
    let report: String = (0..500).map(|i| format!("line {i}\n")).collect();
    let (one, other) = (
        committed(&facts(), TABLE, &report),
        committed(&facts(), TABLE, ""),
    );
    let found = differences(&one, &other);
    let report = found.iter().find(|d| d.what == "report.md").unwrap();
    assert_eq!(report.details.len(), 61);
    assert_eq!(report.details.last().unwrap(), "and 440 more lines");
}
