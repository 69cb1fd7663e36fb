# Real clients, none of them ours: each starts under the master, acks in its own way, is upgraded while it is asked without pause,
# and goes when it is told to.

require_relative '../lib/load'
require_relative '../lib/workshop'

module RealClients
  WORKERS = 2

  # A master whose workers all have acked. The program is one of clients/, and finds what it needs beside it.
  def self.serving(stage, program, options, bind: '127.0.0.1:0,r', beside: [], **habits)
    files = beside.map { |name| Workshop.client(name) }
    master = stage.start("-n #{WORKERS} -s 0.1 -b #{bind} #{options}", program: program, files: files, **habits)
    wait_for_acks(master)
    master
  end

  # The first workers, or those of an upgrade.
  def self.wait_for_acks(master)
    Wait.until("#{WORKERS} workers have acked") { master.state[:children].values.count { |child| child[:acked] } == WORKERS }
    master.wait_for_workers(WORKERS)
  end

  # Has the block ask for an upgrade, and waits for its end. Returns the workers before and afterwards.
  def self.replaced(stage, master)
    old = master.workers
    yield
    Wait.until('the old workers are gone') { (master.workers & old).empty? }
    new = wait_for_acks(master)
    # The end of the last old one may be seen here before the master has taken note of it.
    Wait.until('the children are the new workers') { master.state[:children].keys.sort == new.sort }
    stage.same([1], master.state[:children].values.map { |child| child[:version] }.uniq, 'their version')
    [old, new]
  end

  # The same by a client that hears when it is done.
  def self.upgrade(stage, master)
    replaced(stage, master) do
      client = master.connect
      client.write(Client.frame('command' => 'upgrade', 'id' => 1))
      stage.same('Upgrade done', client.receive_to_the_end.last['message'], 'the last news')
    end
  end

  # An upgrade under load loses nothing, and who answers before and afterwards are the workers.
  def self.upgrade_under_load(stage, master, load)
    load.wait_for_each(master.workers)
    old, new = upgrade(stage, master)
    load.wait_for_each(new)
    answers, lost = load.stop
    stage.same([], lost, "lost requests, beside #{answers}")
    stage.same((old + new).sort, answers.keys.sort, 'who answered')
  ensure
    load.stop
  end

  # Told to stop, the master ends well, and leaves no worker.
  def self.stop(stage, master)
    Process.kill('INT', master.pid)
    stage.same(0, master.exit_status, 'the exit status')
    stage.same([], master.workers, 'workers that are left')
  end

  # Each of the workers, also of those that are gone, has these notes.
  def self.noted(stage, master, expected)
    pids = Dir.children(File.join(master.directory, 'workers'))
    stage.same(2 * WORKERS, pids.size, 'workers that there have been')
    pids.each { |pid| stage.same(expected, master.notes(pid), "the notes of #{pid}") }
  end

  # From the upgrade to the end. The block makes a connection where that is not the port.
  def self.live(stage, master, dialect, &connect)
    port = master.state[:bound_ports].first
    connect ||= -> { TCPSocket.new('127.0.0.1', port) }
    upgrade_under_load(stage, master, Load.new(dialect, &connect))
    stop(stage, master)
  end

  # Where Ruby's worker finds the master, it is told; it is greeted before it acks, but on the descriptor of -g.
  def self.live_in_ruby(stage, options, *way, **habits)
    master = serving(stage, ['./ruby_lines.rb', *way], "-m manual #{options}", beside: ['ruby_lines.rb'], **habits)
    live(stage, master, Load::LINES)
    greeting = "Welcome, 100%\nRuby! You are speaking to Einhorn Master Process #{master.pid}.\nThis is Einhorn 1.1.1.\n"
    noted(stage, master, way == ['fd'] ? ['socket: true', 'USR2'] : [greeting.inspect, 'USR2'])
  end

  # What a shell prints, in the master's directory.
  def self.shell(master, line)
    output, status = Open3.capture2e('sh', '-c', line, chdir: master.directory)
    status.success? ? output : raise("#{line} failed with #{status}: #{output}")
  end
end

Suite.test('real clients: Ruby acks at EINHORN_SOCK_PATH, and loses nothing in an upgrade',
           quotes: 'einhorn, README: Manual ACK') do |stage|
  RealClients.live_in_ruby(stage, '', 'env')
end

Suite.test('real clients: Ruby acks at the descriptor of -g, and loses nothing in an upgrade',
           quotes: 'einhorn, README: Manual ACK; E15', only: :ours) do |stage|
  RealClients.live_in_ruby(stage, '-g', 'fd')
end

Suite.test('real clients: with -g Ruby is told the number of a descriptor that is closed', quotes: 'E15',
           differs: '| `EINHORN_SOCK_FD` with `-g` |') do |stage|
  master = stage.start('-m manual -g -b 127.0.0.1:0,r', program: ['./ruby_lines.rb', 'fd'],
                                                       files: [Workshop.client('ruby_lines.rb')])
  worker = master.wait_for_workers(1).first
  Wait.until('it has looked') { master.notes(worker).any? }
  stage.same('socket: false', master.notes(worker).first, 'what it found')
end

Suite.test('real clients: Ruby acks at the path of -d, and loses nothing in an upgrade',
           quotes: 'einhorn, README: Command socket') do |stage|
  RealClients.live_in_ruby(stage, '-d deploy.sock', 'direct', 'deploy.sock', socket: 'deploy.sock')
