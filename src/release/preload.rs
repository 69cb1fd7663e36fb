//! What loads the program of a version once, so that its workers are forked from what was loaded: which interpreter runs which loader,
//! with which arguments, and what the master and the loader say to each other. Looks at the system, and starts nothing.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::wire;
use crate::config::Config;
use crate::files::program;
use crate::release::environment::Environment;

/// In which a loader finds the number of its socket.
pub(crate) const LOADER_FD: &str = "EINHYRNINGSINS_LOADER_FD";

/// What is called in each worker where nothing else is configured.
const MAIN: &str = "einhorn_main";

/// How long a program may take to load where nothing else is configured.
const TIMEOUT: Duration = Duration::from_secs(300);

/// How much of a long command the title is.
const TITLE_BYTES_MAX: usize = 4096;

const RUBY_LOADER: &str = include_str!("loaders/ruby.rb");
const PYTHON_LOADER: &str = include_str!("loaders/python.py");

/// What is loaded, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Preload {
    /// A file, or what the language looks for by that name.
    #[serde(with = "wire")]
    pub(crate) path: PathBuf,
    /// The function that is called in each worker.
    pub(crate) main: String,
    pub(crate) timeout: Duration,
    /// Whether an upgrade is given up when it cannot be loaded.
    pub(crate) is_required: bool,
    /// Whether the loader collects garbage before the first worker is forked.
    pub(crate) collects: bool,
    /// What ps(1) shows the workers as.
    #[serde(with = "wire")]
    pub(crate) title: OsString,
}

impl Preload {
    pub(crate) fn of(config: &Config, pin: impl FnOnce(&OsStr) -> Option<OsString>) -> Option<Self> {
        let path = config.preload.as_ref()?;
        let path = pin(path.as_os_str()).map_or_else(|| path.clone(), PathBuf::from);
        Some(Self {
            path,
            main: config.preload_main.clone().unwrap_or_else(|| MAIN.to_owned()),
            timeout: config.preload_timeout.unwrap_or(TIMEOUT),
            is_required: config.preload_required,
            collects: config.gc_before_fork,
            title: cut(worker_title(config)),
        })
    }
}

impl Preload {
    /// Whether Ruby looks for it by its name, as for a library.
    pub(crate) fn is_library(&self, directory: Option<&Path>) -> bool {
        self.path.extension().is_some_and(|extension| extension == "rb") || !self.file(directory).exists()
    }

    /// From where the master is; `directory` is the workers', if that is another.
    fn file(&self, directory: Option<&Path>) -> PathBuf {
        directory.map_or_else(|| self.path.clone(), |directory| directory.join(&self.path))
    }
}

/// A title has no use for more, and exec takes no word that is endless.
fn cut(title: OsString) -> OsString {
    let mut bytes = title.into_vec();
    bytes.truncate(TITLE_BYTES_MAX);
    OsString::from_vec(bytes)
}

/// The command, or `ruby NAME` with a command name, as einhorn has it whatever it runs.
pub(crate) fn worker_title(config: &Config) -> OsString {
    match &config.command_name {
        Some(name) => format!("ruby {name}").into(),
        None => config.program.join(OsStr::new(" ")),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Ruby,
    Python,
}

impl Language {
    /// That of an interpreter with this name, as `/usr/bin/ruby3.1`.
    fn of_interpreter(word: &OsStr) -> Option<Self> {
        let name = Path::new(word).file_name()?.as_bytes();
        let is = |prefix: &str| name.strip_prefix(prefix.as_bytes()).is_some_and(is_version);
        if is("ruby") {
            Some(Self::Ruby)
        } else if is("python") {
            Some(Self::Python)
        } else {
            None
        }
    }

    fn of_path(path: &Path) -> Self {
        let is_module = !path.exists() && path.extension().is_none_or(|extension| extension != "rb");
        match path.extension() {
            Some(extension) if extension == "py" => Self::Python,
            Some(_) if is_module => Self::Python,
            _ => Self::Ruby,
        }
    }

    fn interpreter(self) -> &'static str {
        match self {
            Self::Ruby => "ruby",
            Self::Python => "python3",
        }
    }
}

