//! The next program from the moment at which it is opened: what was checked, and whether that still is what would be run. Never
//! runs it itself.

use std::ffi::OsString;

use crate::handover::next_program::NextProgram;
use crate::sys::exec_failure::explain_exec_failure;
use crate::sys::executable::{Executable, FileFingerprint};

/// A program that is to be checked, or was.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) program: NextProgram,
    pub(crate) executable: Executable,
    /// Of each of its words that is the path of a file: `/bin/sh wrapper.sh` is its wrapper more than its shell.
    words: Vec<Option<FileFingerprint>>,
}

impl Candidate {
    /// # Errors
    /// Why it cannot be run.
    pub(crate) fn open(program: NextProgram) -> Result<Self, String> {
        let executable = Executable::open(&program.path).map_err(|errno| explain_exec_failure(&program.path, errno))?;
        let words = fingerprints(program.words());
        Ok(Self { program, executable, words })
    }

    pub(crate) fn name(&self) -> String {
        self.executable.path().display().to_string()
    }

    /// Whether what is to be run now is what was opened, in every byte that can be seen to matter.
    pub(crate) fn is_still(&self, program: &NextProgram) -> bool {
        self.program == *program && self.executable.is_unchanged() && self.words == fingerprints(program.words())
    }
}

fn fingerprints(words: &[OsString]) -> Vec<Option<FileFingerprint>> {
    words.iter().map(|word| FileFingerprint::of(word.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::*;
    use crate::config::{self, Config, Invocation};

    fn config(words: &[&str]) -> Config {
        let words = words.iter().map(OsString::from).collect();
        match config::parse("einhyrningsins".as_ref(), words, &|_, _| panic!("there is no file"), &|_| None) {
            Ok(Invocation::Run(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    fn next(reexec_as: &str, environ: &[(&str, &str)]) -> NextProgram {
        let config = config(&["-n", "1", "--reexec-as", reexec_as, "--", "sleep", "1000"]);
        let environ = environ.iter().map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>();
        NextProgram::of(&config, Some(Path::new("/bin/true")), &environ).unwrap()
    }

    fn wrapper(dir: &TempDir) -> PathBuf {
        let path = dir.path().join("wrapper");
        fs::write(&path, "one").unwrap();
        path
    }

    #[test]
    fn a_wrapper_that_a_shell_reads_is_part_of_what_is_checked() {
        let dir = TempDir::new().unwrap();
        let path = wrapper(&dir);
        let program = || next(&format!("/bin/sh {}", path.display()), &[]);
        let candidate = Candidate::open(program()).unwrap();
        assert!(candidate.is_still(&program()));
        fs::write(&path, "another").unwrap();
        assert!(!candidate.is_still(&program()));
        let candidate = Candidate::open(program()).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(!candidate.is_still(&program()));
    }

    #[test]
    fn other_words_and_another_environment_are_another_program() {
        let candidate = Candidate::open(next("/bin/sh -c x", &[("A", "1")])).unwrap();
        assert!(candidate.is_still(&next("/bin/sh -c x", &[("A", "1")])));
        assert!(!candidate.is_still(&next("/bin/sh -c y", &[("A", "1")])));
        assert!(!candidate.is_still(&next("/bin/sh -c x", &[("A", "2")])));
        assert!(!candidate.is_still(&next("/bin/true -c x", &[("A", "1")])));
    }
}
