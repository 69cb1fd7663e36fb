//! Reads `-b`: `ADDR:PORT[,OPT...]` as einhorn does, IPv6 addresses in brackets, and `unix:/path[,mode=0660]`. Resolves no
//! name of a host, user or group, and opens nothing.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::limits::SOCKET_PATH_MAX;
use crate::base::wire;
use crate::config::definition::{Need, Shape};
use crate::config::values;

/// Longest host name in the DNS.
const HOST_BYTES_MAX: usize = 253;
const MODE_MAX: u32 = 0o777;

const NEED_BIND: &str = "need ADDR:PORT[,OPT...] or unix:/path[,mode=0660]";
const NEED_TCP_FLAG: &str = "need r (so_reuseaddr) or n (o_nonblock)";
const NEED_UNIX_FLAG: &str = "need mode=OCTAL, user=USER, group=GROUP, n (o_nonblock) or shared-directory";

/// A unix socket's directory may be one in which other users can exchange the socket.
pub const SHARED_DIRECTORY: &str = "shared-directory";

/// A key of a bind that is a table of the file.
pub(super) enum BindKey {
    Address,
    /// One that has the same name in the short form.
    Setting(Shape),
    /// A switch, with its flag in the short form.
    Flag(&'static str),
}

/// Each with its name and its help, in the order of the short form.
pub(super) const TABLE_KEYS: [(&str, BindKey, &str); 7] = [
    ("address", BindKey::Address, "ADDR:PORT or unix:/path"),
    ("reuse-addr", BindKey::Flag("r"), "SO_REUSEADDR"),
    ("nonblock", BindKey::Flag("n"), "O_NONBLOCK"),
    ("mode", BindKey::Setting(Shape::Permissions("MODE")), "Permissions of a unix socket, in octal"),
    ("user", BindKey::Setting(Shape::Text("USER")), "Owner of a unix socket's file, by name or number"),
    ("group", BindKey::Setting(Shape::Text("GROUP")), "Group of a unix socket's file, by name or number"),
    (SHARED_DIRECTORY, BindKey::Flag(SHARED_DIRECTORY), "Other users may exchange the socket in its directory"),
];

/// An address to listen on, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    /// `host` is an address or a name; an IPv6 address stands here without its brackets.
    Tcp { host: String, port: u16, flags: BindFlags },
    /// `mode` is the file's permissions; `None` leaves them to the umask. `user` and `group` are its owner by name or number; `None`
    /// leaves that to the system.
    Unix { path: PathBuf, mode: Option<u32>, user: Option<String>, group: Option<String>, flags: BindFlags },
}

/// The options of a bind as written, in lower case: einhorn's state document shows them so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindFlags(Vec<String>);

impl BindFlags {
    /// Flags out of a state document. einhorn let any word pass, so none is refused here; unknown ones mean nothing.
    pub fn from_words(words: Vec<String>) -> Self {
        Self(words)
    }

    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Whether to set SO_REUSEADDR.
    pub fn reuse_addr(&self) -> bool {
        self.has(["r", "so_reuseaddr"])
    }

    /// Whether to set O_NONBLOCK.
    pub fn nonblock(&self) -> bool {
        self.has(["n", "o_nonblock"])
    }

    /// Whether others may have the directory of a unix socket.
    pub fn shared_directory(&self) -> bool {
        self.has([SHARED_DIRECTORY; 2])
    }

    fn has(&self, names: [&str; 2]) -> bool {
        self.0.iter().any(|word| names.contains(&word.as_str()))
    }
}

impl Bind {
    /// Reads one value of `-b`.
    ///
    /// # Errors
    /// What is needed instead.
    pub fn read(value: &OsStr) -> Result<Self, Need> {
        match value.as_bytes().strip_prefix(b"unix:") {
            Some(rest) => read_unix(rest),
            None => read_tcp(values::text(value)?),
        }
    }

    /// As [`Bind::read`] reads it.
    pub fn to_word(&self) -> OsString {
        let mut word = match self {
            Self::Tcp { .. } => OsString::from(self.to_string()),
            Self::Unix { path, .. } => [OsStr::new("unix:"), path.as_os_str()].into_iter().collect(),
        };
        for flag in self.flags().words() {
            word.push(",");
            word.push(flag);
        }
        word
    }

    pub fn flags(&self) -> &BindFlags {
        match self {
            Self::Tcp { flags, .. } | Self::Unix { flags, .. } => flags,
        }
    }

    pub fn is_ipv4_address(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => host.parse::<Ipv4Addr>().is_ok(),
            Self::Unix { .. } => false,
        }
    }

    pub fn is_ipv6_address(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => is_ipv6(host),
            Self::Unix { .. } => false,
        }
    }
}

