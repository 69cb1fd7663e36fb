#!/bin/sh
# Acks in one line, by nc or by socat, and becomes the program that is named, or waits until it is told to go.

trap 'echo USR2 >>"workers/$$"; kill "$!"; exit 0' USR2
echo begun >>"workers/$$"

case $1 in
  nc) echo '{"command":"worker:ack","pid":'$$'}' | nc -U "$EINHORN_SOCK_PATH" ;;
  socat) echo '{"command":"worker:ack","pid":'$$'}' | socat - UNIX-CONNECT:"$EINHORN_SOCK_PATH" ;;
esac

[ -z "$2" ] || exec "$2"

while :; do
  sleep 1 &
  wait "$!"
done
