# What a worker finds: its environment, its descriptors, its place among the processes. It is read from /proc, of workers that
# leave all as it was.

require_relative '../lib/birth'
require_relative '../lib/variant'

module Environment
  # A master with so many plain workers, and how they were born, by their indexes.
  def self.born(stage, options, count: 1, **more)
    master = stage.start("-n #{count} -s 0.1 -m 0 #{options}", program: Birth::PLAIN, **more)
    [master, *children(master, count)]
  end

  def self.children(master, count)
    master.wait_for_workers(count).map { |pid| Birth.of(pid) }.sort_by { |birth| birth.einhorn['EINHORN_CHILD_INDEX'].to_i }
  end

  # The one that is there after an upgrade, or another that has come in the place of a single one.
  def self.successor(master, elder)
    Wait.until('there is another worker') { master.workers.any? && !master.workers.include?(elder.pid) }
    children(master, 1).first
  end

  def self.upgrade(master)
    client = master.connect
    client.write(Client.frame('command' => 'upgrade', 'id' => 1))
    client.receive_to_the_end
  end

  # Ours has more, which tests of their own tell of.
  def self.known(birth)
    birth.einhorn.reject { |name, _| name.match?(/\AEINHORN_(FDS|FD_FAMILY_\d+)\z/) }
  end

  # Without what the suite itself was started with, and passes on.
  def self.opened(birth)
    inherited = Birth.new(Process.pid).descriptors
    birth.descriptors.reject { |fd, target| fd > 2 && inherited[fd] == target }
  end

  # What the block comes to: a program that is just being loaded has more open for a moment.
  def self.in_the_end(expected)
    seen = nil
    Wait.until("it is #{expected}") { (seen = yield) == expected }
    seen
  rescue Wait::Timeout
    seen
  end

  # Numbers of descriptors mean nothing in themselves.
  def self.sockets(birth)
    Array.new(birth.einhorn['EINHORN_FD_COUNT'].to_i) { |at| birth.einhorn["EINHORN_FD_#{at}"].to_i }
  end
end

Suite.test('a worker without sockets finds four variables of einhorn', quotes: 'worker-environment.txt, first scene') do |stage|
  master, birth = Environment.born(stage, '')
  stage.same({ 'EINHORN_CHILD_INDEX' => '0', 'EINHORN_FD_COUNT' => '0', 'EINHORN_MASTER_PID' => master.pid.to_s,
               'EINHORN_SOCK_PATH' => File.join(master.directory, 'einhorn.sock') }, Environment.known(birth), 'the variables')
end

Suite.test('a worker with sockets finds their numbers, in the order of -b',
           quotes: 'worker-environment.txt, second scene') do |stage|
  master, birth = Environment.born(stage, '-b 127.0.0.1:0 -b 127.0.0.1:0,r,n')
  first, second = birth.einhorn.values_at('EINHORN_FD_0', 'EINHORN_FD_1')
  stage.same({ 'EINHORN_CHILD_INDEX' => '0', 'EINHORN_FD_COUNT' => '2', 'EINHORN_FD_0' => first, 'EINHORN_FD_1' => second,
               'EINHORN_MASTER_PID' => master.pid.to_s, 'EINHORN_SOCK_PATH' => File.join(master.directory, 'einhorn.sock') },
             Environment.known(birth), 'the variables')
  ports = Environment.sockets(birth).map { |fd| birth.port_of(fd) }
  stage.same(master.state[:bound_ports], ports, 'the ports of the sockets')
  stage.holds('the sockets are the very ones of the master') do
    Environment.sockets(birth).all? { |fd| Birth.new(master.pid).descriptors.value?(birth.descriptors[fd]) }
  end
end

{ 'EINHORN_FD_FAMILY_0' => '| `EINHORN_FD_FAMILY_n` | missing |',
  'EINHORN_FDS' => '| `EINHORN_FDS` | 0.8.2 only |' }.each do |name, line|
  Suite.test("a worker does not find #{name}", quotes: 'worker-environment.txt, second scene', differs: line) do |stage|
    _, birth = Environment.born(stage, '-b 127.0.0.1:0')
    stage.same(nil, birth.einhorn[name], name)
  end
