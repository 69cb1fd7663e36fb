# A running einhorn of Ruby's becomes ours, and ours becomes Ruby's again: same pid, same sockets, same workers, and a
# client that is connected hears how it went. Ruby's side is the stand-in, and an installed original where there is one.

module TakeOver
  STAND_IN = File.expand_path('../stand_in.rb', __dir__)

  # Who can be on the other side.
  def self.others
    given = ENV['EINHORN_THEIRS'].to_s
    stand_in = Subject.new(:stand_in, ['ruby', STAND_IN])
    given.empty? ? [stand_in] : [stand_in, Subject.theirs(given)]
  end

  # A master of the other side, which becomes what stands as ./einhorn, as `--reexec-as` tells it.
  def self.each_started(stage)
    others.each do |other|
      master = stage.start('-n 2 -m manual -s 0.1 -b 127.0.0.1:0,r --reexec-as=./einhorn', subject: other)
      master.wait_for_log('Up to 2 / 2 manual ACKs')
      yield(master, other)
      master.close
    end
  end

  # From now on, ./einhorn is this.
  def self.install(master, subject)
    path = File.join(master.directory, 'einhorn')
    File.write("#{path}.new", "#!/bin/sh\nexec #{Shellwords.join(subject.command)} \"$@\"\n", perm: 0o755)
    File.rename("#{path}.new", path)
  end

  # The sockets on which a process listens or is connected, by what the kernel calls them.
  def self.sockets(pid)
    links = Dir.children("/proc/#{pid}/fd").map { |fd| File.readlink("/proc/#{pid}/fd/#{fd}") rescue nil }
    links.compact.grep(/\Asocket:/)
  end

  def self.program(pid)
    File.basename(File.readlink("/proc/#{pid}/exe"))
  end

  # Has it upgraded by a client that waits, and says what that heard.
  def self.upgrade(master, id)
    client = master.connect
    client.write(Client.frame('command' => 'upgrade', 'id' => id))
    client.receive_to_the_end
  end

  def self.told(stage, messages, id)
    stage.same('Upgrading smoothly, as commanded', messages.first['message'], 'the first line')
    stage.same('Upgrade done', messages.last['message'], 'the last line')
    stage.same([id], messages.map { |message| message['request_id'] }.uniq, 'whose they are')
  end
end

Suite.test('a running einhorn of Ruby becomes ours, ours becomes ours, and goes back, and back again',
           quotes: 'handover.txt', only: :ours) do |stage|
  TakeOver.each_started(stage) do |master, other|
    ours, elders = stage.subject, master.workers
    listening = TakeOver.sockets(master.pid) & TakeOver.sockets(elders.first)
    stage.same(1, listening.size, 'sockets that master and worker share')
    [[ours, 'einhyrningsins'], [ours, 'einhyrningsins'], [other, 'ruby'], [ours, 'einhyrningsins']].each.with_index(1) do |(subject, name), version|
      TakeOver.install(master, subject)
      before = master.workers
      TakeOver.told(stage, TakeOver.upgrade(master, version), version)
      stage.holds("it is #{name}") { TakeOver.program(master.pid).start_with?(name) }
      Wait.until('the old workers are gone') { (master.workers & before).empty? }
      stage.same(listening, listening & TakeOver.sockets(master.pid), 'the listening socket')
      # The end of the last old one may be seen here before the master has taken note of it.
      Wait.until('the children are the workers') { master.state[:children].keys.sort == master.workers.sort && master.workers.size == 2 }
      state = master.state
      stage.same(version, state[:version], 'the version')
      stage.same(version, state[:generation], 'the generation')
      title = File.read("/proc/#{master.pid}/cmdline").tr("\0", ' ')
      stage.holds("its title is einhorn's, not #{title.inspect}") { title.start_with?('einhorn: ./worker') }
    end
    Process.kill('INT', master.pid)
    stage.same(0, master.exit_status, 'the exit status')
    stage.same([], master.workers, 'workers that are left')
    stage.same([], Dir.children(master.directory).grep(/sock|pid/), 'files that are left')
  end
end

