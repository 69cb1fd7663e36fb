# The listening sockets: which addresses are bound, how the sockets are set, and what happens where one cannot be had.

require_relative '../lib/attempt'
require_relative '../lib/crew'

module Sockets
  # No host of ours has it: it is reserved for documentation.
  ELSEWHERE = '203.0.113.7:0'

  # Not even Ruby's pattern has room for these.
  MALFORMED = ['foo', '80', '127.0.0.1', ':80', '127.0.0.1:', '127.0.0.1:http', '127.0.0.1:-1', '::1:80', '127.0.0.1:0,',
               '127.0.0.1:0;r', '/x.sock', ''].freeze

  # How the worker of such a master finds its sockets.
  def self.sockets(stage, options)
    master = stage.start("-m manual #{options}", program: ['./witness.rb'], files: [Crew::WITNESS])
    master.wait_for_log('Up to 1 / 1 manual ACKs')
    YAML.safe_load(File.read(File.join(master.directory, 'sockets.yaml')), permitted_classes: [Symbol])
  end

  def self.free_port
    server = TCPServer.new('127.0.0.1', 0)
    server.addr[1]
  ensure
    server.close
  end

  # Another process that listens.
  def self.taken
    server = TCPServer.new('127.0.0.1', 0)
    yield "127.0.0.1:#{server.addr[1]}"
  ensure
    server.close
  end

  def self.attempt(stage, address)
    Attempt.make(stage.subject, ['-b', address, 'sleep', '1'])
  end
end

Suite.test('each -b is bound, in order, and state has the ports', quotes: 'state.txt; life-stderr.txt: Binding to') do |stage|
  port = Sockets.free_port
  master = stage.start("-b 127.0.0.1:0,r,n -b localhost:0 -b 127.0.0.1:#{port},r")
  state = master.state
  stage.same([['127.0.0.1', 0, %w[r n]], ['localhost', 0, []], ['127.0.0.1', port, %w[r]]], state[:bind], 'what is bound')
  ports = state[:bound_ports]
  stage.same([3, 3, port], [state[:bind_fds].uniq.size, ports.uniq.size, ports.last], 'what came of it')
  ports.each { |bound| TCPSocket.new('127.0.0.1', bound).close }
  lines = ['127.0.0.1:0 with flags ["r", "n"]', 'localhost:0 with flags []', "127.0.0.1:#{port} with flags [\"r\"]"]
  master.wait_for_log(lines.last)
  expected = lines.map { |line| "[MASTER #{master.pid}] INFO: Binding to #{line}" }
  stage.same(expected, master.log.lines(chomp: true).grep(/Binding/), 'what the log says')
end

Suite.test('without -b nothing is bound', quotes: 'worker-environment.txt, first scene') do |stage|
  state = stage.start('').state
  stage.same([[], [], []], state.values_at(:bind, :bind_fds, :bound_ports), 'what is bound')
end

Suite.test('a socket is a listening stream, and has the flags that it was given',
           quotes: 'cli.txt: r, so_reuseaddr; n, o_nonblock; worker-environment.txt, second scene') do |stage|
  flags = ['', ',r', ',so_reuseaddr', ',r,n', ',n,r', ',o_nonblock,so_reuseaddr', ',R,N']
  sockets = Sockets.sockets(stage, flags.map { |flag| "-b 127.0.0.1:0#{flag}" }.join(' '))
  stage.same([[true, true]], sockets.map { |socket| socket.values_at(:stream, :accepting) }.uniq, 'whether they listen')
  stage.same([false, true, true, true, true, true, true], sockets.map { |socket| socket[:reuseaddr] }, 'SO_REUSEADDR')
  stage.same([true] * 4, sockets.drop(3).map { |socket| socket[:nonblock] }, 'O_NONBLOCK where it was asked for')
end

Suite.test('a socket is non-blocking without being asked', quotes: 'worker-environment.txt: "nonblock": true',
           differs: '| bound sockets |') do |stage|
  sockets = Sockets.sockets(stage, '-b 127.0.0.1:0 -b 127.0.0.1:0,r')
  stage.same([true, true], sockets.map { |socket| socket[:nonblock] }, 'O_NONBLOCK')
end

Suite.test('a socket is blocking unless n is given', quotes: 'cli.txt: n, o_nonblock', only: :ours) do |stage|
  stage.differs('| bound sockets |')
  sockets = Sockets.sockets(stage, '-b 127.0.0.1:0 -b 127.0.0.1:0,r -b 127.0.0.1:0,n')
  stage.same([false, false, true], sockets.map { |socket| socket[:nonblock] }, 'O_NONBLOCK')
end

Suite.test('-l is the length of the queue of every socket', quotes: 'cli.txt: -l, --backlog N') do |stage|
  sockets = Sockets.sockets(stage, '-l 7 -b 127.0.0.1:0 -b 127.0.0.1:0,r')
  stage.same([7, 7], sockets.map { |socket| socket[:backlog] }, 'the lengths')
