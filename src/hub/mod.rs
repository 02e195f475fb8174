//! Models of the Hugging Face hub: found in the local cache, else downloaded into it.
//!
//! The cache is the one of Hugging Face's own tools, in their layout: what they downloaded is used, and they use what is downloaded
//! here. Of a repository, only what a study needs is fetched: configuration, tokenizer and safetensors; never pickles, never code.

mod cache;
mod download;
mod error;
mod files;
mod watch;

use std::path::PathBuf;

use cache::{Kept, RepositoryCache};
use download::Hub;
pub use error::HubError;
use error::Problem;

/// A model as it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct HubModel<'a> {
    /// `owner/name`.
    pub repository: &'a str,
    /// Commit, tag or branch.
    pub revision: &'a str,
    /// Whether a tag or branch may be used, although it can point to another commit tomorrow.
    pub allow_moving: bool,
}

/// Whether the hub may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// What is not in the cache is downloaded.
    On,
    /// Only the cache is used.
    Off,
}

impl Network {
    /// Off when `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` says so.
    pub fn from_environment() -> Self {
        let set = |name: &str| {
            std::env::var(name).is_ok_and(|value| {
                let value = value.to_ascii_lowercase();
                ["1", "on", "yes", "true"].contains(&value.as_str())
            })
        };
        match set("HF_HUB_OFFLINE") || set("TRANSFORMERS_OFFLINE") {
            true => Network::Off,
            false => Network::On,
        }
    }
}

impl HubModel<'_> {
    /// The folder of the model's snapshot in the cache, named after the commit; what is missing there is downloaded first.
    ///
    /// # Errors
    /// A tag or branch without permission, a repository that is not there, not readable or without safetensors, no network, no space;
    /// see [`HubError::help`] for what to do.
    pub fn locate(&self, network: Network) -> Result<PathBuf, HubError> {
        self.find(network).map_err(|problem| HubError {
            repository: self.repository.to_owned(),
            revision: self.revision.to_owned(),
            problem,
        })
    }

    fn find(&self, network: Network) -> Result<PathBuf, Problem> {
        let cache = RepositoryCache::from_environment(self.repository)?;
        if !is_commit(self.revision) && !self.allow_moving {
            let commit = self.moving_commit(&cache, network)?;
            return Err(Problem::Moving { commit });
        }
        let commit = match is_commit(self.revision) {
            true => self.revision.to_owned(),
            false => self.resolve(&cache, network)?,
        };
        let kept = cache.kept(&commit);
        match (kept, network) {
            (Kept::All, _) | (Kept::Enough, Network::Off) => {}
            (Kept::TooLittle(missing), Network::Off) => {
                return Err(Problem::NotCached { missing });
            }
            (kept, Network::On) => {
                let hub = Hub::connect(&cache, self.repository)?;
                match hub.complete(&cache, &commit) {
                    Err(problem) if problem.is_unreachable() && kept == Kept::Enough => {
                        note(&format!(
                            "{problem}; using {} as it is in the cache",
                            self.repository
                        ));
                    }
                    result => result?,
                }
            }
        }
        Ok(cache.snapshot(&commit))
    }

    /// What a tag or branch points to now, as far as that can be found out.
    fn moving_commit(
        &self,
        cache: &RepositoryCache,
        network: Network,
    ) -> Result<Option<String>, Problem> {
        match self.resolve(cache, network) {
            Ok(commit) => Ok(Some(commit)),
            Err(Problem::NotCached { .. }) => Ok(None),
            Err(problem) if problem.is_unreachable() => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// The commit of a tag or branch: what the hub says, or the cache where the hub cannot be asked.
    fn resolve(&self, cache: &RepositoryCache, network: Network) -> Result<String, Problem> {
        let kept = cache.reference(self.revision);
        if network == Network::Off {
            let missing = vec![format!("the commit of `{}`", self.revision)];
            return kept.ok_or(Problem::NotCached { missing });
        }
        let hub = Hub::connect(cache, self.repository)?;
        match (hub.listing(self.revision), kept) {
            (Ok(listing), _) => {
                if self.allow_moving {
                    cache.set_reference(self.revision, &listing.commit);
                }
                Ok(listing.commit)
            }
            (Err(problem), Some(commit)) if problem.is_unreachable() => {
                note(&format!(
                    "{problem}; `{}` was {commit} when it was last asked for",
                    self.revision
                ));
                Ok(commit)
            }
            (Err(problem), _) => Err(problem),
        }
    }
}

/// Whether a revision is the full name of a commit, which always means the same files.
pub fn is_commit(revision: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    revision.len() == 40 && revision.bytes().all(hex)
}

/// A line on standard error. Nobody is left to tell when that fails.
fn note(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_full_commits_are_pinned() {
        assert!(is_commit("0123456789abcdef0123456789abcdef01234567"));
        for moving in [
            "main",
            "v1.0",
            "0123abc",
            "0123456789abcdef0123456789abcdef0123456g",
        ] {
            assert!(!is_commit(moving), "{moving}");
        }
    }
}
