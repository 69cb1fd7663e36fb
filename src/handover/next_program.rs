//! What a re-exec runs: the file that stands where this program was called from, or what `--reexec-as` names; its words, and the
//! environment that the first master was born with.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::files::program::find_program;
use crate::output::title;
use crate::release::environment::Environment;

/// Its path, its words without those that depend on the occasion, and its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NextProgram {
    pub(crate) path: PathBuf,
    /// With its name first.
    head: Vec<OsString>,
    /// What it is called in a list of processes from the first moment on, where it takes any name.
    title: Option<OsString>,
    /// The workers' program, which einhorn's wrappers know.
    command: Vec<OsString>,
    pub(crate) environment: Environment,
}

impl NextProgram {
    /// `image` is where this program was called from.
    ///
    /// # Errors
    /// `--reexec-as` names nothing that can be run, or it is not known from which file this program was started.
    pub(crate) fn of(config: &Config, image: Option<&Path>, environ: &Environment) -> Result<Self, String> {
        let environment = environment(config, environ);
        let (path, head) = match (&config.reexec_as, image) {
            (Some(words), _) => {
                let words: Vec<OsString> = words.iter().map(OsString::from).collect();
                let path_var = environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
                let name = words.first().map_or(OsStr::new(""), |name| name.as_os_str());
                (find_program(name, path_var).map_err(|error| error.to_string())?, words)
            }
            (None, Some(image)) => return Ok(Self::of_image(config, image, environ)),
            (None, None) => return Err("the file that this program was started from is not known".to_owned()),
        };
        Ok(Self { path, head, title: None, command: config.program.clone(), environment })
    }

    /// Where this program was called from.
    pub(crate) fn of_image(config: &Config, image: &Path, environ: &Environment) -> Self {
        Self {
            path: image.to_owned(),
            head: vec![image.as_os_str().to_owned()],
            title: Some(title::of(config)),
            command: config.program.clone(),
            environment: environment(config, environ),
        }
    }

    /// What `--reexec-as` says, or the path of the image.
    pub(crate) fn words(&self) -> &[OsString] {
        &self.head
    }

    /// `NEW --upgrade-check -- ./server`
    pub(crate) fn argv_with(&self, flag: &str) -> Vec<OsString> {
        self.argv(self.head.clone(), &[OsStr::new(flag)])
    }

    /// `NEW --with-state-fd 9 -- ./server`
    pub(crate) fn argv_with_state(&self, fd: i32) -> Vec<OsString> {
        let mut head = self.head.clone();
        if let (Some(name), Some(title)) = (head.first_mut(), &self.title) {
            name.clone_from(title);
        }
        self.argv(head, &[OsStr::new("--with-state-fd"), OsStr::new(&fd.to_string())])
    }

    fn argv(&self, head: Vec<OsString>, flags: &[&OsStr]) -> Vec<OsString> {
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        head.into_iter().chain(flags).chain(["--".into()]).chain(self.command.iter().cloned()).collect()
    }

    /// The words, as einhorn shows them in its log.
    pub(crate) fn shown(&self, fd: i32) -> String {
        let words = self.argv(self.head.clone(), &[OsStr::new("--with-state-fd"), OsStr::new(&fd.to_string())]);
        format!("{:?}", words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>())
    }
}

fn environment(config: &Config, environ: &Environment) -> Environment {
    let dropped: BTreeSet<&OsString> = config.drop_env_vars.iter().collect();
    environ.iter().filter(|(name, _)| !dropped.contains(name)).cloned().collect()
}
