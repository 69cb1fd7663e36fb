//! Releases of servers that people run: the very files of `examples/servers`, copied into a release's directory. Edits let them answer
//! as `http_worker` does, so that the same clients can judge them, and make a bad release of the good one. In an edit, `@RELEASE@`
//! becomes the name of the release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::kind::{End, Expected, Kind, Length, Server};

/// One of the samples.
pub struct Sample {
    pub files: &'static [&'static str],
    /// Starts it, in the directory of the release.
    pub script: &'static str,
    /// What all of its releases have otherwise than the sample.
    pub edits: &'static [Edit],
}

/// In a file, a text that stands there once, and what comes in its place.
pub type Edit = (&'static str, &'static str, &'static str);

pub const GUNICORN_ANSWER: Edit = (
    "gunicorn_app.py",
    "{os.getpid()} {path}\\n",
    "pid {os.getpid()}\\nindex 0\\nversion @RELEASE@\\npath {path}\\n\\n",
);

pub const GUNICORN: Sample = Sample {
    files: &["gunicorn.conf.py", "gunicorn_app.py"],
    script: "exec gunicorn --config gunicorn.conf.py gunicorn_app:app",
    edits: &[("gunicorn.conf.py", "chdir = \"examples/servers\"\n", ""), GUNICORN_ANSWER],
};

pub const PUMA_ANSWER: Edit = (
    "config.ru",
    "#{Process.pid} #{env['REQUEST_URI']}\\n",
    "pid #{Process.pid}\\nindex 0\\nversion @RELEASE@\\npath #{env['REQUEST_URI']}\\n\\n",
);

pub const PUMA: Sample = Sample {
    files: &["puma.rb", "config.ru"],
    script: "export PUMA_INHERIT_0=3:tcp://einhyrningsins:8080; exec puma --config puma.rb config.ru",
    edits: &[PUMA_ANSWER],
};

pub const NODE_ANSWER: Edit = (
    "node.js",
    "${process.pid} ${request.url}\\n",
    "pid ${process.pid}\\nindex 0\\nversion @RELEASE@\\npath ${request.url}\\n\\n",
);

pub const NODE: Sample = Sample { files: &["node.js"], script: "exec node node.js", edits: &[NODE_ANSWER] };

/// What is compiled is bad by a variable, since one build takes longer than a test.
const GO: &[Edit] = &[
    (
        "server.go",
        "\"%d %s\\n\", os.Getpid(), r.RequestURI",
        "\"pid %d\\nindex 0\\nversion %s\\npath %s\\n\\n\", os.Getpid(), os.Getenv(\"WORKER_VERSION\"), r.RequestURI",
    ),
    (
        "server.go",
        "func main() {\n",
        "func main() {\n\tswitch os.Getenv(\"FAULT\") {\n\tcase \"variable\":\n\t\tlog.Fatal(\"DATABASE_URL is not set\")\n\
         \tcase \"crash\":\n\t\ttime.AfterFunc(1500*time.Millisecond, func() { panic(\"out of luck\") })\n\t}\n",
    ),
    (
        "server.go",
        "\tcheck(ack())\n",
        "\tif os.Getenv(\"FAULT\") == \"port\" {\n\t\tlistener, err = net.Listen(\"tcp\", \"127.0.0.1:0\")\n\t\tcheck(err)\n\t}\n\tcheck(ack())\n",
    ),
];

const GIVEN_UP: Expected =
    Expected::Certain { code: 1, end: End::Back, words: "new workers in a row died or did not ACK" };

const fn kind(name: &'static str, server: Server, expected: Expected) -> Kind {
    Kind { name, length: Length::Long, server, expected }
}

/// The sample with these edits, and one fault more.
const fn of(sample: &'static Sample, fault: &'static [Edit]) -> Server {
    Server::Sample(sample, fault)
}

use Expected::OnTrial;

pub const KINDS: &[Kind] = &[
    kind("gunicorn: syntax error", of(&GUNICORN, &[("gunicorn_app.py", "def app(", "def app((")]), GIVEN_UP),
    kind(
        "gunicorn: missing module",
        of(&GUNICORN, &[("gunicorn_app.py", "import time", "import time, no_such")]),
        GIVEN_UP,
    ),
    // Its exit code for an application that cannot be loaded: the first process ends as well.
    kind(
        "gunicorn: acks, then crashes",
        of(
            &GUNICORN,
            &[(
                "gunicorn_app.py",
                "import time",
                "import time, threading; threading.Timer(1.5, os._exit, [3]).start()",
            )],
        ),
        OnTrial,
    ),
    kind("gunicorn: wrong port", of(&GUNICORN, &[("gunicorn.conf.py", "fd://3", "127.0.0.1:0")]), OnTrial),
    kind("puma: syntax error", of(&PUMA, &[("config.ru", "run(lambda", "run((lambda")]), GIVEN_UP),
    kind("puma: missing module", of(&PUMA, &[("config.ru", "run(lambda", "require 'no_such'; run(lambda")]), GIVEN_UP),
    kind(
        "puma: acks, then crashes",
        of(&PUMA, &[("config.ru", "run(lambda", "Thread.new { sleep 1.5; exit!(1) }; run(lambda")]),
        OnTrial,
    ),
    kind(
        "puma: wrong port",
        of(&PUMA, &[("puma.rb", "tcp://einhyrningsins:8080'\nthreads", "tcp://127.0.0.1:0'\nthreads")]),
        OnTrial,
    ),
    kind("Node: syntax error", of(&NODE, &[("node.js", "http.createServer((", "http.createServer(((")]), GIVEN_UP),
    kind("Node: missing module", of(&NODE, &[("node.js", "require('node:net')", "require('no-such')")]), GIVEN_UP),
    kind(
        "Node: acks, then crashes",
        of(
            &NODE,
            &[(
                "node.js",
                "process.once(",
                "setTimeout(() => { throw new Error('out of luck') }, 1500)\nprocess.once(",
            )],
        ),
        OnTrial,
    ),
    kind(
        "Node: wrong port",
        of(&NODE, &[("node.js", "{ fd: Number(process.env.EINHORN_FD_0) }", "0, '127.0.0.1'")]),
        OnTrial,
    ),
    kind("Go: missing variable", Server::Go("variable"), GIVEN_UP),
    kind("Go: acks, then crashes", Server::Go("crash"), OnTrial),
    kind("Go: wrong port", Server::Go("port"), OnTrial),
];

/// The release before that of a kind.
pub fn good(kind: &Kind) -> Server {
    match kind.server {
        Server::Sample(sample, _) => Server::Sample(sample, &[]),
        Server::Go(_) => Server::Go(""),
        Server::Script(_) | Server::Raw(_) | Server::Foreign | Server::Made(_) | Server::Configured(_) => {
            Server::Script("serve")
        }
    }
}

impl Sample {
    /// Copies the files into a release's directory, and returns the lines of the script that starts the server there.
    pub fn put(&self, home: &Path, fault: &[Edit]) -> String {
        let release = home.file_name().expect("it has a name").to_string_lossy();
        for file in self.files {
            let edits = self.edits.iter().chain(fault).filter(|(name, _, _)| name == file);
            let text = edited(file, edits).replace("@RELEASE@", &release);
            fs::write(home.join(file), text).expect("a file can be written");
        }
        format!("cd \"$home\"; {}", self.script)
    }
}

/// The compiled sample in Go; it is built once, in a directory of its own.
pub fn go_server() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bad_releases_go");
        fs::create_dir_all(&directory).expect("a directory can be made");
        fs::write(directory.join("server.go"), edited("server.go", GO.iter())).expect("a file can be written");
        let mut command = Command::new("go");
        command.args(["build", "-o", "server", "server.go"]).current_dir(&directory).env("GO111MODULE", "off");
        assert!(command.status().expect("go is installed by make bad-releases").success());
        directory.join("server")
    })
}

fn edited<'a>(file: &str, edits: impl Iterator<Item = &'a Edit>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/servers").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    edits.fold(text, |text, (_, from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{file} should have {from:?} once:\n{text}");
        text.replace(from, to)
    })
}