impl Serialize for Bind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wire::serialize(&self.to_word(), serializer)
    }
}

impl<'de> Deserialize<'de> for Bind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word: OsString = wire::deserialize(deserializer)?;
        Self::read(&word).map_err(|need| D::Error::custom(format!("the handoff has an unknown bind {word:?}: {need}")))
    }
}

impl fmt::Display for Bind {
    /// The address without its options: `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

fn read_tcp(text: &str) -> Result<Bind, Need> {
    let mut parts = text.split(',');
    let address = parts.next().unwrap_or_default();
    let (host, port) = read_address(address)?;
    let flags = parts.map(read_tcp_flag).collect::<Result<_, _>>().map(BindFlags)?;
    Ok(Bind::Tcp { host, port, flags })
}

/// What a refusal repeats is escaped: it is shown on one line.
fn read_address(address: &str) -> Result<(String, u16), Need> {
    if address.starts_with(['/', '.']) {
        return Err(format!("a unix socket is written unix:{}", address.escape_debug()));
    }
    let (host, port) = split_address(address)?;
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(NEED_BIND.to_owned());
    }
    let port = port.parse().map_err(|_| "need a port from 0 to 65535".to_owned())?;
    Ok((host.to_owned(), port))
}

/// Host (its brackets gone) and port, the host checked.
fn split_address(address: &str) -> Result<(&str, &str), Need> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, port) = rest.split_once("]:").ok_or_else(|| NEED_BIND.to_owned())?;
        let need = || "need an ipv6 address in the brackets, as in [::1]:80".to_owned();
        return is_ipv6(host).then_some((host, port)).ok_or_else(need);
    }
    let (host, port) = address.rsplit_once(':').ok_or_else(|| NEED_BIND.to_owned())?;
    if host.contains(':') {
        return Err(need_brackets(address, host, port));
    }
    match host {
        "*" | "" => {
            let port = port.escape_debug();
            Err(format!("for every address write 0.0.0.0:{port} or [::]:{port}"))
        }
        _ if is_host(host) => Ok((host, port)),
        _ => Err(NEED_BIND.to_owned()),
    }
}

/// More than one colon and no brackets: shows where they belong, if an address can be made out.
fn need_brackets(address: &str, host: &str, port: &str) -> Need {
    if is_ipv6(host) {
        format!("an ipv6 address needs brackets, as in [{host}]:{}", port.escape_debug())
    } else if is_ipv6(address) {
        format!("an ipv6 address needs brackets and a port, as in [{address}]:80")
    } else {
        NEED_BIND.to_owned()
    }
}

/// An IPv6 address, with or without a zone (`fe80::1%eth0`).
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, "-"));
    let zone_fits = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_graphic());
    zone_fits && address.parse::<Ipv6Addr>().is_ok()
}

/// Whether this could be an IPv4 address or a name; the resolver has the last word.
fn is_host(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    host.len() <= HOST_BYTES_MAX && host.bytes().all(is_part)
}

fn read_tcp_flag(text: &str) -> Result<String, Need> {
    let flag = text.to_ascii_lowercase();
    match flag.as_str() {
        "r" | "so_reuseaddr" | "n" | "o_nonblock" => Ok(flag),
        _ if is_for_unix(&flag) => Err(format!("option ,{} is for unix sockets: {NEED_TCP_FLAG}", text.escape_debug())),
        _ => Err(unknown_flag(text, NEED_TCP_FLAG)),
    }
}

/// The address without the flags that einhorn takes and ignores, and these.
pub(super) fn without_unknown_flags(text: &str) -> Option<(String, String)> {
    let (address, flags) = text.split_once(',')?;
    let is_word =
        |flag: &str| !flag.is_empty() && flag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let (known, unknown): (Vec<&str>, Vec<&str>) = flags.split(',').partition(|flag| read_tcp_flag(flag).is_ok());
    let joined = |flags: &[&str]| flags.iter().map(|flag| format!(",{flag}")).collect::<String>();
    let is_einhorns = !address.starts_with("unix:") && unknown.iter().all(|flag| is_word(flag));
    is_einhorns.then(|| (format!("{address}{}", joined(&known)), joined(&unknown)))
}

fn is_for_unix(flag: &str) -> bool {
    flag == SHARED_DIRECTORY || ["mode=", "user=", "group="].iter().any(|setting| flag.starts_with(setting))
}

fn unknown_flag(text: &str, need: &str) -> Need {
    let escaped: String = text.chars().flat_map(char::escape_debug).collect();
    format!("unknown option ,{escaped}: {need}")
}

