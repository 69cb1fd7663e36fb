# Before the files go: $1 is how many versions of the package will be left, so 0 is the end. Then all instances are disabled, as
# %systemd_preun does with a unit, and stopped.

if [ "$1" -eq 0 ]; then
	systemctl --system --no-reload disable einhyrningsins@.service >/dev/null 2>&1 || :
	if [ -d /run/systemd/system ]; then
		systemctl --system stop 'einhyrningsins@*.service' || :
	fi
fi
:
