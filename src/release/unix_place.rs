//! Where the file of a unix socket lies whose path is relative: in the directory of that name, which may be a link that a deploy
//! switches. Looks at the file system, and changes nothing.

use std::fs::canonicalize;
use std::path::{Path, PathBuf};

use crate::config::{Bind, Config};
use crate::release::call::Call;

/// The path to bind now. A relative one belongs to `worker.directory`, or to the directory that the master was started in, by the name
/// that it was started with; it stays as it is where that is where this process is.
pub(super) fn named(path: &Path, config: &Config, call: &Call) -> PathBuf {
    let here = std::env::current_dir().ok();
    match base(config, call, here.as_deref()) {
        Some(base) if path.is_relative() && here.as_ref() != Some(&base) => base.join(path),
        Some(_) | None => path.to_owned(),
    }
}

fn base(config: &Config, call: &Call, here: Option<&Path>) -> Option<PathBuf> {
    let start = call.directory.as_deref().or(here);
    match (config.worker.directory.as_deref(), start) {
        (Some(directory), Some(start)) => Some(start.join(directory)),
        (directory, start) => directory.or(start).map(Path::to_owned),
    }
}

/// The path of what was bound, without the links that may lead elsewhere when it is to be removed.
pub(super) fn real(path: PathBuf) -> PathBuf {
    let found =
        path.parent().zip(path.file_name()).and_then(|(parent, name)| Some(canonicalize(parent).ok()?.join(name)));
    if path.is_absolute() { found.unwrap_or(path) } else { path }
}

/// That each release has a socket of its own, if it has.
pub(super) fn remark(bind: &Bind, config: &Config, call: &Call) -> Option<String> {
    let Bind::Unix { path, .. } = bind else { return None };
    let named = named(path, config, call);
    let base = base(config, call, std::env::current_dir().ok().as_deref())?;
    let release = canonicalize(&base).ok()?;
    let is_of_release =
        path.is_relative() && release != base && canonicalize(named.parent()?).ok()?.starts_with(&release);
    is_of_release.then(|| {
        let link = base.display();
        format!(
            "{bind} lies behind the link {link}, so that each release has a socket of its own: write an absolute path"
        )
    })
}