fn read_unix(rest: &[u8]) -> Result<Bind, Need> {
    let mut parts = rest.split(|&byte| byte == b',');
    let path = OsStr::from_bytes(parts.next().unwrap_or_default());
    let path = values::limited_path(path, SOCKET_PATH_MAX)?;
    let (mut mode, mut user, mut group, mut flags) = (None, None, None, Vec::new());
    for part in parts {
        let text = String::from_utf8_lossy(part);
        let flag = text.to_ascii_lowercase();
        // Names have small and capital letters, in whatever bytes.
        let value = part.splitn(2, |&byte| byte == b'=').nth(1).map(OsStr::from_bytes);
        let key = flag.split_once('=').map_or(flag.as_str(), |(key, _)| key);
        let mut named = |name: String| {
            flags.push(format!("{key}={name}"));
            Some(name)
        };
        match (key, value) {
            ("user", Some(value)) => user = named(values::user(value)?),
            ("group", Some(value)) => group = named(values::group(value)?),
            ("mode", Some(value)) => {
                mode = Some(read_mode(&value.to_string_lossy())?);
                flags.push(flag);
            }
            ("n" | "o_nonblock" | SHARED_DIRECTORY, None) => flags.push(flag),
            _ => return Err(unknown_flag(&text, NEED_UNIX_FLAG)),
        }
    }
    Ok(Bind::Unix { path, mode, user, group, flags: BindFlags(flags) })
}

