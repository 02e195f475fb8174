//! Downloads through hf-hub.
//!
//! hf-hub speaks the protocol, follows redirects, resumes what was cut off and gives a file its name when it is complete. What it
//! leaves out is here: the token of the environment, waiting no longer than is sensible, trying again, checking what arrived, and not
//! fetching a blob twice.
//!
//! Known and not to be changed from here: when hf-hub 0.5 asks for the size of a file, it sends the token along to where the hub
//! redirects it (its CDN). The download itself does not.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiRepo, Metadata};
use hf_hub::{Cache, Repo, RepoType};
use indicatif::HumanBytes;

use super::cache::{RepositoryCache, home_folder, is_inside};
use super::error::Problem;
use super::files::{self, OPTIONAL};
use super::watch::{NoResult, Shown, watched};
use super::{is_commit, note};
use crate::model::checkpoint::{INDEX, read_index};

const PUBLIC_HUB: &str = "https://huggingface.co";
/// Seconds of silence after which a request is given up.
const PATIENCE: u64 = 30;
/// How often a file is asked for when the connection breaks.
const ATTEMPTS: usize = 3;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(500);

/// A repository at the hub.
pub struct Hub {
    api: Api,
    repository: String,
    /// Without user name and password.
    endpoint: String,
    signed_in: bool,
    patience: Duration,
}

/// What a repository has at a commit.
pub struct Listing {
    /// The commit.
    pub commit: String,
    names: Vec<String>,
}

impl Hub {
    /// Prepares requests as the environment says (`HF_ENDPOINT`, `HF_TOKEN` and what `hf auth login` left); sends none.
    pub fn connect(cache: &RepositoryCache, repository: &str) -> Result<Self, Problem> {
        let variable = |name: &str| std::env::var_os(name);
        let endpoint = text(variable, "HF_ENDPOINT").unwrap_or_else(|| PUBLIC_HUB.to_owned());
        let endpoint = endpoint.trim_end_matches('/');
        check_endpoint(endpoint)?;
        let token = token(variable);
        let signed_in = token.is_some();
        let shown = without_user(endpoint);
        let api = ApiBuilder::from_cache(Cache::new(cache.root.clone()))
            .with_endpoint(endpoint.to_owned())
            .with_token(token)
            .with_progress(false)
            .with_retries(0)
            .with_user_agent("reachspec", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|e| Problem::api(&shown, &cache.root, e, signed_in))?;
        let patience = text(variable, "HF_HUB_DOWNLOAD_TIMEOUT");
        let patience = patience.and_then(|seconds| seconds.parse().ok());
        Ok(Self {
            api,
            repository: repository.to_owned(),
            endpoint: shown,
            signed_in,
            patience: Duration::from_secs(patience.unwrap_or(PATIENCE).max(1)),
        })
    }

    /// Asks what commit a revision is, and which files it has.
    pub fn listing(&self, revision: &str) -> Result<Listing, Problem> {
        let request = self.at(revision).info_request();
        // Without this, the hub's own name for an error would be thrown away.
        let request = request.config().http_status_as_error(false).build();
        let answer = self.wait(move |_| request.call())?;
        let mut answer = answer.map_err(|e| self.request(&e))?;
        let status = answer.status();
        if !status.is_success() {
            let code = answer.headers().get("x-error-code");
            let code = code.and_then(|code| code.to_str().ok());
            return Err(Problem::status(
                &self.endpoint,
                status.as_u16(),
                code,
                self.signed_in,
            ));
        }
        let info = self.wait(move |_| answer.body_mut().read_json::<RepoInfo>())?;
        let info = info.map_err(|e| self.strange(format!("no list of files: {e}")))?;
        if !is_commit(&info.sha) {
            return Err(self.strange("it names no commit"));
        }
        let names = info.siblings.into_iter().map(|file| file.rfilename);
        Ok(Listing {
            commit: info.sha,
            names: names.collect(),
        })
    }

    /// Downloads what the snapshot of a commit lacks, the weights last.
    pub fn complete(&self, cache: &RepositoryCache, commit: &str) -> Result<(), Problem> {
        let listing = self.listing(commit)?;
        if listing.commit != commit {
            return Err(self.strange("it answers with another commit"));
        }
        let (small, weights) = files::chosen(&listing.names)?;
        for name in OPTIONAL.iter().filter(|name| !small.contains(name)) {
            cache.set_absent(commit, name);
        }
        for name in small {
            self.fetch(cache, commit, name)?;
        }
        self.fetch(cache, commit, weights)?;
        if weights == INDEX {
            for shard in shards(&cache.snapshot(commit).join(INDEX), &listing)? {
                self.fetch(cache, commit, &shard)?;
            }
        }
        Ok(())
    }

    /// Downloads one file that is not there yet.
    fn fetch(&self, cache: &RepositoryCache, commit: &str, name: &str) -> Result<(), Problem> {
        let file = cache.snapshot(commit).join(name);
        if file.is_file() {
            return Ok(());
        }
        let metadata = self.metadata(cache, commit, name)?;
        let (etag, size) = (metadata.etag(), metadata.size() as u64);
        let blob = cache.blob(etag);
        if length(&blob) == Some(size) && cache.link(commit, name, etag)? {
            return Ok(());
        }
        note(&format!(
            "downloading {name} of {}@{}, {}",
            self.repository,
            &commit[..12],
            HumanBytes(size)
        ));
        let part = blob.with_extension("part");
        let mut attempt = 1;
        loop {
            // Nothing would be left to ask for, which servers answer with an error.
            if length(&part).is_some_and(|length| length >= size) {
                std::fs::remove_file(&part).map_err(|e| Problem::io(&part, e))?;
            }
            match self.download(cache, commit, name) {
                Err(Problem::Unreachable { .. }) if attempt < ATTEMPTS => attempt += 1,
                result => break result?,
            }
            std::thread::sleep(BETWEEN_ATTEMPTS);
        }
        check_length(&file, &blob, name, size)
    }