fn is_version(rest: &[u8]) -> bool {
    rest.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
}

/// How a loader is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoaderCommand {
    pub(crate) path: PathBuf,
    pub(crate) argv: Vec<OsString>,
    /// What its interpreter reads. None: it is a program of its own.
    pub(crate) script: Option<&'static str>,
    /// What a worker finds as its arguments.
    pub(crate) worker_argv: Vec<OsString>,
}

/// For the program whose words are `argv`, and whose file is `file`. The interpreter reads its script from the descriptor `script_fd`.
///
/// # Errors
/// There is no interpreter.
pub(crate) fn loader_command(
    preload: &Preload,
    argv: &[OsString],
    file: &Path,
    environment: &Environment,
    directory: Option<&Path>,
    script_fd: RawFd,
) -> Result<LoaderCommand, String> {
    if program::is_machine_code(&preload.file(directory)).unwrap_or_default() {
        let argv_of_loader = std::iter::once(preload.path.clone().into_os_string()).chain(argv.iter().cloned());
        let (path, argv_of_loader) = (preload.path.clone(), argv_of_loader.collect());
        return Ok(LoaderCommand { path, argv: argv_of_loader, script: None, worker_argv: argv.to_vec() });
    }
    let by_name = argv.first().and_then(|word| Some((Language::of_interpreter(word)?, vec![word.clone()])));
    let by_first_line = || {
        let words = program::interpreter_line(file).ok().flatten()?;
        Some((words.iter().find_map(|word| Language::of_interpreter(word))?, words))
    };
    // The interpreter is a word of the command itself: einhorn leaves it out of what the program finds as its arguments.
    let skipped = usize::from(by_name.is_some());
    let (language, words) = by_name.or_else(by_first_line).unwrap_or_else(|| {
        let language = Language::of_path(&preload.file(directory));
        (language, vec![language.interpreter().into()])
    });
    let path_var = environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let name = words.first().map_or(OsStr::new(""), OsString::as_os_str);
    let path = if skipped == 1 {
        file.to_owned()
    } else {
        program::find_program(name, path_var).map_err(|error| error.to_string())?
    };
    let collects = if preload.collects { "collect" } else { "keep" };
    let worker_argv: Vec<OsString> = match language {
        Language::Ruby => argv.iter().skip(skipped + 1).cloned().collect(),
        Language::Python => argv.iter().skip(skipped).cloned().collect(),
    };
    let script = OsString::from(format!("/proc/self/fd/{script_fd}"));
    let own =
        [script, preload.path.clone().into(), preload.main.clone().into(), preload.title.clone(), collects.into()];
    let argv = words.into_iter().chain(own).chain(worker_argv.iter().cloned()).collect();
    let script = match language {
        Language::Ruby => RUBY_LOADER,
        Language::Python => PYTHON_LOADER,
    };
    Ok(LoaderCommand { path, argv, script: Some(script), worker_argv })
}

/// A message: each field is a key and its value.
pub(crate) fn message(fields: &[(&str, OsString)]) -> Vec<u8> {
    let parts = fields.iter().flat_map(|(key, value)| [key.as_bytes(), &[0], value.as_bytes(), &[0]]);
    parts.flatten().copied().collect()
}

/// What a loader says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Workers can be forked. How many threads and connections they will not have.
    Loaded { threads: u64, sockets: u64 },
    /// They cannot be, and why.
    Failed(String),
    /// They cannot be: it has no function of this name.
    Without(String),
    /// The worker of this launch.
    Forked { launch: u64, pid: i32 },
    /// There is none for this launch, and the errno that says why.
    ForkFailed { launch: u64, errno: i32 },
}

