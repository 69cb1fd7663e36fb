//! Users and groups by name or by number, as the system's databases know them, and whether this process may become
//! another. Changes nothing. A lookup may ask a server and take its time.

use std::ffi::CString;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist, getgroups};
use thiserror::Error;

use crate::sys::capability;
use crate::sys::errno::words;

/// A user that a program can have the rights of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    /// None for a number that no entry of the password database has. Then a group must come from elsewhere.
    pub entry: Option<Entry>,
}

/// What the password database says of a user, see passwd(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// The primary group.
    pub gid: u32,
    pub home: PathBuf,
    pub shell: PathBuf,
}

/// Why there is no such user or group to be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AccountError {
    #[error("there is no {what} {name:?}")]
    Unknown { what: &'static str, name: String },
    /// The system does not say.
    #[error("cannot look up {what} {name:?}: {}", words(*errno))]
    System { what: &'static str, name: String, errno: Errno },
}

/// The user of this name, or else of this number, which needs no entry. As chown(1) has it, a name of digits comes first.
///
/// # Errors
/// There is no such user, or the database cannot be asked.
pub fn find_user(name_or_number: &str) -> Result<Account, AccountError> {
    let failed = failure("user", name_or_number);
    if let Some(user) = listed(User::from_name(name_or_number)).map_err(&failed)? {
        return Ok(Account::from(user));
    }
    let uid = number(name_or_number).ok_or_else(|| unknown("user", name_or_number))?;
    let user = listed(User::from_uid(Uid::from_raw(uid))).map_err(failed)?;
    Ok(user.map_or(Account { uid, entry: None }, Account::from))
}

/// The name of this user, if the database has one.
pub fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// The number of the group of this name, or else the number itself, which needs no entry.
///
/// # Errors
/// There is no such group, or the database cannot be asked.
pub fn find_group(name_or_number: &str) -> Result<u32, AccountError> {
    match (listed(Group::from_name(name_or_number)), number(name_or_number)) {
        (Ok(Some(group)), _) => Ok(group.gid.as_raw()),
        // A number can be used, whatever the database says.
        (Ok(None) | Err(_), Some(gid)) => Ok(gid),
        (Ok(None), None) => Err(unknown("group", name_or_number)),
        (Err(errno), None) => Err(failure("group", name_or_number)(errno)),
    }
}

/// All groups that a login of this user would be in, if `gid` were the primary one, and `gid` itself. A user without an
/// entry is in no other.
///
/// # Errors
/// The database cannot be asked.
pub fn supplementary_groups(account: &Account, gid: u32) -> Result<Vec<u32>, AccountError> {
    let Some(entry) = &account.entry else { return Ok(vec![gid]) };
    let name = CString::new(entry.name.as_str()).map_err(|_| Errno::EINVAL);
    let groups = name.and_then(|name| getgrouplist(&name, Gid::from_raw(gid)));
    Ok(groups.map_err(failure("the groups of user", &entry.name))?.into_iter().map(Gid::as_raw).collect())
}

fn unknown(what: &'static str, name: &str) -> AccountError {
    AccountError::Unknown { what, name: name.to_owned() }
}

fn failure(what: &'static str, name: &str) -> impl Fn(Errno) -> AccountError {
    move |errno| AccountError::System { what, name: name.to_owned(), errno }
}

/// Whether the calling thread may give a child another user and other groups: as root, or with the capabilities for it.
/// CAP_KILL is one of them: without it, we could not signal the child later, nor would its parent-death signal come.
pub fn may_change_identity() -> bool {
    geteuid().is_root() || capability::has(&[capability::KILL, capability::SETGID, capability::SETUID])
}

/// Whether chown(2) gives a file of ours to this user. Without /proc the kernel alone knows.
pub fn may_give_to_user(uid: u32) -> bool {
    uid == own_uid() || !capability::lacks(capability::CHOWN)
}

/// The same for a group.
pub fn may_give_to_group(gid: u32) -> bool {
    let is_own = || getgroups().is_ok_and(|groups| groups.contains(&Gid::from_raw(gid)));
    gid == own_gid() || is_own() || !capability::lacks(capability::CHOWN)
}

/// The user whose rights this process has.
pub fn own_uid() -> u32 {
    geteuid().as_raw()
}

/// And the group.
pub fn own_gid() -> u32 {
    getegid().as_raw()
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        let entry = Entry { name: user.name, gid: user.gid.as_raw(), home: user.dir, shell: user.shell };
        Self { uid: user.uid.as_raw(), entry: Some(entry) }
    }
}