end

Suite.test('a worker finds the family of each socket', quotes: 'compat.md', only: :ours) do |stage|
  stage.differs('| `EINHORN_FD_FAMILY_n` | missing |')
  _, birth = Environment.born(stage, '-b 127.0.0.1:0 -b 127.0.0.1:0')
  stage.same(%w[AF_INET AF_INET], birth.einhorn.values_at('EINHORN_FD_FAMILY_0', 'EINHORN_FD_FAMILY_1'), 'the families')
end

Suite.test('a worker finds the numbers of all sockets in one variable',
           quotes: '0.8.2-worker-environment.txt', only: :ours) do |stage|
  stage.differs('| `EINHORN_FDS` | 0.8.2 only |')
  ['', '-b 127.0.0.1:0', '-b 127.0.0.1:0 -b 127.0.0.1:0'].each do |options|
    _, birth = Environment.born(stage, options)
    stage.same(Environment.sockets(birth).join(' '), birth.einhorn['EINHORN_FDS'], "EINHORN_FDS with #{options.inspect}")
  end
end

Suite.test('EINHORN_FD_0 is 5 or above',
           quotes: 'worker-environment.txt: 7', differs: '| number of `EINHORN_FD_0` |') do |stage|
  _, birth = Environment.born(stage, '-b 127.0.0.1:0')
  stage.holds('it is above the descriptors of the master') { birth.einhorn['EINHORN_FD_0'].to_i >= 5 }
end

Suite.test('EINHORN_FD_0 is 3, and the others follow', quotes: 'compat.md', only: :ours) do |stage|
  stage.differs('| number of `EINHORN_FD_0` |')
  _, birth = Environment.born(stage, '-b 127.0.0.1:0 -b 127.0.0.1:0 -b 127.0.0.1:0')
  stage.same([3, 4, 5], Environment.sockets(birth), 'the numbers')
end

Suite.test('the control socket is named as -d and -c have it',
           quotes: 'worker-environment.txt: ./rel.sock, einhorn-nm.sock') do |stage|
  _, birth = Environment.born(stage, '-d ./rel.sock', socket: 'rel.sock')
  stage.same('./rel.sock', birth.einhorn['EINHORN_SOCK_PATH'], 'with -d')
  master, birth = Environment.born(stage, '-c nm', socket: 'einhorn-nm.sock')
  stage.same(File.join(master.directory, 'einhorn-nm.sock'), birth.einhorn['EINHORN_SOCK_PATH'], 'with -c')
end

Suite.test('with -g a worker finds EINHORN_SOCK_FD, and without it does not',
           quotes: 'worker-environment.txt, third scene') do |stage|
  [['-g', true], ['', false]].each do |options, there|
    _, birth = Environment.born(stage, options)
    stage.same(there, birth.einhorn['EINHORN_SOCK_FD'].to_s.match?(/\A\d+\z/), "a number with #{options.inspect}")
  end
end

Suite.test('EINHORN_SOCK_FD names a descriptor that is closed', quotes: 'worker-environment.txt, third scene; E15',
           differs: '| `EINHORN_SOCK_FD` with `-g` |') do |stage|
  _, birth = Environment.born(stage, '-g')
  open = birth.descriptors[birth.einhorn['EINHORN_SOCK_FD'].to_i]
  stage.holds("no socket is at its number, not #{open.inspect}") { !open.to_s.start_with?('socket:') }
end

Suite.test('an ack over EINHORN_SOCK_FD counts',
           quotes: 'cli.txt: you just need to write() the above message', only: :ours) do |stage|
  stage.differs('| `EINHORN_SOCK_FD` with `-g` |')
  ack = %q(: >workers/$$; eval "echo '{\"command\":\"worker:ack\",\"pid\":'$$'}' >&$EINHORN_SOCK_FD"; exec sleep 100000)
  stage.start('-g -m manual', program: ['/bin/sh', '-c', ack]).wait_for_log('Up to 1 / 1 manual ACKs')
end