    fn download(&self, cache: &RepositoryCache, commit: &str, name: &str) -> Result<(), Problem> {
        let (repository, file) = (self.at(commit), name.to_owned());
        let work = move |beat| repository.download_with_progress(&file, Shown::new(beat));
        let arrived = self.wait(work)?;
        arrived.map_err(|e| Problem::api(&self.endpoint, &cache.root, e, self.signed_in))?;
        Ok(())
    }

    /// Size and name in the cache of a file.
    fn metadata(
        &self,
        cache: &RepositoryCache,
        commit: &str,
        name: &str,
    ) -> Result<Metadata, Problem> {
        let (api, url) = (self.api.clone(), self.at(commit).url(name));
        let metadata = self.wait(move |_| api.metadata(&url))?;
        let metadata =
            metadata.map_err(|e| Problem::api(&self.endpoint, &cache.root, e, self.signed_in))?;
        // Both become names of files.
        if metadata.commit_hash() != commit || !is_inside(metadata.etag()) {
            return Err(self.strange(format!("{name} has another commit, or a strange etag")));
        }
        Ok(metadata)
    }

    fn at(&self, revision: &str) -> ApiRepo {
        let (repository, revision) = (self.repository.clone(), revision.to_owned());
        let model = Repo::with_revision(repository, RepoType::Model, revision);
        self.api.repo(model)
    }

    fn wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(Box<dyn Fn() + Send>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        watched(self.patience, work).map_err(|why| match why {
            NoResult::Silent => Problem::Silent {
                endpoint: self.endpoint.clone(),
                seconds: self.patience.as_secs(),
            },
            NoResult::Stopped => Problem::Stopped,
        })
    }

    fn request(&self, error: &ureq::Error) -> Problem {
        Problem::request(&self.endpoint, error, self.signed_in)
    }

    fn strange(&self, why: impl Into<String>) -> Problem {
        Problem::Strange {
            endpoint: self.endpoint.clone(),
            why: why.into(),
        }
    }
}

/// The shards that an index names; all are plain names of safetensors files in the repository.
fn shards(index: &Path, listing: &Listing) -> Result<Vec<String>, Problem> {
    let map = read_index(index).map_err(Problem::BadIndex)?;
    let mut shards: Vec<String> = map.into_values().collect();
    shards.sort();
    shards.dedup();
    for shard in &shards {
        if !shard.ends_with(".safetensors") {
            let problem = format!("names the shard `{shard}`, which is not a safetensors file");
            return Err(Problem::BadIndex(problem));
        }
        if !listing.names.contains(shard) {
            return Err(Problem::NoSuchFile(shard.clone()));
        }
    }
    Ok(shards)
}

/// A server that does not know ranges sends the whole file where only its end was asked for.
fn check_length(file: &Path, blob: &Path, name: &str, expected: u64) -> Result<(), Problem> {
    let arrived = length(file).unwrap_or_default();
    if arrived == expected {
        return Ok(());
    }
    for path in [blob, file] {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Problem::io(path, e)),
            _ => {}
        }
    }
    Err(Problem::Damaged {
        name: name.to_owned(),
        arrived,
        expected,
    })
}

fn length(file: &Path) -> Option<u64> {
    Some(std::fs::metadata(file).ok()?.len())
}

/// The access token, where huggingface_hub finds it.
fn token(variable: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let given = text(&variable, "HF_TOKEN").or_else(|| text(&variable, "HUGGING_FACE_HUB_TOKEN"));
    if given.is_some() {
        return given;
    }
    let file = text(&variable, "HF_TOKEN_PATH").map(Into::into);
    let file = file.or_else(|| Some(home_folder(&variable)?.join("token")))?;
    let token = std::fs::read_to_string(file).ok()?.trim().to_owned();
    (!token.is_empty()).then_some(token)
}

fn text(variable: impl Fn(&str) -> Option<OsString>, name: &str) -> Option<String> {
    let value = variable(name)?.into_string().ok()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

fn check_endpoint(endpoint: &str) -> Result<(), Problem> {
    let address: ureq::http::Uri = endpoint.parse().map_err(|_| Problem::BadEndpoint)?;
    let web = matches!(address.scheme_str(), Some("http" | "https"));
    match web && address.host().is_some_and(|host| !host.is_empty()) {
        true => Ok(()),
        false => Err(Problem::BadEndpoint),
    }
}

/// An address as it may be shown.
fn without_user(endpoint: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.rfind('@').map_or(rest, |at| &rest[at + 1..]);
            format!("{scheme}://{host}")
        }
        None => endpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_passwords() {
        assert_eq!(without_user("https://a:b@hub.org/x"), "https://hub.org/x");
        assert_eq!(without_user(PUBLIC_HUB), PUBLIC_HUB);
    }

    #[test]
    fn endpoints_are_web_addresses() {
        assert!(check_endpoint("http://127.0.0.1:80").is_ok());
        for bad in ["huggingface.co", "ftp://x", "http://", "/x", "a b"] {
            assert!(check_endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_token_comes_from_the_environment_or_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().as_os_str().to_owned();
        let variable = |name: &str| (name == "HF_HOME").then(|| home.clone());
        assert_eq!(token(variable), None);
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(token(variable).as_deref(), Some("hf_file"));
        let both = |name: &str| {
            (name == "HF_TOKEN")
                .then(|| "hf_env".into())
                .or_else(|| variable(name))
        };
        assert_eq!(token(both).as_deref(), Some("hf_env"));
    }
}
