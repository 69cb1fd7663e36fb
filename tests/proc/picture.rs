//! doc/picture.py draws an upgrade as it was: the picture is well-formed and its counts are there, and when requests are
//! lost it is not drawn over the one before.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{EINHYRNINGSINS, example};

/// Answers as `http_worker` does, but closes every third connection without a word.
const LOSER: &str = r#"
import json, os, signal, socket, sys

signal.signal(signal.SIGUSR2, lambda *_: sys.exit(0))
listener = socket.socket(fileno=int(os.environ["EINHORN_FD_0"]))
with socket.socket(socket.AF_UNIX) as control:
    control.connect(os.environ["EINHORN_SOCK_PATH"])
    control.sendall(json.dumps({"command": "worker:ack", "pid": os.getpid()}).encode() + b"\n")
release = open("WORKER_VERSION").read()
while True:
    client, _ = listener.accept()
    with client:
        path = client.recv(65536).split(b" ")[1].decode()
        if int(path.rpartition("=")[2]) % 3:
            body = f"pid {os.getpid()}\nindex 0\nversion {release}\npath {path}\n\n"
            client.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
"#;

/// Prints every text of an SVG, a line each; fails if it is not well-formed.
const TEXTS: &str = "
import sys, xml.etree.ElementTree as tree
for element in tree.parse(sys.argv[1]).iter():
    if element.tag.endswith('}text') or element.tag.endswith('}title'):
        print(element.text)
";

fn draw(directory: &Path, worker: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/picture.py");
    let mut command = Command::new("python3");
    command.arg(script).arg("--programs").arg(Path::new(EINHYRNINGSINS).parent().unwrap()).env("TMPDIR", directory);
    command.arg("--out").arg(directory.join("out.svg")).arg("--lost").arg(directory.join("lost.svg"));
    command.arg("--").args(worker).output().unwrap()
}

fn texts(picture: &Path) -> Vec<String> {
    let output = Command::new("python3").args(["-c", TEXTS]).arg(picture).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The number that stands above these words.
fn number_above(texts: &[String], words: &str) -> u64 {
    let at = texts.iter().position(|text| text == words).unwrap_or_else(|| panic!("no {words:?} in {texts:?}"));
    texts[at - 1].replace(',', "").parse().unwrap_or_else(|_| panic!("no number above {words:?} in {texts:?}"))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn an_upgrade_is_drawn_with_the_counts_of_its_run() {
    example("http_worker");
    let directory = tempfile::tempdir().unwrap();
    let output = draw(directory.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(names(directory.path()), ["out.svg"], "nothing else is left behind");
    let texts = texts(&directory.path().join("out.svg"));
    let [sent, one, two, lost] = ["requests sent", "answered by release one", "answered by release two", "lost"]
        .map(|words| number_above(&texts, words));
    assert!(one > 0 && two > 0, "{texts:?}");
    assert_eq!((one + two, lost), (sent, 0), "{texts:?}");
    assert!(texts[0].ends_with(" requests, 0 lost"), "{texts:?}");
    assert!(texts.iter().any(|text| text == "replaces its own program, keeps its pid"), "{texts:?}");
    assert_eq!(texts.iter().filter(|text| text.starts_with("worker ")).count(), 8, "{texts:?}");
}

#[test]
fn a_picture_is_not_drawn_over_when_requests_are_lost() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("out.svg"), "the one before").unwrap();
    let output = draw(directory.path(), &["python3", "-c", LOSER]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("requests were lost"), "{output:?}");
    assert_eq!(fs::read_to_string(directory.path().join("out.svg")).unwrap(), "the one before");
    let picture = directory.path().join("lost.svg");
    let texts = texts(&picture);
    let lost = number_above(&texts, "lost");
    assert!(lost > 0 && lost < number_above(&texts, "requests sent"), "{texts:?}");
    assert!(fs::read_to_string(picture).unwrap().contains("class=\"big lost\""), "it says so in red");
}
