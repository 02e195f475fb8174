//! Why a model of the hub cannot be had, and what to do about it.

use std::path::Path;

use hf_hub::api::sync::ApiError;

use crate::model::checkpoint::{INDEX, SINGLE};

/// A model of the hub that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{repository} at revision {revision}: {problem}")]
pub struct HubError {
    /// `owner/name`.
    pub repository: String,
    /// As it was asked for.
    pub revision: String,
    pub(super) problem: Problem,
}

/// What is the matter.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("this revision is not a full commit hash: it can mean other files tomorrow{}", now(.commit))]
    Moving { commit: Option<String> },
    #[error("not in this machine's Hugging Face cache, which lacks {}; and the hub may not be asked (HF_HUB_OFFLINE)", .missing.join(", "))]
    NotCached { missing: Vec<String> },
    #[error("there is no folder for downloads: none of HF_HUB_CACHE, HF_HOME and HOME is set")]
    NoCacheFolder,
    #[error("HF_ENDPOINT is not an http address")]
    BadEndpoint,
    #[error("the hub has no such repository or revision")]
    NotFound,
    #[error("the hub has no such repository")]
    NoRepository,
    #[error("the hub has the repository, but not this revision")]
    NoRevision,
    #[error("the repository has no {0}")]
    NoSuchFile(String),
    #[error("the repository has no weights as {SINGLE} or {INDEX}{}", found(.instead))]
    NoSafetensors { instead: Option<String> },
    #[error("{INDEX} {0}")]
    BadIndex(String),
    #[error("the hub refuses access (HTTP {status})")]
    Denied { status: u16, signed_in: bool },
    #[error("the hub asks for fewer requests (HTTP 429)")]
    TooMany,
    #[error("{endpoint} answers with HTTP {status}")]
    Status { endpoint: String, status: u16 },
    #[error("{endpoint} cannot be reached, or broke off: {why}")]
    Unreachable { endpoint: String, why: String },
    #[error("{endpoint} has been silent for {seconds} s")]
    Silent { endpoint: String, seconds: u64 },
    #[error("{endpoint} does not answer like the hub: {why}")]
    Strange { endpoint: String, why: String },
    #[error("{name} arrived with {arrived} bytes instead of {expected}; it was removed again")]
    Damaged {
        name: String,
        arrived: u64,
        expected: u64,
    },
    #[error("another process is downloading the same file")]
    Locked,
    #[error("cannot write {path}: {error}")]
    Io { path: String, error: std::io::Error },
    #[error("the download stopped for a reason unknown")]
    Stopped,
}

fn now(commit: &Option<String>) -> String {
    match commit {
        Some(commit) => format!("; now it is commit {commit}"),
        None => String::new(),
    }
}

fn found(instead: &Option<String>) -> String {
    match instead {
        Some(file) => format!(", but {file}"),
        None => String::new(),
    }
}

impl Problem {
    pub(super) fn io(path: &Path, error: std::io::Error) -> Self {
        let path = path.display().to_string();
        Problem::Io { path, error }
    }

    /// An answer that is no success; `code` is the hub's own name for it.
    pub(super) fn status(endpoint: &str, status: u16, code: Option<&str>, signed_in: bool) -> Self {
        match (status, code) {
            (_, Some("RevisionNotFound")) => Problem::NoRevision,
            // To those who are not signed in, a private repository is one that is not there.
            (404, Some("RepoNotFound")) if signed_in => Problem::NoRepository,
            (401 | 403, _) | (_, Some("RepoNotFound" | "GatedRepo")) => {
                Problem::Denied { status, signed_in }
            }
            (404, _) => Problem::NotFound,
            (429, _) => Problem::TooMany,
            _ => Problem::Status {
                endpoint: endpoint.to_owned(),
                status,
            },
        }
    }

    /// A request that got no answer.
    pub(super) fn request(endpoint: &str, error: &ureq::Error, signed_in: bool) -> Self {
        if let ureq::Error::StatusCode(status) = error {
            return Problem::status(endpoint, *status, None, signed_in);
        }
        Problem::Unreachable {
            endpoint: endpoint.to_owned(),
            why: error.to_string(),
        }
    }

    /// What hf-hub says, while it works in the folder `cache`.
    pub(super) fn api(endpoint: &str, cache: &Path, error: ApiError, signed_in: bool) -> Self {
        match error {
            ApiError::RequestError(error) => Problem::request(endpoint, &error, signed_in),
            ApiError::IoError(error) if is_of_network(&error) => Problem::Unreachable {
                endpoint: endpoint.to_owned(),
                why: error.to_string(),
            },
            ApiError::IoError(error) => Problem::io(cache, error),
            ApiError::LockAcquisition(_) => Problem::Locked,
            other => Problem::Strange {
                endpoint: endpoint.to_owned(),
                why: other.to_string(),
            },
        }
    }

    /// Whether the hub could not be asked, so that what is in the cache is all there is.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Problem::Unreachable { .. }
                | Problem::Silent { .. }
                | Problem::TooMany
                | Problem::Status {
                    status: 500..=599,
                    ..
                }
        )
    }
}

