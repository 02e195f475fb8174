//! Models of the hub, from a small hub on this machine: what is downloaded, what is not, and what is said when it does not work.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

use crate::hub_server::{COMMIT, Content, HubServer, REPOSITORY};

const SINGLE: &str = "tiny-gqa-bias";
const SHARDED: &str = "tiny-bf16-sharded";
const TOKEN: &str = "hf_secretsecretsecret";

/// A user with an empty cache, and a hub.
struct User {
    home: TempDir,
    endpoint: String,
    variables: Vec<(&'static str, &'static str)>,
}

/// Exit code, standard output, standard error.
type Said = (i32, String, String);

impl User {
    fn of(server: &HubServer) -> Self {
        Self {
            home: TempDir::new().unwrap(),
            endpoint: server.url(),
            variables: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    fn says(&self, arguments: &[&str]) -> Said {
        let mut command = Command::cargo_bin("reachspec").unwrap();
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_ascii_uppercase();
            let ours = ["HF_", "HUGGING", "TRANSFORMERS", "XDG_CACHE"];
            if ours.iter().any(|start| text.starts_with(start)) || text.ends_with("_PROXY") {
                command.env_remove(&name);
            }
        }
        command
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_HOME", self.home.path())
            .envs(self.variables.iter().copied())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(arguments);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = (text(&output.stdout), text(&output.stderr));
        for text in [&said.0, &said.1] {
            assert!(!text.contains(TOKEN), "a token is shown:\n{text}");
        }
        assert!(!said.1.contains("panicked"), "{}", said.1);
        (output.status.code().unwrap(), said.0, said.1)
    }

    fn inspect(&self, revision: &str) -> Said {
        let model = format!("{REPOSITORY}@{revision}");
        self.says(&["inspect", "--quick", "--json", &model])
    }

    /// Inspects what must be there.
    fn card(&self) -> Value {
        let (code, out, err) = self.inspect(COMMIT);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    }

    /// What is said about what must not be usable.
    fn refused(&self, revision: &str, phrases: &[&str]) -> String {
        let (code, out, err) = self.inspect(revision);
        assert_eq!((code, out.as_str()), (3, ""), "{err}");
        for phrase in phrases {
            assert!(err.contains(phrase), "{phrase:?} is not in:\n{err}");
        }
        err
    }

    fn repository(&self) -> PathBuf {
        self.home.path().join("hub/models--owner--name")
    }

    /// Names of the files in the snapshot, sorted.
    fn snapshot(&self) -> Vec<String> {
        names(&self.repository().join("snapshots").join(COMMIT))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A spec for the reference models, whose words are `w0`, `w1`, …
fn write_spec(folder: &Path, model: &str) -> String {
    let text = format!(
        "schema: reachspec/study/v1
name: small
model: {model}
prompts:
  asked: {{inline: [{{text: w3 w4}}, {{text: w5 w6}}]}}
  generic: {{inline: [{{text: w7 w8}}]}}
behaviors:
  dogs: {{prompts: asked, flipped_when: {{contains: {{any: [w9]}}}}}}
neurons:
  - {{role: held_out, at: [{{layer: 1, index: 0..2}}]}}
  - {{role: calibration, at: [{{layer: 2, index: 3}}]}}
doses: {{grid: [0.5, 1]}}
rollout: {{horizons: [4]}}
"
    );
    let path = folder.join("study.yaml");
    std::fs::write(&path, text).unwrap();
    path.into_os_string().into_string().unwrap()
}

#[test]
fn a_model_is_downloaded_once_and_then_needs_no_network() {
    let content = Content::of(SINGLE)
        .with("README.md", b"read me")
        .with("modeling_x.py", b"import os")
        .with("pytorch_model.bin", b"pickle")
        .with("generation_config.json", br#"{"eos_token_id": [2, 5]}"#);
    let server = HubServer::start(content);
    let user = User::of(&server);
    let (code, out, err) = user.inspect(COMMIT);
    assert_eq!(code, 0, "{err}");
    let expected =
        format!("downloading model.safetensors of {REPOSITORY}@5ca1ab1e5ca1, 105.16 KiB");
    assert!(err.contains(&expected), "{err}");
    let card: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(card["name"], format!("{REPOSITORY}@{COMMIT}"));
    assert_eq!(card["end_of_text"].as_array().unwrap().len(), 2);
    let needed = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    ];
    assert_eq!(user.snapshot(), needed);

    let asked = server.requests().len();
    assert_eq!(user.card(), card);
    assert_eq!(server.requests().len(), asked, "nothing was left to ask");
    server.stop();
    let (code, out, err) = user.inspect(COMMIT);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap(), card);
}

#[test]
fn shards_are_those_of_the_index() {
    let content = Content::of(SHARDED).with("other.safetensors", b"not named");
    let user = User::of(&HubServer::start(content));
    let card = user.card();
    assert_eq!(card["stored_as"], serde_json::json!(["bf16"]));
    let files = user.snapshot();
    assert_eq!(files.len(), 8, "{files:?}");
    assert!(!files.contains(&"other.safetensors".into()));
}

#[test]
fn a_study_records_the_commit() {
    let server = HubServer::start(Content::of(SINGLE));
    let user = User::of(&server);
    let spec = |model: &str| write_spec(user.home.path(), model);
    let pinned = spec(&format!("{{hub: {REPOSITORY}, revision: {COMMIT}}}"));
    let (code, out, err) = user.says(&["check", &pinned]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains(&format!("on {REPOSITORY}@{COMMIT}: ")),
        "{out}"
    );

    let run = user.home.path().join("run");
    let (code, _, err) = user.says(&["run", &pinned, "--out", run.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    let manifest = std::fs::read_to_string(run.join("manifest.json")).unwrap();
    assert!(manifest.contains(&format!("{REPOSITORY}@{COMMIT}")));

    let moving = format!("{{hub: {REPOSITORY}, revision: main, allow_moving_revision: true}}");
    let planned = |arguments: &[&str]| -> Value {
        let (code, out, err) = user.says(arguments);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    };
    let plan = planned(&[
        "plan",
        "--json",
        "--no-timing",
        "--memory=4GiB",
        &spec(&moving),
    ]);
    assert_eq!(plan["model"], format!("{REPOSITORY}@{COMMIT}"));
    server.stop();
    let again = planned(&[
        "plan",
        "--json",
        "--no-timing",
        "--memory=4GiB",
        &spec(&moving),
    ]);
    assert_eq!(again, plan, "the cache knows what the branch was");
}

#[test]
fn a_branch_is_refused_and_its_commit_named() {
    let server = HubServer::start(Content::of(SINGLE));
    let user = User::of(&server);
    user.refused("main", &["not a full commit hash", COMMIT]);
    let model = format!("{{hub: {REPOSITORY}, revision: main}}");
    let spec = write_spec(user.home.path(), &model);
    let (code, _, err) = user.says(&["check", &spec]);
    assert_eq!(code, 2, "{err}");
    for phrase in ["revision: main", COMMIT, "allow_moving_revision: true"] {
        assert!(err.contains(phrase), "{phrase:?} is not in:\n{err}");
    }
    assert_eq!(user.snapshot().len(), 0, "nothing was downloaded");

    server.stop();
    let (code, _, err) = user.says(&["check", &spec]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("commits/main"), "{err}");
}

#[test]
fn offline_means_no_request() {
    let server = HubServer::start(Content::of(SINGLE));
    let user = User::of(&server);
    for name in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        let user = User::of(&server).with(name, "1");
        user.refused(
            COMMIT,
            &["lacks config.json", "HF_HUB_OFFLINE", "hf download"],
        );
    }
    assert_eq!(server.requests().len(), 0);

    user.card();
    assert_eq!(
        names(&user.repository()),
        [".no_exist", "blobs", "refs", "snapshots"]
    );
    // Hugging Face's own tools do not note what a repository lacks.
    std::fs::remove_dir_all(user.repository().join(".no_exist")).unwrap();
    let asked = server.requests().len();
    let user = user.with("HF_HUB_OFFLINE", "1");
    user.card();
    assert_eq!(server.requests().len(), asked);
}

#[test]
fn the_token_is_sent_where_there_is_one() {
    let mut content = Content::of(SINGLE);
    content.token = Some(TOKEN);
    let server = HubServer::start(content);
    let stranger = User::of(&server);
    let err = stranger.refused(
        COMMIT,
        &["refuses access (HTTP 401)", "HF_TOKEN", "licence"],
    );
    assert!(err.contains(&format!("{REPOSITORY} at revision {COMMIT}")));
    assert!(server.requests().iter().all(|r| r.authorization.is_none()));

    User::of(&server)
        .with("HF_TOKEN", "hf_wrong")
        .refused(COMMIT, &["the token is valid"]);
    User::of(&server).with("HF_TOKEN", TOKEN).card();
    let user = User::of(&server);
    std::fs::write(user.home.path().join("token"), format!("{TOKEN}\n")).unwrap();
    user.card();
    let found = names(user.home.path());
    assert_eq!(found, ["hub", "token"], "nothing else was written");
}

#[test]
fn what_is_not_there_is_said() {
    let server = HubServer::start(Content::of(SINGLE));
    let user = User::of(&server);
    let nowhere = "0000000000000000000000000000000000000000";
    user.refused(nowhere, &["but not this revision"]);
    let (code, _, err) = user.says(&["inspect", &format!("owner/other@{COMMIT}")]);
    assert_eq!(code, 3);
    assert!(err.contains("huggingface.co/owner/other"), "{err}");

    for (missing, phrases) in [
        ("tokenizer.json", ["has no tokenizer.json", "AutoTokenizer"]),
        ("config.json", ["has no config.json", "Hugging Face form"]),
        ("model.safetensors", ["has no weights as", "whole language"]),
    ] {
        let server = HubServer::start(Content::of(SINGLE).without(missing));
        User::of(&server).refused(COMMIT, &phrases);
    }
}

#[test]
fn pickles_are_not_downloaded() {
    let content = Content::of(SINGLE)
        .without("model.safetensors")
        .with("pytorch_model.bin", b"pickle");
    let server = HubServer::start(content);
    User::of(&server).refused(COMMIT, &["but pytorch_model.bin", "convert"]);
    assert_eq!(server.requests().len(), 1, "only the list was asked for");
}

#[test]
fn errors_of_the_server_are_told_apart() {
    for (status, phrase) in [
        ("403 Forbidden", "accept its licence"),
        ("429 Too Many Requests", "wait a few minutes"),
        ("503 Service Unavailable", "answers with HTTP 503"),
        ("204 No Content", "does not answer like the hub"),
    ] {
        let mut content = Content::of(SINGLE);
        content.status = Some(status);
        let user = User::of(&HubServer::start(content));
        user.refused(COMMIT, &[phrase]);
        assert_eq!(user.snapshot().len(), 0, "{status}");
    }
}

#[test]
fn a_broken_download_is_resumed() {
    let server = HubServer::start(Content::of(SINGLE));
    let user = User::of(&server);
    server.cut.store(true, Ordering::SeqCst);
    user.refused(COMMIT, &["broke off", "run the command again"]);
    assert_eq!(user.snapshot(), ["config.json", "tokenizer.json"]);
    let blobs = names(&user.repository().join("blobs"));
    let parts = blobs.iter().filter(|name| name.ends_with(".part"));
    assert_eq!(parts.count(), 1, "{blobs:?}");

    server.cut.store(false, Ordering::SeqCst);
    let before = server.requests().len();
    user.card();
    let resumed = server.requests()[before..]
        .iter()
        .any(|r| r.path.starts_with("/cdn/") && r.range.is_some_and(|(from, _)| from > 50_000));
    assert!(resumed, "{:?}", &server.requests()[before..]);
}

#[test]
fn a_server_without_ranges_does_not_damage_what_it_resumes() {
    let mut content = Content::of(SINGLE);
    content.no_ranges = true;
    let server = HubServer::start(content);
    let user = User::of(&server);
    server.cut.store(true, Ordering::SeqCst);
    user.refused(COMMIT, &[]);
    server.cut.store(false, Ordering::SeqCst);
    // The whole file came where its end was asked for.
    user.refused(COMMIT, &["instead of 107688", "run the command again"]);
    assert!(!user.snapshot().contains(&"model.safetensors".into()));
    user.card();
}

#[test]
fn a_silent_server_is_not_waited_for() {
    let server = HubServer::start(Content::of(SINGLE));
    let user = User::of(&server).with("HF_HUB_DOWNLOAD_TIMEOUT", "1");
    server.stall.store(true, Ordering::SeqCst);
    user.refused(COMMIT, &["silent for 1 s", "HF_HUB_DOWNLOAD_TIMEOUT"]);
    server.stall.store(false, Ordering::SeqCst);
    user.card();
}

#[test]
fn a_damaged_weight_file_is_found_out() {
    let user = User::of(&HubServer::start(Content::of(SINGLE)));
    user.card();
    let weights = user.repository().join("snapshots").join(COMMIT);
    let weights = weights.join("model.safetensors").canonicalize().unwrap();
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    user.refused(COMMIT, &["is damaged", weights.to_str().unwrap()]);
    std::fs::remove_file(&weights).unwrap();
    user.card();
}

#[test]
fn an_index_cannot_lead_elsewhere() {
    for (shard, phrase) in [
        ("../evil.safetensors", "not a plain file name"),
        ("evil.bin", "not a safetensors file"),
        ("gone.safetensors", "has no gone.safetensors"),
    ] {
        let index = format!(r#"{{"weight_map": {{"a": "{shard}"}}}}"#);
        let content = Content::of(SHARDED)
            .with("model.safetensors.index.json", index.as_bytes())
            .with("evil.bin", b"pickle");
        let server = HubServer::start(content);
        User::of(&server).refused(COMMIT, &[phrase]);
        assert!(!server.requests().iter().any(|r| r.path.contains("evil")));
    }
}

#[test]
fn a_folder_that_is_not_there_may_be_meant_as_a_repository() {
    let user = User::of(&HubServer::start(Content::of(SINGLE)));
    let (code, _, err) = user.says(&["inspect", REPOSITORY]);
    assert_eq!(code, 3);
    assert!(err.contains("owner/name@commit"), "{err}");
}

#[cfg(unix)]
#[test]
fn a_cache_that_cannot_be_written_is_said() {
    let user = User::of(&HubServer::start(Content::of(SINGLE)));
    // A file where the folder should be: nobody may write there, not even root.
    std::fs::write(user.home.path().join("hub"), "").unwrap();
    user.refused(COMMIT, &["cannot write", "HF_HOME"]);
}

#[test]
fn blobs_are_not_downloaded_twice() {
    let server = HubServer::start(Content::of(SINGLE));
    let user = User::of(&server);
    user.card();
    let snapshot = user.repository().join("snapshots").join(COMMIT);
    std::fs::remove_file(snapshot.join("model.safetensors")).unwrap();
    let (code, _, err) = user.inspect(COMMIT);
    assert_eq!((code, err.as_str()), (0, ""));
}
