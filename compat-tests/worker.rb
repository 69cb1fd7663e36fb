#!/usr/bin/env -S ruby --disable-gems
# The worker of the suite: acks over the control socket, notes in `workers/PID` what happens to it, and ends at USR2.
# Its habits are files in its directory: with `silent` it does not ack, with `linger` it stays when it is told to go, with `talk` it
# writes a line again and again, until there is no reader for it.

require 'socket'

note = File.open("workers/#{Process.pid}", 'a')
note.sync = true
%w[USR1 HUP].each { |signal| trap(signal) { note.write("#{signal}\n") } }
trap('USR2') { File.exist?('linger') ? note.write("USR2\n") : exit! }

unless File.exist?('silent')
  UNIXSocket.open(ENV.fetch('EINHORN_SOCK_PATH')) do |socket|
    socket.write(%({"command":"worker:ack","pid":#{Process.pid}}\n))
  end
end
note.write("ready\n")
$stdout.sync = true
(0..).each { |number| puts("line #{number}") || sleep(0.02) } if File.exist?('talk')
sleep
