# After the files are there: $1 is how many versions of the package are installed now, so above 1 this is an upgrade.
# cargo-generate-rpm knows no macros; what stands here are %sysusers and %systemd_post, written out, and the instances, which they
# do not know.

systemd-sysusers einhyrningsins.conf || :

# Made here, for cargo-generate-rpm 0.21 cannot put an empty directory into a package. Root and the service's group read it.
if [ ! -d /etc/einhyrningsins ]; then
	install -d -m 0750 -o root -g einhyrningsins /etc/einhyrningsins || :
fi

if [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload || :
	if [ "$1" -gt 1 ]; then
		# Each master becomes the new program in place: its pid, sockets and workers stay.
		systemctl --system list-units --plain --no-legend --full --state=active,reloading 'einhyrningsins@*.service' |
			while read -r unit rest; do
				name=${unit#einhyrningsins@}
				name=${name%.service}
				timeout 60 /usr/bin/einhyrningsinsctl -d "/run/einhyrningsins/$name/einhorn.sock" raw reload >/dev/null ||
					echo "einhyrningsins: $unit goes on with the program of before; its next upgrade will try the new one" >&2
			done
	fi
fi
:
