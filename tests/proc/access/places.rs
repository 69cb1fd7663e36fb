//! What becomes of an option that names a file, by the directory that the file is in.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use einhyrningsins::config;
use nix::unistd::{Gid, Uid, chown};

use crate::access::actor::MASTER_UID;
use crate::access::stage::{Side, as_ordinary_user};
use crate::support::{LIMIT, OTHER_UID, Setup};

/// Options that name a file or a directory, and that no directory is judged for.
const NOT_JUDGED: [&str; 2] = ["preload", "worker.directory"];

/// The options of the table, each with its row.
pub(in crate::access) const ALL: [(&str, &str); 9] = [
    ("socket-path", "`--socket-path`"),
    ("pidfile", "`--pidfile`"),
    ("lockfile", "`--lockfile`"),
    ("trace", "`--trace`"),
    ("log.file", "`log.file`"),
    ("bind", "`--bind` of a unix socket"),
    ("shared bind", "`--bind` with `shared-directory`"),
    ("config", "`--config`"),
    ("env.env-file", "`env.env-file`"),
];

/// Whose directory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::access) enum Place {
    Own,
    /// The master may write there by its group.
    Anothers,
    Sticky,
    Open,
}

impl Place {
    pub(in crate::access) const ALL: [Self; 4] = [Self::Own, Self::Anothers, Self::Sticky, Self::Open];

    pub(in crate::access) fn column(self, side: Side) -> &'static str {
        match (side, self) {
            (Side::Root, Self::Own) => "root: root's",
            (Side::Root, Self::Anothers) => "root: another user's",
            (Side::Root, Self::Sticky) => "root: sticky",
            (Side::Root, Self::Open) => "root: open",
            (Side::Ordinary, Self::Own) => "user: own",
            (Side::Ordinary, Self::Anothers) => "user: another user's",
            (Side::Ordinary, Self::Sticky) => "user: sticky",
            (Side::Ordinary, Self::Open) => "user: open",
        }
    }
}

/// Every option that takes a path, by its long name, but for those that are not judged; and the bind, whose address may be one.
pub(in crate::access) fn known() -> BTreeSet<String> {
    let is_path = |name: &str| name == "PATH" || name == "FILE";
    let named = config::flags().chain(config::keys()).filter(|option| option.value_name().is_some_and(is_path));
    let judged = named.map(|option| option.name).filter(|name| !NOT_JUDGED.contains(name));
    judged.chain(["bind"]).map(str::to_owned).collect()
}

/// Whether a master with that option is there, or was refused for the directory.
#[track_caller]
pub(in crate::access) fn outcome(side: Side, option: &str, place: Place) -> &'static str {
    let setup = Setup::new("--config web.toml");
    let (path, mut file) = ("place/file", "number = 1\nack-mode = 0\n".to_owned());
    if option == "env.env-file" {
        file += &format!("[env]\nenv-file = ['{path}']\n");
    } else if option == "log.file" {
        file += &format!("[log]\nfile = '{}'\n", setup.directory().join(path).display());
    }
    setup.write("web.toml", &file);
    fs::create_dir(setup.directory().join("place")).unwrap();
    let setup = match option {
        "bind" => setup.options(&format!("-b unix:{path}")),
        "shared bind" => setup.options(&format!("-b unix:{path},shared-directory")),
        // By a link, for the file of the place is to be the only one.
        "config" => {
            fs::rename(setup.directory().join("web.toml"), setup.directory().join(path)).unwrap();
            symlink(path, setup.directory().join("web.toml")).unwrap();
            setup
        }
        "env.env-file" => {
            setup.write(path, "A=b\n");
            setup
        }
        "log.file" => setup,
        option => setup.options(&format!("--{option} {path}")),
    };
    let setup = match side {
        Side::Root => setup,
        Side::Ordinary => as_ordinary_user(setup),
    };
    prepare(&setup, side, place);
    let master = setup.open_to_all().program(["/bin/sleep", "1000"]).start();
    let logged = || fs::read_to_string(master.file(path)).unwrap_or_default();
    let has_launched = || master.log().count("===> Launched") > 0 || logged().contains("===> Launched");
    master.wait_until("it runs or ends", LIMIT, || !master.is_running() || has_launched());
    if master.is_running() {
        return "taken";
    }
    master.log().settle();
    let names_it = master.log().lines().iter().any(|line| line.contains("directory") && line.contains("place"));
    assert!(names_it, "{side:?}, {option}, {place:?}: ended for another reason:\n{}", master.log());
    "refused"
}

/// Gives the directory and the file in it to their owners.
fn prepare(setup: &Setup, side: Side, place: Place) {
    let own = match side {
        Side::Root => 0,
        Side::Ordinary => MASTER_UID,
    };
    let (owner, mode) = match place {
        Place::Own => (own, 0o755),
        Place::Anothers => (OTHER_UID, 0o775),
        Place::Sticky => (0, 0o1777),
        Place::Open => (own, 0o777),
    };
    let directory = setup.directory().join("place");
    for entry in fs::read_dir(&directory).unwrap() {
        chown(&entry.unwrap().path(), Some(Uid::from_raw(own)), Some(Gid::from_raw(own))).unwrap();
    }
    chown(&directory, Some(Uid::from_raw(owner)), Some(Gid::from_raw(own))).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
}