Suite.test('a worker has its sockets and the standard descriptors open, and no other',
           quotes: 'worker-environment.txt: descriptors') do |stage|
  ['', '-b 127.0.0.1:0', '-b 127.0.0.1:0 -b 127.0.0.1:0,r,n'].each do |options|
    master, birth = Environment.born(stage, options)
    standard = { 0 => File::NULL, 1 => File.join(master.directory, 'stdout'), 2 => File.join(master.directory, 'log') }
    expected = [0, 1, 2, *Environment.sockets(birth)]
    stage.same(expected, Environment.in_the_end(expected) { Environment.opened(birth).keys }, 'the open descriptors')
    stage.same(standard, birth.descriptors.slice(0, 1, 2), 'the standard ones')
  end
end

Suite.test('descriptors that the master was started with are open in a worker, too', quotes: 'E37',
           differs: '| what it was started with open beside 0, 1 and 2 |') do |stage|
  IO.pipe do |reader, _|
    reader.close_on_exec = false
    _, birth = Environment.born(stage, '')
    stage.holds('the pipe is there') { birth.descriptors[reader.fileno].to_s.start_with?('pipe:') }
  end
end

Suite.test('a worker is a direct child of the master, in a group of its own, where the master is',
           quotes: 'worker-environment.txt: pid, parent, process group, cwd, niceness') do |stage|
  master, *births = Environment.born(stage, '', count: 3)
  births.each do |birth|
    seen = [birth.parent, birth.einhorn['EINHORN_MASTER_PID'].to_i, birth.group, birth.directory, birth.niceness]
    stage.same([master.pid, master.pid, birth.pid, master.directory, Birth.new(Process.pid).niceness], seen, 'its place')
  end
end

Suite.test('every worker finds its own index, from 0 on', quotes: 'worker-environment.txt; einhorn-undocumented') do |stage|
  master, *births = Environment.born(stage, '', count: 4)
  stage.same(%w[0 1 2 3], births.map { |birth| birth.einhorn['EINHORN_CHILD_INDEX'] }, 'the indexes')
  known = master.state[:children].transform_values { |child| child[:index].to_s }
  stage.same(known, births.to_h { |birth| [birth.pid, birth.einhorn['EINHORN_CHILD_INDEX']] }, 'what the master says of them')
end

Suite.test('no signal is blocked or ignored in a worker', quotes: 'worker-environment.txt: SigBlk, SigIgn') do |stage|
  _, birth = Environment.born(stage, '')
  # A process that posix_spawn(3) has started, as make does, ignores those that the C library keeps to itself, and einhorn passes it on.
  of_the_library = stage.ours? ? 0 : [32, 33].sum { |number| 1 << (number - 1) }
  stage.same([0, 0], [birth.signals('SigBlk'), birth.signals('SigIgn') & ~of_the_library], 'the sets of signals')
end

Suite.test('a worker is called by what was given, and by the path where there was but a name',
           quotes: 'worker-environment.txt, last scene') do |stage|
  words = ['/bin/sh', '-c', ': >workers/$$; while :; do sleep 0.1; done', 'a b', '', '-n', 'é']
  master = stage.start('-m 0', program: words)
  stage.same(words.map(&:b), Birth.new(master.wait_for_workers(1).first).arguments.map(&:b), 'its words')
  path = ENV['PATH'].split(':').map { |directory| File.join(directory, 'sleep') }.find { |file| File.exist?(file) }
  master = stage.start('-m 0', program: %w[sleep 30])
  Wait.until('it is called so') { Birth.new(master.worker_at(0)).arguments == [path, '30'] }
  Process.kill(:TERM, master.pid)
  stage.same(0, master.exit_status, 'exit status')
end

Suite.test('ps shows the master with its program, or with the name from -c',
           quotes: 'worker-environment.txt: ps shows') do |stage|
  [['', 'einhorn.sock', 'einhorn: ./worker'], ['-c nm', 'einhorn-nm.sock', 'einhorn: ruby nm']].each do |options, socket, title|
    master = stage.start(options, socket: socket)
    Wait.until("it is shown as #{title}") { Birth.new(master.pid).title == title }
  end
end

