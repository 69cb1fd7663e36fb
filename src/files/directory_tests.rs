//! The judgement of a way: each rule alone, at the end of the way and in its middle, for root and for an ordinary user.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};

use nix::unistd::{Gid, Uid, chown, getuid, setegid, seteuid};
use tempfile::TempDir;

use super::*;
use crate::sys::testing::{in_own_process, is_root, let_uid_write};

const OTHER: u32 = 12_345;

/// `one/two` below a directory of our own.
fn way() -> (TempDir, PathBuf, PathBuf) {
    let dir = TempDir::new().unwrap();
    let one = dir.path().join("one");
    let two = one.join("two");
    fs::create_dir_all(&two).unwrap();
    (dir, one, two)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn give(path: &Path, uid: u32, gid: u32) {
    chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).unwrap();
}

fn doubt(path: &Path) -> Option<String> {
    Directory::open(path, Demand::Trusted).err().map(|error| error.to_string())
}

#[test]
fn a_directory_that_all_users_may_write_must_be_sticky() {
    let (_dir, one, two) = way();
    assert_eq!(doubt(&two), None);
    for directory in [&one, &two] {
        set_mode(directory, 0o777);
        let expected = format!("directory {} is writable by all users and not sticky", directory.display());
        assert_eq!(doubt(&two), Some(expected));
        set_mode(directory, 0o1777);
        assert_eq!(doubt(&two), None);
    }
}

#[test]
fn for_root_every_directory_on_the_way_is_roots() {
    if !is_root() {
        return;
    }
    let (_dir, one, two) = way();
    for directory in [&one, &two] {
        for mode in [0o700, 0o1777] {
            set_mode(directory, mode);
            give(directory, OTHER, 0);
            assert_eq!(doubt(&two), Some(format!("directory {}: it belongs to uid 12345", directory.display())));
            give(directory, 0, 0);
            assert_eq!(doubt(&two), None);
        }
    }
}

#[test]
fn for_root_a_group_that_may_write_is_roots_or_the_directory_is_sticky() {
    if !is_root() {
        return;
    }
    let (_dir, one, two) = way();
    for directory in [&one, &two] {
        give(directory, 0, OTHER);
        set_mode(directory, 0o775);
        let expected = format!("directory {}: it is writable by the group with gid 12345", directory.display());
        assert_eq!(doubt(&two), Some(expected));
        set_mode(directory, 0o1775);
        assert_eq!(doubt(&two), None);
        give(directory, 0, 0);
        set_mode(directory, 0o775);
        assert_eq!(doubt(&two), None);
    }
}

#[test]
fn access_lists_of_roots_directories_let_no_other_user_write() {
    if !is_root() {
        return;
    }
    let (_dir, one, two) = way();
    for directory in [&one, &two] {
        let_uid_write(directory, 0);
        assert_eq!(doubt(&two), None);
        let_uid_write(directory, OTHER);
        let expected = format!("directory {}: its access control list lets others write to it", directory.display());
        assert_eq!(doubt(&two), Some(expected));
        set_mode(directory, 0o1775);
        assert_eq!(doubt(&two), None);
        set_mode(directory, 0o755);
        assert_eq!(doubt(&two), None, "the mode is the mask of the list");
    }
}

#[test]
fn a_link_is_followed_and_what_it_leads_through_is_judged() {
    let (dir, one, two) = way();
    for target in [two.clone(), PathBuf::from("one/two"), PathBuf::from("one/../one/two")] {
        let link = dir.path().join("link");
        symlink(&target, &link).unwrap();
        assert_eq!(doubt(&link), None);
        set_mode(&one, 0o777);
        let said = doubt(&link).unwrap();
        assert!(said.ends_with("one is writable by all users and not sticky"), "{said}");
        set_mode(&one, 0o755);
        fs::remove_file(link).unwrap();
    }
}

#[test]
fn a_link_that_another_user_has_made_is_not_trusted() {
    if !is_root() {
        return;
    }
    let (dir, _one, two) = way();
    set_mode(dir.path(), 0o1777);
    let link = dir.path().join("link");
    fs::write(two.join("file"), "").unwrap();
    symlink(&two, &link).unwrap();
    lchown(&link, Some(OTHER), None).unwrap();
    assert_eq!(doubt(&link), Some(format!("symbolic link {} belongs to uid 12345", link.display())));
    assert_eq!(check_way(&link.join("file")).map_err(|error| error.is_doubt()), Err(true));
    lchown(&link, Some(0), None).unwrap();
    assert_eq!(doubt(&link), None);
}

#[test]
fn links_that_lead_in_a_circle_end() {
    let dir = TempDir::new().unwrap();
    let link = dir.path().join("link");
    symlink("link", &link).unwrap();
    let errno = Errno::ELOOP;
    assert_eq!(Directory::open(&link, Demand::Any).unwrap_err(), DirectoryError::System { directory: link, errno });
}

