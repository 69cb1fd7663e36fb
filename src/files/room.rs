//! Whether a file could be written at a path, or made or replaced there, as far as that can be known without doing it: for the check of a
//! configuration. A lock or a socket of a master that runs is in nothing's way here. Looks only.

use std::path::Path;

use nix::unistd::AccessFlags;

use crate::files::directory::Demand;
use crate::files::error::FileCause;
use crate::files::path_trust::{Mistrust, parent_of, trust};
use crate::files::spot::Spot;

/// Of a regular file that is written in its place, and made if there is none.
pub(crate) fn check_writable(path: &Path) -> Result<(), FileCause> {
    let spot = Spot::find(path, Demand::Trusted)?;
    let Some(found) = spot.look()? else { return check_room(path, &spot) };
    trust(found.meta())?;
    // Another user may have linked a file of ours there.
    if found.is_hard_linked() {
        return Err(Mistrust::HardLinked.into());
    }
    Ok(spot.check_access(AccessFlags::W_OK)?)
}

/// Of one that is made anew in any case.
pub(super) fn check_room(path: &Path, spot: &Spot) -> Result<(), FileCause> {
    let unwritable = |errno| FileCause::Unwritable { directory: parent_of(path).to_owned(), errno };
    spot.check_room().map_err(unwritable)
}