end

Suite.test('the queue of a socket is 100 long', quotes: 'state.txt: :backlog: 100', differs: '| `-l`, backlog |') do |stage|
  stage.same([100], Sockets.sockets(stage, '-b 127.0.0.1:0').map { |socket| socket[:backlog] }, 'the length')
end

Suite.test('the queue of a socket is 1024 long, or as long as the system lets it be',
           quotes: 'compat.md', only: :ours) do |stage|
  stage.differs('| `-l`, backlog |')
  most = Integer(File.read('/proc/sys/net/core/somaxconn'))
  stage.same([[1024, most].min], Sockets.sockets(stage, '-b 127.0.0.1:0').map { |socket| socket[:backlog] }, 'the length')
end

Suite.test('clients that connect while master and workers are replaced are never refused',
           quotes: 'cli.txt: seamlessly reload') do |stage|
  master = stage.start('-n 2 -s 0.1 -m manual -b 127.0.0.1:0,r')
  master.wait_for_log('Up to 2 / 2 manual ACKs')
  port, client, connections = master.state[:bound_ports].first, master.connect, []
  client.write(Client.frame('command' => 'upgrade', 'id' => 1))
  done = Thread.new { client.receive_to_the_end.last['message'] }
  # No worker accepts: more than the queue holds would have to wait.
  connections << TCPSocket.new('127.0.0.1', port) until done.join(0.02) || connections.size == 90
  stage.same('Upgrade done', done.value, 'the last line')
  stage.same(port, master.state[:bound_ports].first, 'the port')
ensure
  connections&.each(&:close)
end

Suite.test('an address in use fails the start, and leaves its owner alone', quotes: 'cli.txt: address in use') do |stage|
  Sockets.taken do |address|
    attempt = Sockets.attempt(stage, address)
    stage.holds("#{attempt.status.inspect} is a failure") { attempt.failed? }
    stage.holds("it is told of\n#{attempt.err}") { attempt.err.match?(/#{address}.*in use|in use.*#{address}/i) }
    stage.same([], attempt.files - ['einhorn.lock'], 'files that are left')
    TCPSocket.new('127.0.0.1', address.split(':').last).close
  end
end

Suite.test('an address in use, or of another host, is exit code 1',
           quotes: 'cli.txt', differs: '| address in use, lock held, … |') do |stage|
  Sockets.taken { |address| stage.same(1, Sockets.attempt(stage, address).status, 'exit code') }
  stage.same(1, Sockets.attempt(stage, Sockets::ELSEWHERE).status, 'exit code')
end

Suite.test('an address in use, or of another host, is exit code 111', quotes: 'compat.md', only: :ours) do |stage|
  stage.differs('| address in use, lock held, … |')
  Sockets.taken { |address| stage.same(111, Sockets.attempt(stage, address).status, 'exit code') }
  stage.same(111, Sockets.attempt(stage, Sockets::ELSEWHERE).status, 'exit code')
end

Suite.test('an address of another host fails the start, and is named', quotes: 'cli.txt: 203.0.113.7:0') do |stage|
  attempt = Sockets.attempt(stage, Sockets::ELSEWHERE)
  stage.holds("#{attempt.status.inspect} is a failure") { attempt.failed? }
  stage.holds("it is named in\n#{attempt.err}") { attempt.err.include?('203.0.113.7') }
  stage.holds("the cause is told in\n#{attempt.err}") { attempt.err.match?(/cannot assign requested address/i) }
  stage.same([], attempt.files - ['einhorn.lock'], 'files that are left')
end

Suite.test('a malformed address is refused and named, and nothing is left', quotes: 'cli.txt: -b foo, -b ::1:80') do |stage|
  Sockets::MALFORMED.each do |address|
    attempt = Sockets.attempt(stage, address)
    stage.holds("#{address.inspect} fails") { attempt.failed? }
    stage.holds("#{address.inspect} is named in\n#{attempt.err}") { attempt.err.include?(address) }
    stage.same([], attempt.files, 'files that are left')
  end
end

['[::1]:0', 'unix:./x.sock'].each do |address|
  Suite.test("the address #{address} is refused", quotes: 'E21', differs: '| `-b [::1]:80`, `-b unix:PATH` |') do |stage|
    attempt = Attempt.make(stage.subject, ['-b', address, '--version'])
    stage.same([1, ''], [attempt.status, attempt.out], 'exit code and stdout')
  end
end

Suite.test('an address of IPv6 and a path are bound, and state has 0 for the port of a path',
           quotes: 'compat.md', only: :ours) do |stage|
  stage.differs('| `-b [::1]:80`, `-b unix:PATH` |')
  master = stage.start('-b [::1]:0 -b unix:./x.sock')
  port, none = master.state[:bound_ports]
  stage.same(0, none, 'the port of the path')
  TCPSocket.new('::1', port).close
  UNIXSocket.new(File.join(master.directory, 'x.sock')).close
end