#[test]
fn the_way_to_a_file_goes_through_every_link_that_its_name_is() {
    let (dir, one, two) = way();
    fs::write(two.join("file"), "").unwrap();
    symlink("two/file", one.join("second")).unwrap();
    symlink("one/second", dir.path().join("first")).unwrap();
    let first = dir.path().join("first");
    assert_eq!(check_way(&first), Ok(()));
    for directory in [&one, &two] {
        set_mode(directory, 0o777);
        assert_eq!(check_way(&first).map_err(|error| error.is_doubt()), Err(true));
        set_mode(directory, 0o755);
    }
}

#[test]
fn a_directory_that_is_none_is_refused() {
    let errno = Errno::ENOENT;
    let directory = PathBuf::from("/no/such");
    assert_eq!(Directory::open(&directory, Demand::Any).unwrap_err(), DirectoryError::System { directory, errno });
    let directory = PathBuf::from("/etc/passwd");
    assert_eq!(Directory::open(&directory, Demand::Any).unwrap_err(), DirectoryError::NotADirectory { directory });
    let (directory, errno) = (PathBuf::from("/etc/passwd/x"), Errno::ENOTDIR);
    assert_eq!(Directory::open(&directory, Demand::Any).unwrap_err(), DirectoryError::System { directory, errno });
}

#[test]
fn an_ordinary_user_trusts_itself_and_root_and_may_share_with_a_group() {
    in_own_process(module_path!(), "an_ordinary_user_trusts_itself_and_root_and_may_share_with_a_group", || {
        if !is_root() {
            return;
        }
        let (dir, one, two) = way();
        set_mode(dir.path(), 0o755);
        give(&one, OTHER, OTHER);
        give(&two, OTHER, 27);
        set_mode(&two, 0o775);
        let as_user = |uid: u32| {
            setegid(Gid::from_raw(uid)).unwrap();
            seteuid(Uid::from_raw(uid)).unwrap();
            let said = doubt(&two);
            seteuid(getuid()).unwrap();
            setegid(Gid::from_raw(0)).unwrap();
            said
        };
        assert_eq!(as_user(OTHER), None);
        assert_eq!(as_user(OTHER + 1), Some(format!("directory {}: it belongs to uid 12345", one.display())));
    });
}

#[test]
fn a_relative_way_begins_on_the_way_to_where_we_are() {
    in_own_process(module_path!(), "a_relative_way_begins_on_the_way_to_where_we_are", || {
        let (_dir, one, two) = way();
        std::env::set_current_dir(&two).unwrap();
        for relative in [".", "../two", ".."] {
            assert_eq!(doubt(Path::new(relative)), None);
            set_mode(&one, 0o777);
            let said = doubt(Path::new(relative)).unwrap();
            assert!(said.ends_with("/one is writable by all users and not sticky"), "{said}");
            set_mode(&one, 0o755);
        }
        fs::remove_dir(&two).unwrap();
        // A directory without a name is still there for a process in it.
        assert_eq!(doubt(Path::new(".")), None);
    });
}

const STRANGER: u32 = 712_345;

/// A directory, and a file in one below it.
fn file_below() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("a")).unwrap();
    let path = dir.path().join("a/file");
    fs::write(&path, "").unwrap();
    (dir, path)
}

#[test]
fn a_directory_that_all_users_may_write_is_found_anywhere_on_the_way() {
    let (dir, path) = file_below();
    assert!(is_guarded(&path));
    for open in [dir.path().to_owned(), dir.path().join("a")] {
        set_mode(&open, 0o777);
        assert!(!is_guarded(&path), "{}", open.display());
        set_mode(&open, 0o1777);
        assert!(is_guarded(&path), "what is ours in a sticky directory is safe: {}", open.display());
        set_mode(&open, 0o755);
    }
    assert!(!is_guarded(&dir.path().join("none")), "what is not there has no known owner");
}

#[test]
fn links_are_followed_through_every_place_that_they_name() {
    let (dir, path) = file_below();
    let (between, _) = file_below();
    symlink(&path, between.path().join("second")).unwrap();
    symlink(between.path().join("x/../second"), dir.path().join("first")).unwrap();
    let first = dir.path().join("first");
    assert!(steps_to(&first).is_none(), "x is not there");
    fs::create_dir(between.path().join("x")).unwrap();
    assert!(is_guarded(&first));
    set_mode(between.path(), 0o777);
    assert!(!is_guarded(&first));
    symlink("circle", dir.path().join("circle")).unwrap();
    assert!(steps_to(&dir.path().join("circle")).is_none());
}

#[test]
fn another_users_file_is_refused_except_in_a_sticky_directory() {
    if !is_root() {
        return;
    }
    let (dir, path) = file_below();
    let below = dir.path().join("a");
    chown(&below, Some(Uid::from_raw(STRANGER)), None).unwrap();
    assert!(is_guarded(&path), "a path in a user's directory means that one");
    set_mode(dir.path(), 0o1777);
    assert!(!is_guarded(&path), "any user could have made that directory in a sticky one");
}