end

Suite.test("real clients: Python's own HTTP server is acked by the timer, and loses nothing in an upgrade",
           quotes: 'einhorn, README: Timer ACK') do |stage|
  Workshop.need('python3' => 'python3')
  master = RealClients.serving(stage, ['./http_server.py'], '', beside: ['http_server.py'])
  RealClients.live(stage, master, Load::HTTP)
end

Suite.test('real clients: baseplate finds its socket, acks, drains, and loses nothing in an upgrade',
           quotes: 'baseplate: server/einhorn.py') do |stage|
  program = [File.join(Workshop.python_programs, 'baseplate-serve'), 'baseplate.ini']
  master = RealClients.serving(stage, program, '-m manual', beside: ['baseplate.ini', 'baseplate_app.py'])
  RealClients.live(stage, master, Load::HTTP)
end

Suite.test('real clients: baseplate sees that its socket is a Unix one, and loses nothing in an upgrade',
           quotes: 'baseplate: server/einhorn.py, EINHORN_FD_FAMILY_n', only: :ours) do |stage|
  stage.differs('| `EINHORN_FD_FAMILY_n` | missing |')
  program = [File.join(Workshop.python_programs, 'baseplate-serve'), 'baseplate.ini']
  master = RealClients.serving(stage, program, '-m manual', bind: 'unix:web.sock', beside: ['baseplate.ini', 'baseplate_app.py'])
  RealClients.live(stage, master, Load::HTTP) { UNIXSocket.new(File.join(master.directory, 'web.sock')) }
end

Suite.test('real clients: goji finds its socket, acks, and loses nothing in an upgrade',
           quotes: 'goji: bind/einhorn.go, graceful/einhorn.go') do |stage|
  master = RealClients.serving(stage, [Workshop.goji_worker], '-m manual')
  RealClients.live(stage, master, Load::HTTP)
end

Suite.test('real clients: PHP has its sockets, acks, is replaced by an upgrade, and goes',
           quotes: 'einhorn, README: Manual ACK') do |stage|
  Workshop.need('php' => 'php-cli')
  master = RealClients.serving(stage, ['./php_worker.php'], '-m manual -b localhost:0', beside: ['php_worker.php'])
  RealClients.upgrade(stage, master)
  RealClients.stop(stage, master)
  RealClients.noted(stage, master, %w[socket socket USR2])
end

# How a shell speaks to the master: the command, and the package that it is from.
{ 'nc -U -N einhorn.sock' => 'netcat-openbsd', 'socat -t 60 - UNIX-CONNECT:einhorn.sock' => 'socat' }.each do |speak, package|
  tool = speak[/\w+/]
  Suite.test("real clients: #{tool} acks in one line, and one line each greets, upgrades and stops",
             quotes: 'einhorn, README: Manual ACK; wire-ehlo.txt, wire-upgrade.txt, wire-die.txt') do |stage|
    Workshop.need(tool => package)
    master = RealClients.serving(stage, ['./shell_worker.sh', tool], '-m manual', beside: ['shell_worker.sh'])
    greeting = "Welcome, ! You are speaking to Einhorn Master Process #{master.pid}.%0A  This is Einhorn 1.1.1."
    say = lambda do |request, reply|
      stage.same("---%0Amessage: #{reply}%0A\n", RealClients.shell(master, "echo '#{request}' | #{speak}"), request)
    end
    say.call('{"command":"ehlo"}', "|%0A  #{greeting}")
    RealClients.replaced(stage, master) { say.call('{"command":"upgrade"}', 'Upgrading smoothly, as commanded') }
    say.call('{"command":"die","args":[]}', "'Einhorn is going down! '")
    stage.same(0, master.exit_status, 'the exit status')
    RealClients.noted(stage, master, %w[begun USR2])
  end
end

# None of these can accept on a socket that it is given, so that what serves is another program in the same process.
{ 'nc' => ['netcat-openbsd', 'shell_worker.sh', 'nc'], 'socat' => ['socat', 'shell_worker.sh', 'socat'],
  'php' => ['php-cli', 'php_worker.php'] }.each do |tool, (package, worker, *words)|
  Suite.test("real clients: what #{tool} has acked for serves, and loses nothing in an upgrade",
             quotes: 'einhorn, README: Manual ACK') do |stage|
    Workshop.need(tool => package, 'python3' => 'python3')
    program = ["./#{worker}", *words, './http_server.py']
    master = RealClients.serving(stage, program, '-m manual', beside: [worker, 'http_server.py'])
    RealClients.live(stage, master, Load::HTTP)
  end
end

Suite.test('real clients: nc hears how the upgrade ends that it asked for',
           quotes: 'tests/proc: a half-closed subscriber is waited for', only: :ours) do |stage|
  Workshop.need('nc' => 'netcat-openbsd')
  master = RealClients.serving(stage, ['./shell_worker.sh', 'nc'], '-m manual', beside: ['shell_worker.sh'])
  told = RealClients.shell(master, %q(echo '{"command":"upgrade","id":1}' | nc -U -N einhorn.sock))
  stage.same("---%0Amessage: Upgrade done%0Arequest_id: 1%0A\n", told.lines.last, 'the last news')
end
