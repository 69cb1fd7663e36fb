//! The links that a deploy switches: those in a directory part of the way to the program or to the directory of the workers. What an
//! argument names through one of them is pinned with the version, as the program is, so that a worker that is launched again
//! starts the files of its own release. Only looks at the file system.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{canonicalize, symlink_metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf, absolute};

/// Those on the way to one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links(BTreeSet<Link>);

/// One link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Link {
    /// Its own path, with no other link on the way.
    place: PathBuf,
    /// As it was written.
    spelled: PathBuf,
}

/// A link that a path leads through.
struct Passed {
    link: Link,
    /// Where it leads, without any link.
    target: PathBuf,
    /// Where in the bytes of the path it ends.
    end: usize,
    is_last: bool,
}

impl Links {
    /// `program` is where it was found, and `directory` where the workers start; both as they were named.
    pub(crate) fn on_the_way_to(program: &Path, directory: Option<&Path>) -> Self {
        // The program itself may be a link, such as the python of a virtual environment, which goes by that name.
        let to_program = passed(program).into_iter().filter(|passed| !passed.is_last);
        let to_directory = directory.into_iter().flat_map(passed);
        Self(
            to_program
                .chain(to_directory)
                .filter(|passed| !passed.is_of_merged_usr())
                .map(|passed| passed.link)
                .collect(),
        )
    }

    /// The word as it is pinned: if it is a path, to something that is there, that leads through one of the links. All that
    /// stands behind the last of them stays as it was written.
    pub(crate) fn pin(&self, word: &OsStr, directory: Option<&Path>) -> Option<OsString> {
        if !word.as_bytes().contains(&b'/') {
            return None;
        }
        let base = directory.map_or_else(|| absolute(".").unwrap_or_default(), Path::to_owned);
        let path = base.join(word);
        std::fs::metadata(&path).ok()?;
        let of_ours = |passed: &Passed| self.0.iter().any(|link| link.place == passed.link.place);
        let last = passed(&path).into_iter().rfind(|passed| of_ours(passed) && passed.is_on_the_way())?;
        let mut pinned = last.target.into_os_string().into_vec();
        pinned.extend_from_slice(&path.as_os_str().as_bytes()[last.end..]);
        Some(OsString::from_vec(pinned))
    }

    /// The link that a text speaks of, wherever in it.
    pub(crate) fn named_in(&self, text: &OsStr) -> Option<&Path> {
        let spellings = self.0.iter().flat_map(|link| [link.spelled.as_path(), link.place.as_path()]);
        spellings.into_iter().find(|path| path.is_absolute() && contains(text.as_bytes(), path.as_os_str().as_bytes()))
    }
}

impl Passed {
    /// Behind it the path goes on, or it is a directory itself.
    fn is_on_the_way(&self) -> bool {
        !self.is_last || self.target.is_dir()
    }

    /// `/bin`, which is `/usr/bin`, and the like: no deploy switches it.
    fn is_of_merged_usr(&self) -> bool {
        let root = Path::new("/");
        self.link.place.parent() == Some(root)
            && self.target.strip_prefix("/usr").ok() == self.link.place.strip_prefix(root).ok()
    }
}

/// Every link that a path leads through, the last component's too, the first first. None if the path leads nowhere.
fn passed(path: &Path) -> Vec<Passed> {
    walk(path).unwrap_or_default()
}

fn walk(path: &Path) -> Option<Vec<Passed>> {
    let path = if path.is_absolute() { path.to_owned() } else { absolute(path).ok()? };
    let bytes = path.as_os_str().as_bytes();
    let (mut real, mut found, mut end) = (PathBuf::from("/"), Vec::new(), 0);
    for name in bytes.split(|byte| *byte == b'/') {
        let begin = end;
        end = begin + name.len() + 1;
        match name {
            b"" | b"." => continue,
            b".." => {
                real.pop();
                continue;
            }
            _ => {}
        }
        let place = real.join(OsStr::from_bytes(name));
        if !symlink_metadata(&place).ok()?.is_symlink() {
            real = place;
            continue;
        }
        real = canonicalize(&place).ok()?;
        let end = begin + name.len();
        let spelled = PathBuf::from(OsStr::from_bytes(&bytes[..end]));
        let is_last = bytes[end..].iter().all(|byte| *byte == b'/');
        found.push(Passed { link: Link { place, spelled }, target: real.clone(), end, is_last });
    }
    Some(found)
}

