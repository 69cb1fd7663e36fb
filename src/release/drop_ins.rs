//! What a service lacks that its unit does not give it, in the words of a drop-in: the unit of the package runs as a user that has
//! no rights of its own. Looks at nothing but the name of the configuration file.

use crate::config::Config;

/// What helps a service that wants a port which only root may bind.
pub(crate) fn for_low_port(config: &Config) -> String {
    match config.service_unit() {
        Some(unit) => format!(
            "; systemctl edit {unit}: [Service] AmbientCapabilities=CAP_NET_BIND_SERVICE \
             CapabilityBoundingSet=CAP_NET_BIND_SERVICE (low-ports.conf)"
        ),
        None => "; give the master CAP_NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start".to_owned(),
    }
}

/// What helps one whose workers are to be another user.
pub(crate) fn for_another_user(config: &Config) -> String {
    let hint = |unit| format!("; systemctl edit {unit}: [Service] User=root Group=root (workers-as-users.conf)");
    config.service_unit().map_or(String::new(), hint)
}