Suite.test('master and workers have the nice levels that they were given',
           quotes: 'worker-environment.txt, --nice 1:2') do |stage|
  master, birth = Environment.born(stage, '--nice 1:2')
  stage.same([1, 2], [Birth.new(master.pid).niceness, birth.niceness], 'the levels')
end

Suite.test('an upgrade leaves a worker all but its index and what was dropped',
           quotes: 'worker-environment.txt, CF_DROP') do |stage|
  variant = Variant.new(stage.subject, 'CF_DROP' => 'dropped', 'CF_KEEP' => 'kept')
  master, first = Environment.born(stage, '--drop-env-var CF_DROP -b 127.0.0.1:0', subject: variant)
  before, socket = first.environment, first.descriptors[Environment.sockets(first).first]
  stage.same(%w[dropped kept], before.values_at('CF_DROP', 'CF_KEEP'), 'what the first one finds')
  stage.same('Upgrade done', Environment.upgrade(master).last['message'], 'the last line')
  second = Environment.successor(master, first)
  # Ours has its pid there, too.
  own = 'EINHYRNINGSINS_SLOT_PID'
  expected = before.merge('EINHORN_CHILD_INDEX' => '1').except('CF_DROP', own)
  stage.same(expected, second.environment.except(own), 'what the second one finds')
  seen = [second.descriptors[Environment.sockets(second).first], second.parent]
  stage.same([socket, master.pid], seen, 'its socket and parent')
end

Suite.test('a variable to be dropped is there until the first upgrade, in workers of a later launch too',
           quotes: 'einhorn-undocumented: --drop-env-var acts at a re-exec only') do |stage|
  variant = Variant.new(stage.subject, 'CF_DROP' => 'dropped')
  master, first = Environment.born(stage, '--drop-env-var CF_DROP', subject: variant)
  Process.kill(:KILL, first.pid)
  stage.same('dropped', Environment.successor(master, first).environment['CF_DROP'], 'the variable')
end

Suite.test('a variable to be dropped is gone from workers that are launched after a reload',
           quotes: 'einhorn-undocumented: --drop-env-var acts at a re-exec',
           differs: '| `--drop-env-var`, `reload` |') do |stage|
  variant = Variant.new(stage.subject, 'CF_DROP' => 'dropped', 'CF_KEEP' => 'kept')
  master, first = Environment.born(stage, '--drop-env-var CF_DROP', subject: variant)
  stage.same('Reloading, as commanded', master.connect.ask('command' => 'reload', 'id' => 1)['message'], 'the reply')
  Wait.until('it has replaced itself') { master.state[:generation] == 1 }
  Process.kill(:KILL, first.pid)
  stage.same([nil, 'kept'], Environment.successor(master, first).environment.values_at('CF_DROP', 'CF_KEEP'), 'the variables')
end

Suite.test('variables of other supervisors go on to the workers', quotes: 'einhorn 1.1.1 as it runs',
           differs: '| `EINHORN_*`, `EINHYRNINGSINS_SLOT*`, `LISTEN_*`, `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` in the environment of the master |') do |stage|
  variant = Variant.new(stage.subject, 'EINHORN_FD_3' => '33', 'LISTEN_FDS' => '4', 'NOTIFY_SOCKET' => '/nowhere')
  _, birth = Environment.born(stage, '', subject: variant)
  stage.same(%w[33 4 /nowhere], birth.environment.values_at('EINHORN_FD_3', 'LISTEN_FDS', 'NOTIFY_SOCKET'), 'the variables')
end

Suite.test('variables of other supervisors are kept from the workers', quotes: 'compat.md', only: :ours) do |stage|
  stage.differs('| `EINHORN_*`, `EINHYRNINGSINS_SLOT*`, `LISTEN_*`, `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` in the environment of the master |')
  variant = Variant.new(stage.subject, 'EINHORN_FD_3' => '33', 'LISTEN_FDS' => '4', 'NOTIFY_SOCKET' => '/nowhere')
  _, birth = Environment.born(stage, '', subject: variant)
  stage.same([nil, nil, nil], birth.environment.values_at('EINHORN_FD_3', 'LISTEN_FDS', 'NOTIFY_SOCKET'), 'the variables')
end
