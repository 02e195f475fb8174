//! A small hub on this machine: one repository, served as huggingface.co serves it. Weights are redirected to another path, as to a CDN.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

pub const REPOSITORY: &str = "owner/name";
pub const COMMIT: &str = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";

/// What a server is made of. `main` points to [`COMMIT`].
#[derive(Clone, Default)]
pub struct Content {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Without this token, the answer is 401.
    pub token: Option<&'static str>,
    /// Whatever is asked for but the list of files, the answer is this.
    pub status: Option<&'static str>,
    /// Ranges of weights are ignored.
    pub no_ranges: bool,
}

impl Content {
    /// The files of a reference model.
    pub fn of(model: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/reference/models")
            .join(model);
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let read = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        };
        Self {
            files: entries.map(read).collect(),
            ..Self::default()
        }
    }

    pub fn with(mut self, name: &str, bytes: &[u8]) -> Self {
        self.files.insert(name.to_owned(), bytes.to_vec());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.files.remove(name).unwrap();
        self
    }
}

/// A request that was made.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<(u64, Option<u64>)>,
}

pub struct HubServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    /// While set, connections break in the middle of a weight file, or nothing more is said.
    pub cut: Arc<AtomicBool>,
    pub stall: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

impl HubServer {
    pub fn start(content: Content) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            cut: Arc::default(),
            stall: Arc::default(),
            stopped: Arc::default(),
        };
        let (requests, cut, stall, stopped) = (
            server.requests.clone(),
            server.cut.clone(),
            server.stall.clone(),
            server.stopped.clone(),
        );
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (content, requests) = (content.clone(), requests.clone());
                let (cut, stall) = (cut.clone(), stall.clone());
                // A client that goes away is no failure of the server.
                std::thread::spawn(move || answer(stream, &content, &requests, &cut, &stall).ok());
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked for until now.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Stops listening; the address is refused from now on.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        while TcpStream::connect(self.address).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

fn answer(
    mut stream: TcpStream,
    content: &Content,
    requests: &Mutex<Vec<Request>>,
    cut: &AtomicBool,
    stall: &AtomicBool,
) -> std::io::Result<()> {
    let request = read(&stream)?;
    requests.lock().unwrap().push(request.clone());
    let reply = reply(&request, content, stream.local_addr()?);
    let weights = reply.is_weights && reply.body.len() > 1;
    write!(stream, "HTTP/1.1 {}\r\nconnection: close\r\n", reply.status)?;
    write!(stream, "content-length: {}\r\n", reply.body.len())?;
    for (name, value) in &reply.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "\r\n")?;
    if weights && (cut.load(Ordering::SeqCst) || stall.load(Ordering::SeqCst)) {
        stream.write_all(&reply.body[..reply.body.len() / 2])?;
        while stall.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        return Ok(());
    }
    stream.write_all(&reply.body)
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let mut request = Request {
        path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        ..Request::default()
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => request.authorization = Some(value.to_owned()),
            "range" => request.range = range(value),
            _ => {}
        }
    }
    Ok(request)
}

/// `bytes=3-` or `bytes=3-5`.
fn range(value: &str) -> Option<(u64, Option<u64>)> {
    let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()))
}

#[derive(Default)]
struct Reply {
    status: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    is_weights: bool,
}

impl Reply {
    fn new(status: &str) -> Self {
        Self {
            status: status.to_owned(),
            ..Self::default()
        }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

fn reply(request: &Request, content: &Content, address: SocketAddr) -> Reply {
    let expected = content.token.map(|token| format!("Bearer {token}"));
    if let Some(name) = request.path.strip_prefix("/cdn/") {
        return bytes(request, &content.files[name], content);
    }
    if expected.is_some() && request.authorization != expected {
        return Reply::new("401 Unauthorized").with("x-error-code", "RepoNotFound");
    }
    if let Some(path) = request.path.strip_prefix("/api/models/") {
        return listing(path, content);
    }
    if let Some(status) = content.status {
        return Reply::new(status);
    }
    let resolve = format!("/{REPOSITORY}/resolve/{COMMIT}/");
    let name = request.path.strip_prefix(&resolve).unwrap_or_default();
    let Some(file) = content.files.get(name) else {
        return Reply::new("404 Not Found").with("x-error-code", "EntryNotFound");
    };
    let sha256: String = (Sha256::digest(file).iter())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if name.ends_with(".safetensors") {
        return Reply::new("302 Found")
            .with("x-repo-commit", COMMIT)
            .with("x-linked-etag", format!("\"{sha256}\""))
            .with("x-linked-size", file.len())
            .with("location", format!("http://{address}/cdn/{name}"));
    }
    bytes(request, file, content)
        .with("x-repo-commit", COMMIT)
        .with("etag", format!("\"{}\"", &sha256[..40]))
}

/// `owner/name/revision/REVISION`.
fn listing(path: &str, content: &Content) -> Reply {
    let Some(revision) = path.strip_prefix(&format!("{REPOSITORY}/revision/")) else {
        return Reply::new("404 Not Found").with("x-error-code", "RepoNotFound");
    };
    if revision != "main" && revision != COMMIT {
        return Reply::new("404 Not Found").with("x-error-code", "RevisionNotFound");
    }
    let siblings: Vec<_> = (content.files.keys())
        .map(|name| serde_json::json!({"rfilename": name}))
        .collect();
    let info =
        serde_json::json!({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings, "gated": false});
    Reply {
        body: info.to_string().into_bytes(),
        ..Reply::new("200 OK").with("content-type", "application/json")
    }
}

/// A file, or the range of it that was asked for.
fn bytes(request: &Request, file: &[u8], content: &Content) -> Reply {
    let length = file.len() as u64;
    let is_weights = request.path.ends_with(".safetensors");
    let (from, to) = match request.range {
        Some((0, Some(0))) => (0, 1),
        Some((from, None)) if !(is_weights && content.no_ranges) => (from, length),
        _ => (0, length),
    };
    if from >= length {
        return Reply::new("416 Range Not Satisfiable");
    }
    Reply {
        body: file[from as usize..to as usize].to_vec(),
        is_weights,
        ..Reply::new("206 Partial Content")
            .with("content-range", format!("bytes {from}-{}/{length}", to - 1))
    }
}
