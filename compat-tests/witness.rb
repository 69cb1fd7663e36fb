#!/usr/bin/env -S ruby --disable-gems
# A worker that tells what it finds and what happens to it: how its sockets are, in `sockets.yaml`, and each signal by its name
# in `workers/PID`. It acks and ends as worker.rb does, at each signal that asks for its end; with `fail`, by an exit code.

require 'fcntl'
require 'socket'
require 'yaml'

ENDS = %w[INT TERM QUIT USR2].freeze
PASSES = %w[HUP USR1 ALRM WINCH TTIN TTOU CONT].freeze

# Where the kernel keeps the length of a listening socket's queue: `tcpi_sacked` of `struct tcp_info`.
BACKLOG = 'x28L'

def look(number)
  socket = BasicSocket.for_fd(number)
  socket.autoclose = false
  flag = ->(name) { socket.getsockopt(:SOCKET, name).bool }
  { nonblock: (socket.fcntl(Fcntl::F_GETFL) & File::NONBLOCK).nonzero? ? true : false, reuseaddr: flag.call(:REUSEADDR),
    accepting: flag.call(:ACCEPTCONN), stream: socket.local_address.socktype == Socket::SOCK_STREAM,
    backlog: socket.getsockopt(:TCP, :INFO).data.unpack1(BACKLOG) }
end

note = File.open("workers/#{Process.pid}", 'a')
note.sync = true
PASSES.each { |signal| trap(signal) { note.write("#{signal}\n") } }
ENDS.each do |signal|
  trap(signal) do
    note.write("#{signal}\n")
    exit!(File.exist?('fail') ? 3 : 0) unless File.exist?('linger')
  end
end

sockets = Array.new(Integer(ENV.fetch('EINHORN_FD_COUNT'))) { |at| look(Integer(ENV.fetch("EINHORN_FD_#{at}"))) }
File.write("sockets.#{Process.pid}", YAML.dump(sockets))
File.rename("sockets.#{Process.pid}", 'sockets.yaml')

unless File.exist?('silent')
  UNIXSocket.open(ENV.fetch('EINHORN_SOCK_PATH')) do |socket|
    socket.write(%({"command":"worker:ack","pid":#{Process.pid}}\n))
  end
end
note.write("ready\n")
sleep