/// Some databases have an error for what they do not list, see getpwnam(3); glibc has one if there is no database at all.
fn listed<T>(found: Result<Option<T>, Errno>) -> Result<Option<T>, Errno> {
    match found {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        found => found,
    }
}

/// Digits alone, without a sign. Not the highest number of 32 bits, which setresuid(2) takes for none.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use nix::unistd::setresuid;

    use super::*;
    use crate::sys::testing::{in_own_process, is_root};

    /// A number that is in no database.
    const UNUSED: u32 = 712_345;

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let root = find_user("root").unwrap();
        let entry = root.entry.as_ref().unwrap();
        assert_eq!((root.uid, entry.gid, entry.name.as_str()), (0, 0, "root"));
        assert!(entry.home.is_absolute() && entry.shell != Path::new(""), "{entry:?}");
        assert_eq!(find_user("0"), Ok(root));
        assert_eq!((user_name(0).as_deref(), user_name(UNUSED)), (Some("root"), None));
        assert_eq!((find_group("root"), find_group("0")), (Ok(0), Ok(0)));
    }

    #[test]
    fn a_number_needs_no_entry() {
        let nameless = find_user(&UNUSED.to_string()).unwrap();
        assert_eq!(nameless, Account { uid: UNUSED, entry: None });
        assert_eq!(supplementary_groups(&nameless, 7), Ok(vec![7]));
        assert_eq!(find_group(&UNUSED.to_string()), Ok(UNUSED));
    }

    #[test]
    fn what_is_neither_name_nor_number_is_refused() {
        for stranger in ["", "no such", "-1", "+5", " 0", "0x0", "a\0", "4294967295", "4294967296"] {
            let name = stranger.to_owned();
            assert_eq!(find_user(stranger), Err(unknown("user", &name)));
            assert_eq!(find_group(stranger), Err(unknown("group", &name)));
        }
        assert_eq!(find_user("no\nsuch").unwrap_err().to_string(), "there is no user \"no\\nsuch\"");
        assert_eq!(find_group("nosuch").unwrap_err().to_string(), "there is no group \"nosuch\"");
    }

    #[test]
    fn a_failing_database_is_told_from_a_missing_entry() {
        assert_eq!((listed::<()>(Err(Errno::ENOENT)), listed::<()>(Err(Errno::EIO))), (Ok(None), Err(Errno::EIO)));
        let failed = failure("user", "web")(Errno::EMFILE);
        assert_eq!(failed.to_string(), "cannot look up user \"web\": too many open files");
    }

    #[test]
    fn the_groups_are_those_of_a_login() {
        for line in fs::read_to_string("/etc/passwd").unwrap().lines() {
            let account = find_user(line.split(':').next().unwrap()).unwrap();
            let entry = account.entry.as_ref().unwrap();
            let said = Command::new("id").args(["-G", &entry.name]).output().unwrap().stdout;
            let said: BTreeSet<u32> =
                String::from_utf8(said).unwrap().split_whitespace().map(|gid| gid.parse().unwrap()).collect();
            let found = |gid| BTreeSet::from_iter(supplementary_groups(&account, gid).unwrap());
            assert_eq!(found(entry.gid), said, "{line}");
            assert!(found(UNUSED).contains(&UNUSED));
        }
    }

    #[test]
    fn only_root_and_who_kept_its_capabilities_may_become_another() {
        if !is_root() {
            return;
        }
        in_own_process(module_path!(), "only_root_and_who_kept_its_capabilities_may_become_another", || {
            let (stranger, root) = (Uid::from_raw(UNUSED), Uid::from_raw(0));
            assert!(may_change_identity());
            // With root's uid saved: it may come back, but must not do so by this.
            setresuid(stranger, stranger, root).unwrap();
            assert!(!may_change_identity());
            setresuid(root, root, root).unwrap();
            // SAFETY: PR_SET_SECUREBITS takes a number.
            Errno::result(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, libc::SECBIT_NO_SETUID_FIXUP) }).unwrap();
            setresuid(stranger, stranger, stranger).unwrap();
            assert!(may_change_identity());
        });
    }
}