/// As whole names of a path.
fn contains(text: &[u8], path: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-~".contains(byte) || *byte >= 0x80;
    text.windows(path.len()).enumerate().any(|(at, window)| {
        let before = at.checked_sub(1).map(|at| &text[at]);
        let behind = text.get(at + path.len());
        window == path && !before.is_some_and(is_name) && !behind.is_some_and(is_name)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// `current` leads to `one`, and `current/venv/bin/python` to a program elsewhere.
    fn deploy() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for release in ["one", "two"] {
            fs::create_dir_all(root.join(release).join("venv/bin")).unwrap();
            fs::write(root.join(release).join("server.js"), "").unwrap();
            symlink("/bin/sh", root.join(release).join("venv/bin/python")).unwrap();
        }
        symlink("one", root.join("current")).unwrap();
        symlink("two", root.join("other")).unwrap();
        (dir, root)
    }

    fn pin(links: &Links, word: &str, root: &Path) -> Option<String> {
        links.pin(OsStr::new(word), Some(root)).map(|pinned| pinned.into_string().unwrap())
    }

    #[test]
    fn a_path_through_the_link_of_the_program_is_pinned_up_to_the_link() {
        let (_dir, root) = deploy();
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let links = Links::on_the_way_to(&root.join("current/venv/bin/python"), None);
        for (word, pinned) in [
            (at("current/venv/bin/python"), "one/venv/bin/python"),
            (at("current/server.js"), "one/server.js"),
            ("current/server.js".to_owned(), "one/server.js"),
            ("./current/../current//./server.js".to_owned(), "one//./server.js"),
            (at("current/"), "one/"),
            (at("current"), "one"),
        ] {
            assert_eq!(pin(&links, &word, &root), Some(at(pinned)), "{word}");
        }
        let meant = pin(&links, &at("current/../two/server.js"), &root);
        assert_eq!(meant, Some(at("one/../two/server.js")), "what it means stays");
    }

    #[test]
    fn what_leads_through_no_such_link_is_not_touched() {
        let (_dir, root) = deploy();
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let links = Links::on_the_way_to(&root.join("current/venv/bin/python"), None);
        for word in [
            "current".to_owned(),
            "-m".to_owned(),
            String::new(),
            "/".to_owned(),
            at("other/server.js"),
            at("one/server.js"),
            at("current/none"),
            format!("--chdir={}", at("current")),
            "http://localhost/current/".to_owned(),
            "/bin/sh".to_owned(),
        ] {
            assert_eq!(pin(&links, &word, &root), None, "{word:?}");
        }
    }

    #[test]
    fn the_link_may_be_the_directory_of_the_workers() {
        let (_dir, root) = deploy();
        let links = Links::on_the_way_to(Path::new("/bin/sh"), Some(&root.join("current")));
        let expected = root.join("one/server.js").to_str().unwrap().to_owned();
        assert_eq!(pin(&links, root.join("current/server.js").to_str().unwrap(), &root), Some(expected));
    }

    /// The python of a virtual environment finds its packages by the name that it was called by.
    #[test]
    fn a_link_that_is_the_program_itself_is_none_of_them() {
        let (_dir, root) = deploy();
        let links = Links::on_the_way_to(&root.join("one/venv/bin/python"), None);
        assert_eq!(links, Links::default());
        assert_eq!(Links::on_the_way_to(Path::new("/bin/sh"), None), Links::default(), "/bin may be /usr/bin");
    }

    #[test]
    fn a_link_is_found_in_a_text_by_its_whole_name() {
        let (_dir, root) = deploy();
        let links = Links::on_the_way_to(&root.join("current/venv/bin/python"), None);
        let link = root.join("current");
        let names = |text: String| links.named_in(OsStr::new(&text)).map(Path::to_owned);
        let link_text = link.display();
        for text in [format!("--chdir={link_text}"), format!("/x:{link_text}/lib"), format!("{link_text}")] {
            assert_eq!(names(text.clone()), Some(link.clone()), "{text}");
        }
        for text in [format!("{link_text}ly"), format!("/x{link_text}"), "current".to_owned(), String::new()] {
            assert_eq!(names(text.clone()), None, "{text}");
        }
    }
}