Suite.test('half-written requests of clients, and the state of workers, go over from Ruby', quotes: 'handover.txt', only: :ours) do |stage|
  TakeOver.each_started(stage) do |master, other|
    workers = master.workers
    master.take_up(:silent)
    half, before = master.connect, master.state
    half.write('{"command":"eh')
    # Ruby's reads it before it replaces itself, which the suite cannot see; so it is asked something else on the way.
    master.connect.ask('command' => 'ehlo')
    TakeOver.install(master, stage.subject)
    stage.same('Reloading, as commanded', master.connect.ask('command' => 'reload', 'id' => 1)['message'], 'the reply')
    Wait.until('it is ours') { TakeOver.program(master.pid) == 'einhyrningsins' }
    half.write("lo\",\"id\":5}\n")
    stage.same(5, half.receive['request_id'], 'the answer to what was half said')
    after = master.state
    stage.same(workers, master.workers, 'the workers')
    known = ->(state) { state[:children].transform_values { |child| child.slice(:version, :acked, :signaled, :index) } }
    stage.same(known.call(before), known.call(after), 'what is known of them')
    stage.same(before[:bound_ports], after[:bound_ports], 'the port')
    # One that dies is replaced, by the program that there is.
    master.give_up(:silent)
    Process.kill('KILL', workers.first)
    Wait.until('it is replaced') { master.workers.size == 2 && !master.workers.include?(workers.first) }
    TakeOver.install(master, other)
    stage.same('Reloading, as commanded', master.connect.ask('command' => 'reload', 'id' => 2)['message'], 'the reply')
    Wait.until('it is Ruby') { TakeOver.program(master.pid).start_with?('ruby') }
    Wait.until('the children are the workers') { master.state[:children].keys.sort == master.workers.sort }
  end
end

Suite.test('a HUP to an einhorn whose file has been replaced makes it ours', quotes: 'einhorn: what it runs is its own file', only: :ours) do |stage|
  TakeOver.others.each do |other|
    file = other.command.find { |word| File.basename(word).match?(/\A(einhorn|stand_in.rb)\z/) }
    master = stage.start('-n 1 -m manual -s 0.1 -b 127.0.0.1:0,r', subject: other, file: file)
    master.wait_for_log('Up to 1 / 1 manual ACKs')
    old = master.workers
    program = File.join(master.directory, 'bin', 'einhorn')
    File.unlink(program)
    FileUtils.ln_s(stage.subject.command.first, program)
    Process.kill('HUP', master.pid)
    master.wait_for_log('Upgraded successfully to version 1 (Einhorn 1.1.1).')
    stage.same('einhyrningsins', TakeOver.program(master.pid), 'the program')
    Wait.until('the old worker is gone') { (master.workers & old).empty? }
    master.close
  end
end

# Ruby's knows nothing of the pipes that the workers write to; what it is given must not be the end of them.
Suite.test('what workers write is read on when ours becomes Ruby, and becomes ours again', quotes: 'handover.txt', only: :ours) do |stage|
  stage.differs('live swap from an einhorn, to one')
  TakeOver.others.each do |other|
    master = stage.start('--config capture.toml -m manual -s 0.1 -b 127.0.0.1:0,r --reexec-as=./einhorn',
                         habits: [:talk], files: [File.expand_path('../capture.toml', __dir__)])
    master.wait_for_log('Up to 2 / 2 manual ACKs')
    workers = master.workers
    numbers = ->(pid) { master.log.scan(/pid #{pid}, version 0\] line (\d+)$/).flatten.map(&:to_i) }
    [[other, 'ruby'], [stage.subject, 'einhyrningsins']].each do |subject, name|
      TakeOver.install(master, subject)
      stage.same('Reloading, as commanded', master.connect.ask('command' => 'reload', 'id' => 1)['message'], 'the reply')
      Wait.until("it is #{name}") { TakeOver.program(master.pid).start_with?(name) }
      before = workers.map { |pid| numbers.(pid).size }
      Wait.until('lines of each worker are read') { workers.zip(before).all? { |pid, count| numbers.(pid).size > count + 20 } }
      stage.same(workers, master.workers, 'the workers')
    end
    workers.each { |pid| stage.holds("no line of #{pid} is lost or comes twice") { numbers.(pid) == (0...numbers.(pid).size).to_a } }
    # Ruby has forgotten the file: those that are launched from now on write where the master does.
    Process.kill('HUP', master.pid)
    Wait.until('those of a new version write') { File.read(File.join(master.directory, 'stdout')).include?("line 20\n") }
    Process.kill('INT', master.pid)
    stage.same(0, master.exit_status, 'the exit status')
  end
end