/// hf-hub copies from the network to the disk, and both ends fail with the same type.
fn is_of_network(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::*;
    matches!(
        error.kind(),
        UnexpectedEof
            | ConnectionReset
            | ConnectionAborted
            | ConnectionRefused
            | NotConnected
            | BrokenPipe
            | TimedOut
            | Other
    )
}

impl HubError {
    /// Whether the revision can move, which the spec does not allow.
    pub fn is_moving(&self) -> bool {
        matches!(self.problem, Problem::Moving { .. })
    }

    /// What to do.
    pub fn help(&self) -> String {
        let (repository, revision) = (&self.repository, &self.revision);
        let page = format!("https://huggingface.co/{repository}");
        match &self.problem {
            Problem::Moving {
                commit: Some(commit),
            } => format!(
                "write {commit}; in a spec, `model.allow_moving_revision: true` accepts `{revision}`, and the record names the commit"
            ),
            Problem::Moving { commit: None } => format!(
                "write the commit hash, which stands at {page}/commits/{revision}; in a spec, `model.allow_moving_revision: true` accepts \
                 `{revision}`, and the record names the commit"
            ),
            Problem::NotCached { .. } => format!(
                "unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or fetch it where there is a network, into the same cache: \
                 hf download {repository} --revision {revision}"
            ),
            Problem::NoCacheFolder => "set HF_HOME to a folder with space for models".into(),
            Problem::BadEndpoint => "write it as https://huggingface.co, or unset it".into(),
            Problem::NotFound | Problem::NoRepository | Problem::NoRevision => format!(
                "compare the names with {page}; a private repository needs a token with access to it, in HF_TOKEN"
            ),
            Problem::NoSuchFile(name) if name == "tokenizer.json" => {
                "in Python, `transformers.AutoTokenizer.from_pretrained(…).save_pretrained(folder)` makes one; then use the folder".into()
            }
            Problem::NoSuchFile(_) => {
                format!("is {page} a whole language model, in Hugging Face form?")
            }
            Problem::NoSafetensors { instead } => no_safetensors(instead.as_deref()),
            Problem::BadIndex(_) => format!("tell the owner of {page}, and use another revision"),
            Problem::Denied {
                signed_in: false, ..
            } => format!(
                "the repository does not exist, or is private, or gated: compare its name with {page}, accept its licence there, and \
                 give a token with HF_TOKEN or `hf auth login`"
            ),
            Problem::Denied {
                signed_in: true, ..
            } => format!(
                "accept the licence at {page} with the account that the token belongs to, and see that the token is valid and may \
                 read this repository"
            ),
            Problem::TooMany => "wait a few minutes; a token in HF_TOKEN allows more requests".into(),
            Problem::Unreachable { .. } | Problem::Silent { .. } | Problem::Status { .. } => {
                "run the command again: what has arrived is kept. HF_ENDPOINT names another address of the hub, HTTPS_PROXY a proxy, and \
                 HF_HUB_DOWNLOAD_TIMEOUT the seconds of silence to bear"
                    .into()
            }
            Problem::Strange { .. } => "is HF_ENDPOINT the address of a hub?".into(),
            Problem::Damaged { .. } | Problem::Stopped => "run the command again".into(),
            Problem::Locked => "wait until it is done, then run the command again".into(),
            Problem::Io { error, .. } => io_help(error),
        }
    }
}

fn no_safetensors(instead: Option<&str>) -> String {
    match instead {
        Some(name) if name.ends_with(".safetensors") => {
            format!("download the repository, rename {name} to {SINGLE}, and use the folder")
        }
        Some(name) if name.ends_with(".gguf") => {
            "GGUF is not supported; use the repository with the original safetensors".into()
        }
        Some(_) => "pickles can run code when they are read; convert them: in Python, \
                    `transformers.AutoModelForCausalLM.from_pretrained(…).save_pretrained(folder)`; then use the folder"
            .into(),
        None => "use a repository with the weights of a whole language model".into(),
    }
}

fn io_help(error: &std::io::Error) -> String {
    use std::io::ErrorKind::*;
    match error.kind() {
        StorageFull | QuotaExceeded => {
            "free some space, or set HF_HOME to a folder on another disk; what has arrived is kept"
        }
        PermissionDenied | ReadOnlyFilesystem => "set HF_HOME to a folder that you may write to",
        _ => "see that HF_HOME, or ~/.cache/huggingface, is a folder that can be written to",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(problem: Problem) -> HubError {
        HubError {
            repository: "a/b".into(),
            revision: "main".into(),
            problem,
        }
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_connection() {
        let api = |kind: std::io::ErrorKind| {
            Problem::api(
                "http://x",
                Path::new("/c"),
                ApiError::IoError(kind.into()),
                false,
            )
        };
        let full = error(api(std::io::ErrorKind::StorageFull));
        assert!(full.to_string().contains("cannot write /c"), "{full}");
        assert!(full.help().contains("another disk"));
        assert!(api(std::io::ErrorKind::UnexpectedEof).is_unreachable());
    }

    #[test]
    fn refusals_say_what_the_account_lacks() {
        let help = |signed_in| {
            error(Problem::status(
                "http://x",
                403,
                Some("GatedRepo"),
                signed_in,
            ))
            .help()
        };
        assert!(help(false).contains("HF_TOKEN"));
        assert!(help(true).contains("accept the licence"));
    }
}
