#!/usr/bin/env -S ruby --disable-gems
# Answers lines on the first socket, with what Ruby's own library has: frames and escapes as einhorn's client does. Its word says
# where it finds the master: `env` (EINHORN_SOCK_PATH), `fd` (EINHORN_SOCK_FD, of -g) or `direct PATH`.

require 'socket'
require 'yaml'

ESCAPES = { '%' => '%25', "\n" => '%0A' }.freeze

def say(socket, message)
  socket.write("#{YAML.dump(message).gsub(/[%\n]/, ESCAPES)}\n")
end

def hear(socket)
  YAML.safe_load(socket.readline.chomp.gsub(/%25|%0A/, ESCAPES.invert))
end

def master(way, path = nil)
  case way
  when 'env' then UNIXSocket.new(ENV.fetch('EINHORN_SOCK_PATH'))
  when 'fd' then UNIXSocket.for_fd(Integer(ENV.fetch('EINHORN_SOCK_FD')))
  when 'direct' then UNIXSocket.new(path)
  end
end

def open_socket?(fd)
  File.readlink("/proc/self/fd/#{fd}").start_with?('socket:')
rescue Errno::ENOENT
  false
end

# Before anything is opened that could get its number.
found = open_socket?(ENV['EINHORN_SOCK_FD']) if ARGV.first == 'fd'
note = File.open("workers/#{Process.pid}", 'a')
note.sync = true
note.write("socket: #{found}\n") unless found.nil?
sleep if found == false

told, tell = IO.pipe
trap('USR2') do
  note.write("USR2\n")
  tell.write('.')
end
abort 'the master is not the parent' unless ENV.fetch('EINHORN_MASTER_PID') == Process.ppid.to_s

listener = TCPServer.for_fd(Integer(ENV.fetch('EINHORN_FD_0')))
socket = master(*ARGV)
# What -g gives is for acks alone.
unless ARGV.first == 'fd'
  say(socket, 'command' => 'ehlo', 'user' => "100%\nRuby")
  note.write("#{hear(socket)['message'].inspect}\n")
end
say(socket, 'command' => 'worker:ack', 'pid' => Process.pid)
socket.close

loop do
  readable, = IO.select([listener, told])
  break if readable.include?(told)

  # Another worker may have been faster.
  client = listener.accept_nonblock(exception: false)
  next if client == :wait_readable

  client.write("#{Process.pid} #{client.gets}")
  client.close
end
