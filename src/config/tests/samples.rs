//! The files in `config/`: each is read as it stands, and the one that shows every key shows it as it is.

use std::fs;
use std::path::Path;

use crate::config::definition::Kind;
use crate::config::options::keys;
use crate::config::tests::{parse_with, words};
use crate::config::{Config, Invocation, schema};

fn sample(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)).unwrap()
}

#[track_caller]
fn read(text: &str, args: &[&str]) -> Config {
    let args = [&["--config", "x.toml", "--print-config"], args].concat();
    match parse_with(words(&args), &[("x.toml", text)]) {
        Ok(Invocation::PrintConfig(config)) => *config,
        other => panic!("{other:?}"),
    }
}

/// A line of `web.toml` that is a setting, in force or commented out.
struct Setting {
    line_index: usize,
    /// The header above it, as it stands: `[worker]`, `# [[bind]]`.
    header: String,
    name: String,
    value: String,
}

fn settings() -> Vec<Setting> {
    let is_name = |name: &str| name.chars().all(|char| char.is_ascii_lowercase() || "-46".contains(char));
    let (mut header, mut found) = (String::new(), Vec::new());
    for (line_index, line) in sample("web.toml").lines().enumerate() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if bare.starts_with('[') {
            line.clone_into(&mut header);
        } else if let Some((name, value)) = bare.split_once(" = ").filter(|(name, _)| is_name(name)) {
            let (name, value) = (name.to_owned(), value.to_owned());
            found.push(Setting { line_index, header: header.clone(), name, value });
        }
    }
    found
}

impl Setting {
    /// With its table, if that is one of the definition.
    fn key(&self) -> String {
        match self.header.strip_prefix('[') {
            Some(table) => format!("{}.{}", table.trim_end_matches(']'), self.name),
            None => self.name.clone(),
        }
    }

    fn is_of_a_bind(&self) -> bool {
        self.header == "# [[bind]]"
    }
}

#[test]
fn web_toml_names_every_key_with_its_default_where_there_is_one() {
    let shown: Vec<Setting> = settings().into_iter().filter(|setting| !setting.header.starts_with('#')).collect();
    for key in keys() {
        let setting = shown.iter().find(|setting| setting.key() == key.name);
        let value = &setting.unwrap_or_else(|| panic!("config/web.toml does not show {}", key.name)).value;
        if let Some(default) = key.default {
            assert_eq!(value.trim_matches('"'), default, "{}", key.name);
        } else if key.kind == Kind::List && key.name != "command" {
            assert_eq!(value, "[]", "{}", key.name);
        }
    }
    for alias in keys().filter_map(|key| key.alias) {
        assert!(shown.iter().any(|setting| setting.key() == alias), "{alias}");
    }
}

#[test]
fn web_toml_is_right_as_it_stands_and_so_is_each_of_its_settings() {
    let plain = sample("web.toml");
    assert_eq!(read(&plain, &[]).program, ["/srv/web/current/bin/server", "--workers", "1"]);
    let in_force = |wanted: &dyn Fn(usize, &str) -> bool| {
        let lines = plain.lines().enumerate().map(|(index, line)| match line.strip_prefix("# ") {
            Some(bare) if wanted(index, line) => bare,
            _ => line,
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    for setting in settings().iter().filter(|setting| !setting.header.starts_with('#')) {
        let text = in_force(&|index, _| index == setting.line_index);
        // Without manual acks there is nothing to time.
        let args = if setting.name == "ack-timeout" { &["-m", "manual"][..] } else { &[] };
        assert!(read(&text, args).given.is_given(&setting.key()) || setting.key().starts_with("control."), "{text}");
    }
    let of_binds: Vec<usize> = settings().iter().filter(|it| it.is_of_a_bind()).map(|it| it.line_index).collect();
    let text = in_force(&|index, line| line == "# [[bind]]" || of_binds.contains(&index));
    let binds: Vec<String> = read(&text, &[]).binds.iter().map(ToString::to_string).collect();
    assert_eq!(binds, ["0.0.0.0:8080", "unix:/run/einhyrningsins/web/web.sock"]);
}

#[test]
fn the_demo_and_the_profiles_are_right() {
    assert_eq!(read(&sample("demo.toml"), &[]).number.of(0), 4);
    let profiles = sample("profiles.toml");
    let env = |config: &Config| config.env.set.clone();
    let developer = read(&profiles, &[]);
    assert_eq!((developer.number.of(0), env(&developer)), (1, vec![("APP_ENV".into(), "development".into())]));
    let staging = read(&profiles, &["--profile", "staging"]);
    assert_eq!((staging.number.of(0), staging.binds.len(), staging.retries), (2, 2, Some(3)));
    let production = read(&profiles, &["--profile", "production"]);
    assert_eq!((production.number.of(0), production.worker.user.as_deref()), (16, Some("app")));
    assert_eq!(env(&production), [("APP_ENV".into(), "production".into())]);
    assert_eq!(production.control.allow_groups, ["deploy"]);
}

/// Written by `einhyrningsins --config-schema > config/einhyrningsins.schema.json`.
#[test]
fn the_schema_that_is_kept_is_the_one_that_is_made() {
    assert_eq!(sample("einhyrningsins.schema.json"), schema());
}
