# The three files of a master: where they are, what stands in them, what is left of them at the end, and who may not have them
# twice.

require_relative '../lib/attempt'

module Files
  # What the suite itself puts beside a master.
  OWN = %w[workers worker einhorn stdout log].freeze

  # By which names the files are found with such options. `-d` alone stands in tests of its own.
  NAMES = {
    '' => %w[einhorn.lock einhorn.pid einhorn.sock],
    '-c nm' => %w[einhorn-nm.lock einhorn-nm.pid einhorn-nm.sock],
    '-e ./my.pid' => %w[einhorn.lock einhorn.sock my.pid],
    '-f ./my.lock' => %w[einhorn.pid einhorn.sock my.lock],
    '-c nm -e my.pid' => %w[einhorn-nm.lock einhorn-nm.sock my.pid],
    '-c nm -d ./my.sock -f ./my.lock' => %w[einhorn-nm.pid my.lock my.sock],
    '-d ./my.sock -e ./my.pid -f ./my.lock' => %w[my.lock my.pid my.sock]
  }.freeze

  def self.start(stage, options)
    socket = options[/-d (\S+)/, 1] || (options.include?('-c nm') ? 'einhorn-nm.sock' : 'einhorn.sock')
    ready(stage.start("-m 0 #{options}", socket: socket))
  end

  # Its worker would miss a signal before that.
  def self.ready(master)
    master.wait_until_ready(*master.wait_for_workers(1))
    master
  end

  def self.made(master)
    Dir.children(master.directory).sort - OWN
  end

  # A master whose files are in a directory that outlives it.
  def self.start_in(stage, place)
    paths = "-d #{place}/einhorn.sock -e #{place}/einhorn.pid -f #{place}/einhorn.lock"
    ready(stage.start("-m 0 #{paths}", socket: File.join('..', File.basename(place), 'einhorn.sock')))
  end

  # A directory beside those of the masters, which is there until the last of them has gone.
  def self.place
    directory = File.realpath(Dir.mktmpdir('compat-'))
    at_exit { FileUtils.remove_entry(directory) }
    directory
  end

  def self.finish(master)
    Process.kill(:INT, master.pid)
    master.exit_status
  end

  def self.content(directory, name)
    File.read(File.join(directory, name))
  end

  def self.mode(master, name)
    File.stat(File.join(master.directory, name)).mode & 0o777
  end

  def self.fails(stage, attempt, what)
    stage.holds("#{what} fails, not with #{attempt.status.inspect}") { attempt.failed? }
  end

  # What a start comes to while another process has the lock.
  def self.locked_out(stage)
    directory = place
    File.open(File.join(directory, 'einhorn.lock'), 'w', 0o600) do |lock|
      lock.flock(File::LOCK_EX | File::LOCK_NB)
      Attempt.make(stage.subject, %w[sleep 1], directory: directory)
    end
  end

  def self.lock_is_free?(master)
    File.open(File.join(master.directory, 'einhorn.lock')) { |lock| lock.flock(File::LOCK_EX | File::LOCK_NB) == 0 }
  end

  # What a start comes to where the pid file's path is a link to another user's file.
  def self.with_a_link(stage, program)
    directory = place
    File.write(File.join(directory, 'victim'), 'precious')
    File.symlink('victim', File.join(directory, 'einhorn.pid'))
    [Attempt.make(stage.subject, [program, '1'], directory: directory), content(directory, 'victim')]
  end
end

Suite.test('the files have the names of einhorn, with -c, or as they are given',
           quotes: 'worker-environment.txt; cli.txt; README of einhorn') do |stage|
  Files::NAMES.each do |options, names|
    master = Files.start(stage, options)
    stage.same(names, Files.made(master), "the files with #{options.inspect}")
    stage.same([0, names.grep(/lock/)], [Files.finish(master), Files.made(master)], "exit code and what is left of #{names}")
    master.close
  end
end

Suite.test('with -d alone the lock is where it always is', quotes: 'einhorn 1.1.1 as it runs', differs: '| lock |') do |stage|
  stage.same(%w[einhorn.lock einhorn.pid my.sock], Files.made(Files.start(stage, '-d ./my.sock')), 'the files')
end

Suite.test('with -d alone the lock is beside the socket', quotes: 'compat.md', only: :ours) do |stage|
  stage.differs('| lock |')
  stage.same(%w[einhorn.pid my.sock my.sock.lock], Files.made(Files.start(stage, '-d ./my.sock')), 'the files')
end

