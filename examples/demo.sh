#!/bin/sh
# Runs four demo workers on 127.0.0.1:$PORT until Ctrl-C, in a directory of their own that goes with them.
# `make demo` builds what it needs and calls it with the directory of the programs.
set -eu

programs=$(cd "$1" && pwd)
address=127.0.0.1:${PORT:-8080}
directory=$(mktemp -d "${TMPDIR:-/tmp}/einhyrningsins-demo.XXXXXX")
trap 'rm -rf "$directory"' EXIT
# Ctrl-C goes to the master too: this shell waits until it has ended, and then cleans up.
trap : INT

cd "$directory"
echo one >WORKER_VERSION

cat <<EOS
Four workers serve on http://$address/. In another terminal:

  ask      curl http://$address/hello
  upgrade  echo two >$directory/WORKER_VERSION
           kill -HUP \$(cat $directory/einhorn.pid)
  stop     kill -INT \$(cat $directory/einhorn.pid), or Ctrl-C here

The answer says which worker gave it, and of which version. To see that an upgrade loses nothing, ask all the time:

  while curl -sS http://$address/ | grep version; do :; done

EOS

TMPDIR=$directory "$programs/einhyrningsins" -n 4 -m manual -b "$address,r" -- \
  "$programs/examples/http_worker" --ack manual