fn read_mode(octal: &str) -> Result<u32, Need> {
    let is_octal = octal.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(octal, 8).ok().filter(|&mode| is_octal && mode <= MODE_MAX);
    mode.ok_or_else(|| "need an octal mode from 0 to 0777, as in mode=0660".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn tcp(text: &str) -> (String, u16, Vec<String>) {
        match Bind::read(OsStr::new(text)) {
            Ok(Bind::Tcp { host, port, flags }) => (host, port, flags.0),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[track_caller]
    fn refused(text: &str, need: &str) {
        assert_eq!(Bind::read(OsStr::new(text)), Err(need.to_owned()), "{text}");
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (text, host, port, flags) in [
            ("127.0.0.1:1234", "127.0.0.1", 1234, &[][..]),
            ("0.0.0.0:80", "0.0.0.0", 80, &[]),
            ("127.0.0.1:0,r", "127.0.0.1", 0, &["r"]),
            ("127.0.0.1:65535,R,N", "127.0.0.1", 65535, &["r", "n"]),
            ("localhost:80,SO_REUSEADDR,O_NonBlock", "localhost", 80, &["so_reuseaddr", "o_nonblock"]),
            ("my-host.example:80,n,n", "my-host.example", 80, &["n", "n"]),
            ("[::]:80", "::", 80, &[]),
            ("[::1]:80,r", "::1", 80, &["r"]),
            ("[fe80::1%eth0]:80", "fe80::1%eth0", 80, &[]),
            ("[::ffff:10.0.0.1]:80", "::ffff:10.0.0.1", 80, &[]),
        ] {
            let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
            assert_eq!(tcp(text), (host.to_owned(), port, flags), "{text}");
        }
    }

    #[test]
    fn flags_mean_what_they_say_in_either_spelling() {
        for (text, reuse_addr, nonblock) in
            [("a:1", false, false), ("a:1,r", true, false), ("a:1,o_nonblock", false, true)]
        {
            let bind = Bind::read(OsStr::new(text)).unwrap();
            assert_eq!((bind.flags().reuse_addr(), bind.flags().nonblock()), (reuse_addr, nonblock), "{text}");
        }
    }

    #[test]
    fn unix_sockets_have_a_path_a_mode_and_nonblock() {
        let read = |text: &str| match Bind::read(OsStr::new(text)) {
            Ok(Bind::Unix { path, mode, flags, .. }) => (path, mode, flags.0),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(read("unix:/x.sock"), (PathBuf::from("/x.sock"), None, vec![]));
        assert_eq!(read("unix:run/x,mode=0660"), (PathBuf::from("run/x"), Some(0o660), vec!["mode=0660".into()]));
        assert_eq!(read("unix:/x,MODE=7,N").1, Some(7));
        assert_eq!(read("unix:/x,mode=0,O_NONBLOCK").2, ["mode=0", "o_nonblock"]);
        assert_eq!(read("unix:/x,Shared-Directory").2, ["shared-directory"]);
        let shares = |text: &str| Bind::read(OsStr::new(text)).unwrap().flags().shared_directory();
        assert_eq!(["unix:/x", "unix:/x,n", "unix:/x,n,shared-directory"].map(shares), [false, false, true]);
        let bytes = Bind::read(OsStr::from_bytes(b"unix:/\xff,n")).unwrap();
        assert!(matches!(&bytes, Bind::Unix { path, .. } if path == Path::new(OsStr::from_bytes(b"/\xff"))));
        assert!(bytes.flags().nonblock());
    }

    #[test]
    fn unix_sockets_have_an_owner_whose_name_keeps_its_letters() {
        let bind = Bind::read(OsStr::new("unix:/x,USER=Www,group=33,n")).unwrap();
        let Bind::Unix { user, group, flags, .. } = &bind else { panic!("{bind:?}") };
        assert_eq!((user.as_deref(), group.as_deref()), (Some("Www"), Some("33")));
        assert_eq!(flags.words(), ["user=Www", "group=33", "n"]);
        assert_eq!(Bind::read(&bind.to_word()), Ok(bind));
    }

    #[test]
    fn a_unix_path_must_fit_into_its_address() {
        let longest = format!("unix:/{}", "p".repeat(SOCKET_PATH_MAX - 1));
        assert!(Bind::read(OsStr::new(&longest)).is_ok());
        refused(&format!("{longest}p"), "need a path of 1 to 107 bytes");
        refused("unix:", "need a path of 1 to 107 bytes");
        refused("unix:,mode=0660", "need a path of 1 to 107 bytes");
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_form() {
        for text in [
            "", "foo", "80", ",r", "foo:", "foo:x", "foo:-1", "a b:80", "foo:+8", "[::1]", "[::1]80", "[::1:80",
            "a:1:2",
        ] {
            refused(text, NEED_BIND);
        }
        assert_eq!(Bind::read(OsStr::from_bytes(b"\xff:80")), Err("need text in UTF-8".into()));
    }

    #[test]
    fn near_misses_are_told_what_to_write() {
        refused("::1:80", "an ipv6 address needs brackets, as in [::1]:80");
        refused(":::80", "an ipv6 address needs brackets, as in [::]:80");
        refused("fe80::a:b:c:d:e:f", "an ipv6 address needs brackets, as in [fe80::a:b:c:d:e]:f");
        refused("::1", "an ipv6 address needs brackets and a port, as in [::1]:80");
        refused("*:80", "for every address write 0.0.0.0:80 or [::]:80");
        refused(":\n", "for every address write 0.0.0.0:\\n or [::]:\\n");
        refused(":80", "for every address write 0.0.0.0:80 or [::]:80");
        refused("/x.sock", "a unix socket is written unix:/x.sock");
        refused("[127.0.0.1]:80", "need an ipv6 address in the brackets, as in [::1]:80");
        refused("[::1%]:80", "need an ipv6 address in the brackets, as in [::1]:80");
        refused("a:65536", "need a port from 0 to 65535");
        refused("a:99999999999999999999", "need a port from 0 to 65535");
    }

    #[test]
    fn unknown_options_list_the_known_ones() {
        refused("a:80,rn", "unknown option ,rn: need r (so_reuseaddr) or n (o_nonblock)");
        refused("a:80,", "unknown option ,: need r (so_reuseaddr) or n (o_nonblock)");
        for flag in ["mode=0660", "user=www", "GROUP=www", "shared-directory"] {
            let need = format!("option ,{flag} is for unix sockets: need r (so_reuseaddr) or n (o_nonblock)");
            refused(&format!("a:80,{flag}"), &need);
        }
        for (flag, shown) in [("r", "r"), ("user", "user"), ("n=1", "n=1"), ("\u{130}=x", "\u{130}=x")] {
            refused(&format!("unix:/x,{flag}"), &format!("unknown option ,{shown}: {NEED_UNIX_FLAG}"));
        }
        assert!(
            Bind::read(OsStr::from_bytes(b"unix:/x,\xff=1")).unwrap_err().starts_with("unknown option ,\u{fffd}=1: ")
        );
        refused("unix:/x,user=", "need the name or number of a user");
        refused("unix:/x,group=a:b", "need the name or number of a group");
        assert_eq!(
            Bind::read(OsStr::from_bytes(b"unix:/x,user=\xff")),
            Err("need the name or number of a user".into())
        );
        for mode in ["", "8", "1000", "+7", "-1", "0o7", "77777777777777"] {
            refused(&format!("unix:/x,mode={mode}"), "need an octal mode from 0 to 0777, as in mode=0660");
        }
    }

    #[test]
    fn binds_display_without_their_options() {
        for (text, shown) in [("a:1,r", "a:1"), ("[::1]:80,n", "[::1]:80"), ("unix:/x,mode=7", "unix:/x")] {
            assert_eq!(Bind::read(OsStr::new(text)).unwrap().to_string(), shown);
        }
    }
}