impl Word {
    /// # Errors
    /// It says nothing that is known.
    pub(crate) fn read(message: &[u8]) -> Result<Self, String> {
        let fields: Vec<&[u8]> = message.split(|byte| *byte == 0).collect();
        let text = |key: &str| {
            let found = fields.chunks(2).find_map(|pair| (pair[0] == key.as_bytes()).then_some(pair.get(1)?));
            found.map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let number = |key: &str| text(key).and_then(|value| value.parse::<i64>().ok());
        let count = |key: &str| number(key).and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
        if let Some(reason) = text("failed") {
            return Ok(Self::Failed(reason));
        }
        if let Some(main) = text("without") {
            return Ok(Self::Without(main));
        }
        if text("loaded").is_some() {
            return Ok(Self::Loaded { threads: count("threads"), sockets: count("sockets") });
        }
        let launch = number("launch").and_then(|launch| u64::try_from(launch).ok());
        let small = |key: &str| number(key).and_then(|number| i32::try_from(number).ok());
        match (launch, small("pid"), small("error")) {
            (Some(launch), Some(pid), _) if pid > 1 => Ok(Self::Forked { launch, pid }),
            (Some(launch), None, Some(errno)) => Ok(Self::ForkFailed { launch, errno }),
            _ => Err("need loaded, failed, or launch with pid or error".to_owned()),
        }
    }
}

/// One variable, as a message has it.
pub(crate) fn assignment((name, value): &(OsString, OsString)) -> OsString {
    OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preload(path: &str) -> Preload {
        let (main, title) = (MAIN.to_owned(), "title".into());
        Preload { path: path.into(), main, timeout: TIMEOUT, is_required: false, collects: false, title }
    }

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_interpreter_of_the_program_runs_the_loader() {
        let dir = tempfile::tempdir().unwrap();
        let path_of = |name: &str| dir.path().join(name);
        let environment = vec![("PATH".into(), std::env::var_os("PATH").unwrap())];
        std::fs::write(path_of("server"), "#!/usr/bin/env python3\n").unwrap();
        let script = path_of("server");
        let command = |argv: &[OsString], path: &str| {
            loader_command(&preload(path), argv, &script, &environment, None, 9).unwrap()
        };
        let python = command(&[script.clone().into(), "a".into()], "/srv/app.rb");
        assert_eq!((python.path.as_path(), python.script), (Path::new("/usr/bin/env"), Some(PYTHON_LOADER)));
        let expected = words("/usr/bin/env python3 /proc/self/fd/9 /srv/app.rb einhorn_main title keep");
        assert_eq!(python.argv[..7], expected);
        assert_eq!(python.worker_argv, [OsString::from(&script), "a".into()]);
        let ruby = command(&words("/opt/bin/ruby3.1 server.rb a"), "x.py");
        assert_eq!((ruby.path, ruby.script), (script.clone(), Some(RUBY_LOADER)));
        assert_eq!((ruby.argv.last().cloned(), ruby.worker_argv), (Some("a".into()), words("a")));
    }

    #[test]
    fn without_an_interpreter_the_path_tells_the_language() {
        for (path, language) in [
            ("/srv/app.py", Language::Python),
            ("package.module", Language::Python),
            ("/srv/app.rb", Language::Ruby),
            ("app", Language::Ruby),
        ] {
            assert_eq!(Language::of_path(Path::new(path)), language, "{path}");
        }
    }

    #[test]
    fn what_a_loader_says_is_read() {
        for (text, word) in [
            ("loaded  threads 2 sockets 1 ", Ok(Word::Loaded { threads: 2, sockets: 1 })),
            ("failed reason ", Ok(Word::Failed("reason".to_owned()))),
            ("without main ", Ok(Word::Without("main".to_owned()))),
            ("launch 7 pid 123 ", Ok(Word::Forked { launch: 7, pid: 123 })),
            ("launch 7 error 11 ", Ok(Word::ForkFailed { launch: 7, errno: 11 })),
            ("launch 7 pid 1 ", Err(())),
            ("launch 7", Err(())),
            ("", Err(())),
        ] {
            assert_eq!(Word::read(text.replace(' ', "\0").as_bytes()).map_err(drop), word, "{text:?}");
        }
    }

    #[test]
    fn a_message_is_a_list_of_fields() {
        let fields =
            [("launch", "7".into()), ("env", assignment(&("A".into(), "b=c d".into()))), ("output", "".into())];
        assert_eq!(String::from_utf8(message(&fields)).unwrap().replace('\0', "|"), "launch|7|env|A=b=c d|output||");
    }
}
