//! The requests of the load as bytes, and the answers cut out of what a connection brings. Each request has an id of its own
//! in its path, which `http_worker` repeats; an answer to any other path, or with one byte missing, is no answer.

use crate::rng::Rng;
use crate::support::{Answer, Failure, judge};

/// One request in so many takes a while, so that a worker that is told to go has something to finish.
const SLOW_EACH: u64 = 256;
const SLOW_MS_MAX: u64 = 20;
/// One in so many has an answer that does not fit into one write.
const LARGE_EACH: u64 = 128;
const LARGE_BYTES_MAX: u64 = 64 * 1024;

/// What a client says of its connection in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    Kept,
    Last,
}

/// A path that no other request has.
pub fn path(rng: &mut Rng, id: &str) -> String {
    if rng.one_in(SLOW_EACH) {
        format!("/slow?ms={}&id={id}", 1 + rng.below(SLOW_MS_MAX))
    } else if rng.one_in(LARGE_EACH) {
        format!("/large?bytes={}&id={id}", rng.below(LARGE_BYTES_MAX))
    } else {
        format!("/?id={id}")
    }
}

pub fn request(path: &str, connection: Connection) -> String {
    let close = match connection {
        Connection::Kept => "",
        Connection::Last => "Connection: close\r\n",
    };
    format!("GET {path} HTTP/1.1\r\nHost: chaos\r\n{close}\r\n")
}

/// An answer as it stood at the beginning of what has come.
pub struct Cut {
    pub answer: Result<Answer, (Failure, String)>,
    /// Whether the server will close the connection behind it.
    pub closes: bool,
    /// Its length in bytes.
    pub length: usize,
}

/// The first answer in these bytes, if it is complete, judged as the one to this path.
pub fn cut(bytes: &[u8], path: &str) -> Option<Cut> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let fields = std::str::from_utf8(&bytes[..head]).unwrap_or_default();
    let field = |name| fields.lines().find_map(|line: &str| line.strip_prefix(name));
    // Without a length, the answer is what has come: it will be judged wrong.
    let body = field("Content-Length: ").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
    let length = head + 4 + body;
    let whole = bytes.get(..length)?;
    let answer = judge(path, Ok(whole.to_vec())).and_then(|answer| check_rest(path, answer));
    Some(Cut { answer, closes: field("Connection: ") == Some("close"), length })
}

/// Whether a large answer is as large as was asked.
fn check_rest(path: &str, answer: Answer) -> Result<Answer, (Failure, String)> {
    let Some((bytes, _)) = path.strip_prefix("/large?bytes=").and_then(|rest| rest.split_once('&')) else {
        return Ok(answer);
    };
    let whole = bytes.parse() == Ok(answer.rest.len()) && answer.rest.bytes().all(|byte| byte == b'x');
    let wrong = || (Failure::Wrong, format!("asked for {path}, got {} bytes", answer.rest.len()));
    if whole { Ok(answer) } else { Err(wrong()) }
}