Suite.test('the pid file holds the bare pid, readable for all users, and an upgrade leaves it',
           quotes: 'einhorn 1.1.1 as it runs') do |stage|
  master = Files.start(stage, '')
  before = Files.content(master.directory, 'einhorn.pid')
  stage.same(master.pid.to_s, before, 'the pid file')
  stage.same(0o444 & ~File.umask, Files.mode(master, 'einhorn.pid') & 0o444, 'who may read it')
  elder, client = master.workers, master.connect
  client.write(Client.frame('command' => 'upgrade', 'id' => 1))
  stage.same('Upgrade done', client.receive_to_the_end.last['message'], 'the last line')
  Wait.until('the elder is gone') { (master.workers & elder).empty? }
  Files.ready(master)
  stage.same(before, Files.content(master.directory, 'einhorn.pid'), 'the pid file')
  stage.same([0, %w[einhorn.lock]], [Files.finish(master), Files.made(master)], 'exit code and what is left after an upgrade')
end

Suite.test('the lock file is for its user alone', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  stage.same(0o600, Files.mode(Files.start(stage, ''), 'einhorn.lock'), 'its mode')
end

Suite.test('the control socket has the mode that the umask leaves',
           quotes: 'E29', differs: '| mode of the control socket |') do |stage|
  stage.same(0o777 & ~File.umask, Files.mode(Files.start(stage, ''), 'einhorn.sock'), 'its mode')
end

Suite.test('the control socket is for its user alone', quotes: 'E29', only: :ours) do |stage|
  stage.differs('| mode of the control socket |')
  stage.same(0o600, Files.mode(Files.start(stage, ''), 'einhorn.sock'), 'its mode')
end

Suite.test('files that were removed meanwhile do not hinder the end', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  master = Files.start(stage, '')
  %w[einhorn.pid einhorn.sock einhorn.lock].each { |name| File.delete(File.join(master.directory, name)) }
  stage.same(0, Files.finish(master), 'exit code')
end

Suite.test('after a kill the socket and the pid file are left, and the next start takes them over',
           quotes: 'einhorn: a previous Einhorn master which exited uncleanly') do |stage|
  place = Files.place
  first = Files.start_in(stage, place)
  Process.kill(:KILL, first.pid)
  first.exit_status
  stage.same(%w[einhorn.lock einhorn.pid einhorn.sock], Dir.children(place).sort, 'what is left')
  second = Files.start_in(stage, place)
  stage.same(second.pid.to_s, Files.content(place, 'einhorn.pid'), 'the pid file')
  stage.same(0, second.state[:version], 'what the new one says')
  stage.same([0, %w[einhorn.lock]], [Files.finish(second), Dir.children(place)], 'exit code and what is left')
end

Suite.test('a socket without a listener is blown away with a word', quotes: 'einhorn 1.1.1 as it runs',
           differs: '| `Blowing away old Einhorn command socket …` |') do |stage|
  place = Files.place
  UNIXServer.new(File.join(place, 'einhorn.sock')).close
  line = "INFO: Blowing away old Einhorn command socket at #{place}/einhorn.sock. This likely indicates a previous Einhorn " \
         'master which exited uncleanly.'
  stage.holds("the log has #{line}") { Files.start_in(stage, place).log.include?(line) }
end

Suite.test('a plain file in the place of the socket fails the start, and stays',
           quotes: "cli.txt: a plain file at the socket's path") do |stage|
  place = Files.place
  File.write(File.join(place, 'einhorn.sock'), 'precious')
  attempt = Attempt.make(stage.subject, %w[sleep 1], directory: place)
  Files.fails(stage, attempt, 'it')
  stage.holds("its path is told in\n#{attempt.err}") { attempt.err.include?("#{place}/einhorn.sock") }
  stage.same([%w[einhorn.lock einhorn.sock], 'precious'], [attempt.files, Files.content(place, 'einhorn.sock')], 'what is left')
end

Suite.test('a second start at the same place fails, and the first one goes on',
           quotes: 'life-other-stderr.txt, last scene') do |stage|
  master = Files.start(stage, '-b 127.0.0.1:0')
  attempt = Attempt.make(stage.subject, %w[sleep 1], directory: master.directory)
  Files.fails(stage, attempt, 'the second start')
  stage.holds("it says that another one is there\n#{attempt.err}") { attempt.err.match?(/another/) }
  stage.same([master.workers, false], [master.state[:children].keys, master.over?], 'who is there')
end

Suite.test('a second start is exit code 1, and removes the pid file of the first',
           quotes: 'life-other-stderr.txt, last scene; E14',
           differs: '| address in use, lock held, … |') do |stage|
  master = Files.start(stage, '')
  attempt = Attempt.make(stage.subject, %w[sleep 1], directory: master.directory)
  stage.same([1, %w[einhorn.lock einhorn.sock]], [attempt.status, Files.made(master)], 'exit code and what is left')
end

Suite.test('a second start is exit code 111, and removes nothing', quotes: 'E14', only: :ours) do |stage|
  stage.differs('| address in use, lock held, … |')
  master = Files.start(stage, '')
  attempt = Attempt.make(stage.subject, %w[sleep 1], directory: master.directory)
  stage.same([111, Files::NAMES['']], [attempt.status, Files.made(master)], 'exit code and what is left')
  stage.same(master.pid.to_s, Files.content(master.directory, 'einhorn.pid'), 'the pid file')
end

Suite.test('a lock that is held fails the start, which leaves nothing', quotes: 'cli.txt: the lock is held') do |stage|
  attempt = Files.locked_out(stage)
  Files.fails(stage, attempt, 'it')
  stage.holds("the lock is told of in\n#{attempt.err}") { attempt.err.match?(/lock/) }
  stage.same(%w[einhorn.lock], attempt.files, 'what is left')
end

Suite.test('a lock that is held is exit code 1',
           quotes: 'cli.txt: the lock is held', differs: '| address in use, lock held, … |') do |stage|
  stage.same(1, Files.locked_out(stage).status, 'exit code')
end

Suite.test('a master that runs does not hold its lock any more',
           quotes: 'einhorn 1.1.1 as it runs', differs: '| lock |') do |stage|
  stage.holds('another one may have it') { Files.lock_is_free?(Files.start(stage, '')) }
end

Suite.test('a master that runs holds its lock', quotes: 'compat.md', only: :ours) do |stage|
  stage.differs('| lock |')
  stage.holds('no other may have it') { !Files.lock_is_free?(Files.start(stage, '')) }
end

Suite.test('a master with a socket of its own takes the pid file from another', quotes: 'E14',
           differs: '| pid file of another living master |') do |stage|
  place = Files.place
  first = Files.start_in(stage, place)
  second = Files.start(stage, "-e #{place}/einhorn.pid")
  stage.same(second.pid.to_s, Files.content(place, 'einhorn.pid'), "the pid file, which was of #{first.pid}")
end

Suite.test('a master with a socket of its own leaves another one its pid file, and says so',
           quotes: 'E14', only: :ours) do |stage|
  stage.differs('| pid file of another living master |')
  place = Files.place
  first = Files.start_in(stage, place)
  second = Files.start(stage, "-e #{place}/einhorn.pid")
  second.wait_for_log('going on without a pid file')
  stage.same(0, Files.finish(second), 'exit code of the second')
  stage.same(first.pid.to_s, Files.content(place, 'einhorn.pid'), 'the pid file')
end

Suite.test('a directory that is not there fails the start', quotes: 'cli.txt: /no/such/dir/x') do |stage|
  %w[-d -e -f].each do |option|
    attempt = Attempt.make(stage.subject, [option, '/no/such/dir/x', 'sleep', '1'])
    Files.fails(stage, attempt, option)
    stage.holds("it is named in\n#{attempt.err}") { attempt.err.include?('/no/such/dir') }
    stage.holds("the cause is told in\n#{attempt.err}") { attempt.err.match?(/no such file or directory/i) }
    stage.same([], attempt.files - %w[einhorn.lock], "what is left with #{option}")
  end
end

Suite.test('a path that is too long for a socket fails the start', quotes: 'cli.txt: too long unix socket path') do |stage|
  attempt = Attempt.make(stage.subject, ['-d', "/tmp/#{'y' * 120}", 'sleep', '1'])
  Files.fails(stage, attempt, 'it')
  stage.same([], attempt.files - %w[einhorn.lock], 'what is left')
end

Suite.test('a pid file is written through a link', quotes: 'E29', differs: "| a planted link, another user's file |") do |stage|
  # It ends before anything else can go wrong.
  _, victim = Files.with_a_link(stage, 'no-such-program')
  stage.holds("the pid is there, not #{victim.inspect}") { victim.match?(/\A\d+\z/) }
end

Suite.test('a link in the place of the pid file is refused', quotes: 'E29', only: :ours) do |stage|
  stage.differs("| a planted link, another user's file |")
  attempt, victim = Files.with_a_link(stage, 'sleep')
  stage.differs('| what no later start can do either, … |')
  stage.same([100, 'precious'], [attempt.status, victim], 'exit code and the file behind the link')
end

Suite.test('a control socket that was deleted does not come back',
           quotes: 'E25', differs: "| the socket's file is deleted |") do |stage|
  master = Files.start(stage, '-s 0.1')
  client = master.connect
  File.delete(File.join(master.directory, 'einhorn.sock'))
  client.write(Client.frame('command' => 'upgrade', 'id' => 1))
  stage.same('Upgrade done', client.receive_to_the_end.last['message'], 'the last line')
  stage.same(false, File.exist?(File.join(master.directory, 'einhorn.sock')), 'whether it is there after an upgrade')
end

Suite.test('a control socket that was deleted is made anew', quotes: 'E25', only: :ours) do |stage|
  stage.differs("| the socket's file is deleted |")
  master = Files.start(stage, '')
  File.delete(File.join(master.directory, 'einhorn.sock'))
  # It is there a moment before it can be connected to.
  Wait.until('it is there, and answers') do
    master.state[:children].size == 1
  rescue Errno::ENOENT, Errno::ECONNREFUSED
    false
  end
end
