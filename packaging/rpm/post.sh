# After the files are there: $1 is how many versions of the package are installed now, so above 1 this is an upgrade.
# cargo-generate-rpm knows no macros: what %sysusers does is written out. The macros of systemd's know no instances.

systemd-sysusers einhyrningsins.conf || :

# Made here, for cargo-generate-rpm 0.21 cannot put an empty directory into a package. Root and the service's group read it.
if [ ! -d /etc/einhyrningsins ]; then
	install -d -m 0750 -o root -g einhyrningsins /etc/einhyrningsins || :
fi

if [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload || :
	if [ "$1" -gt 1 ]; then
		# Each master becomes the new program in place: its pid, sockets and workers stay. It tries the program first, for ten
		# seconds at most; until it has become it, its file is a deleted one.
		is_replaced() {
			case $(readlink "/proc/$1/exe") in
			*' (deleted)') return 1 ;;
			esac
		}
		states=active,activating,reloading
		systemctl --system list-units --plain --no-legend --full --state=$states 'einhyrningsins@*.service' |
			while read -r unit rest; do
				name=${unit#einhyrningsins@}
				pid=$(systemctl --system show --value --property=MainPID "$unit")
				tries=0
				if timeout 60 /usr/bin/einhyrningsinsctl -d "/run/einhyrningsins/${name%.service}/einhorn.sock" raw reload >/dev/null; then
					until is_replaced "$pid" || [ "$tries" -gt 150 ]; do
						tries=$((tries + 1))
						sleep 0.1
					done
				fi
				is_replaced "$pid" ||
					echo "einhyrningsins: $unit goes on with the program of before; its next upgrade will try the new one" >&2
			done
	fi
fi
:
