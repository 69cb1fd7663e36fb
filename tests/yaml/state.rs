//! einhorn's state document, written and read.

use einhyrningsins::yaml::{Limits, Time, Value, read, write};

fn time(seconds: i64) -> Value {
    Value::Time(Time::local(1_795_395_582 + seconds, 745_983_213, 0))
}

fn worker(index: i64, spinup_time: Value) -> Value {
    Value::symbol_map([
        ("type", Value::symbol("worker")),
        ("version", Value::Int(0)),
        ("acked", Value::Bool(index == 0)),
        ("signaled", Value::Set(if index == 0 { vec!["USR2".into()] } else { vec![] })),
        ("last_signaled_at", if index == 0 { time(2) } else { Value::Nil }),
        ("index", Value::Int(index)),
        ("spinup_time", spinup_time),
    ])
}

/// The parts of einhorn's state document that differ in shape.
fn state() -> Value {
    let last_spinup = time(1).share();
    let workers = vec![(Value::Int(501), worker(0, time(0))), (Value::Int(502), worker(1, last_spinup.clone()))];
    let bind = |flags: Vec<&str>| Value::Seq(vec!["127.0.0.1".into(), Value::Int(0), flags.into()]);
    Value::symbol_map([
        (
            "state",
            Value::symbol_map([
                ("children", Value::Map(workers)),
                ("config", Value::symbol_map([("number", Value::Int(2)), ("seconds", Value::Float(0.1))])),
                ("sockets", Value::Map(vec![])),
                ("orig_cmd", vec!["./worker"].into()),
                ("bind", vec![bind(vec!["r", "n"]), bind(vec![])].into()),
                ("cmd_name", Value::Nil),
                ("last_spinup", last_spinup),
                ("nice", Value::symbol_map([("master", Value::Nil), ("renice_cmd", "/usr/bin/renice".into())])),
            ]),
        ),
        (
            "persistent_descriptors",
            Value::Seq(vec![Value::symbol_map([
                ("class", "Einhorn::Event::Connection".into()),
                ("read_buffer", "{\"command\":\"eh".into()),
                ("write_buffer", "---%0Amessage: |%0A  Welcome%0A\n---%0A\n".into()),
                ("subscriptions", Value::symbol_map([("upgrade", "my id".into())])),
            ])]),
        ),
    ])
}

/// As recorded from einhorn 1.1.1, with numbers in the place of the masks.
pub(crate) const STATE: &str = "---
:state:
  :children:
    501:
      :type: :worker
      :version: 0
      :acked: true
      :signaled: !ruby/object:Set
        hash:
          USR2: true
      :last_signaled_at: 2026-11-23 00:59:44.745983213 +00:00
      :index: 0
      :spinup_time: 2026-11-23 00:59:42.745983213 +00:00
    502:
      :type: :worker
      :version: 0
      :acked: false
      :signaled: !ruby/object:Set
        hash: {}
      :last_signaled_at:
      :index: 1
      :spinup_time: &1 2026-11-23 00:59:43.745983213 +00:00
  :config:
    :number: 2
    :seconds: 0.1
  :sockets: {}
  :orig_cmd:
  - \"./worker\"
  :bind:
  - - 127.0.0.1
    - 0
    - - r
      - \"n\"
  - - 127.0.0.1
    - 0
    - []
  :cmd_name:
  :last_spinup: *1
  :nice:
    :master:
    :renice_cmd: \"/usr/bin/renice\"
:persistent_descriptors:
- :class: Einhorn::Event::Connection
  :read_buffer: '{\"command\":\"eh'
  :write_buffer: |
    ---%0Amessage: |%0A  Welcome%0A
    ---%0A
  :subscriptions:
    :upgrade: my id
";

#[test]
fn einhorns_state_is_written_as_it_writes_it() {
    assert_eq!(write(&state()), STATE);
}

#[test]
fn einhorns_state_is_read_with_its_shared_objects() {
    let read_back = read(STATE, Limits::TRUSTED).unwrap();
    assert_eq!(read_back, state());
    assert_eq!(write(&read_back), STATE);
    let einhorn = read_back.get_symbol("state").unwrap();
    assert_eq!(einhorn.get_symbol("last_spinup").unwrap().as_time(), time(1).as_time());
    assert_eq!(einhorn.get_symbol("config").unwrap().get_symbol("seconds").unwrap().as_float(), Some(0.1));
    assert_eq!(einhorn.get("config"), None);
}
