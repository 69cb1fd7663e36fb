# After the files are gone: $1 is how many versions of the package are left. The user stays, and so do files that a user wrote
# to /etc/einhyrningsins.

if [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload || :
fi
if [ "$1" -eq 0 ]; then
	if [ -d /run/systemd/system ]; then
		systemctl --system reset-failed 'einhyrningsins@*.service' >/dev/null 2>&1 || :
	fi
	rm -rf /var/cache/einhyrningsins
	rmdir /etc/einhyrningsins /run/einhyrningsins 2>/dev/null || :
	# cargo-generate-rpm 0.21 cannot own directories either.
	find /usr/libexec/einhyrningsins /usr/share/doc/einhyrningsins /usr/share/licenses/einhyrningsins -depth -type d -empty -delete 2>/dev/null || :
fi
:
