# Signals to the master, and the commands `signal` and `die`: what the workers are told, and how it ends.

require_relative '../lib/crew'

module Signals
  # What the workers are told when the master gets the first one.
  GENTLE = { 'INT' => 'USR2', 'USR2' => 'USR2', 'TERM' => 'TERM' }.freeze

  # Every end, by a gentle signal, or by `die` and its arguments.
  def self.each_end(stage, count, options, **more)
    GENTLE.each do |signal, told|
      crew = Crew.serving(stage, count, options, **more)
      yield(crew, told, -> { crew.signal(signal) })
    end
    { [] => 'USR2', %w[TERM] => 'TERM', %w[sigint] => 'INT' }.each do |args, told|
      crew = Crew.serving(stage, count, options, **more)
      yield(crew, told, -> { crew.command('die', args) })
    end
  end
end

Suite.test('INT, USR2, TERM and die tell every worker once, wait for its end, and end with 0',
           quotes: 'life-other-stderr.txt: SIGINT, SIGTERM, SIGUSR2; life-stderr.txt: exit status 0; files left') do |stage|
  Signals.each_end(stage, 2, '') do |crew, told, finish|
    finish.call
    stage.same(0, crew.master.exit_status, 'exit code')
    stage.same([[told]] * 2, crew.signals, 'what the workers were told')
    stage.same([], crew.master.workers, 'workers that are left')
    stage.same(%w[einhorn.lock], crew.files, 'files that are left')
    stage.same(["Sending #{told} to #{crew.elders}"], crew.lines(/Sending/), 'what the log says of it')
    stage.same(crew.elders.map { |pid| "===> Exited worker #{pid}" }.sort, crew.lines(/Exited/).sort, 'what it says of the end')
    crew.master.close
  end
end

Suite.test('the exit code is 0 however the workers end', quotes: 'E17') do |stage|
  crew = Crew.serving(stage, 2, '', habits: [:fail])
  crew.signal(:INT)
  stage.same(0, crew.master.exit_status, 'exit code')
end

Suite.test('QUIT tells every worker QUIT, removes the files, and ends with 1',
           quotes: 'life-other-stderr.txt: SIGQUIT') do |stage|
  crew = Crew.serving(stage, 2, '')
  crew.signal(:QUIT)
  stage.same(1, crew.master.exit_status, 'exit code')
  Wait.until('the workers are gone') { crew.master.workers.empty? }
  stage.same([[%w[QUIT], %w[QUIT]], %w[einhorn.lock]], [crew.signals, crew.files], 'what they were told, and what is left')
end

Suite.test('QUIT ends the master before its workers', quotes: 'E28', differs: '| QUIT to the master |') do |stage|
  crew = Crew.serving(stage, 2, '-t 1', habits: [:linger])
  crew.signal(:QUIT)
  stage.same(1, crew.master.exit_status, 'exit code')
  stage.same(crew.elders.sort, crew.master.workers, 'workers that are left')
end

Suite.test('QUIT leaves no worker', quotes: 'E28', only: :ours) do |stage|
  stage.differs('| QUIT to the master |')
  crew = Crew.serving(stage, 2, '-t 5', habits: [:linger])
  crew.signal(:QUIT)
  stage.same([1, [], [%w[QUIT], %w[QUIT]]], [crew.master.exit_status, crew.master.workers, crew.signals],
             'exit code, who is left, what they were told')
end

Suite.test('a master that goes down waits for slow workers, sends again, and refuses an upgrade',
           quotes: 'life-other-stderr.txt: INT twice, then HUP') do |stage|
  crew = Crew.serving(stage, 1, '', habits: [:linger])
  worker, = crew.elders
  crew.signal(:INT)
  crew.master.wait_for_log("Sending USR2 to [#{worker}]")
  # Two that wait would be one.
  Wait.until('it was told') { crew.signals == [%w[USR2]] }
  crew.signal(:INT)
  crew.master.wait_for_log("Re-sending USR2 to already-signaled child #{worker}. It may be slow to spin down, " \
                           'or it may be swallowing USR2s.')
  crew.signal(:HUP)
  crew.master.wait_for_log("Not reloading einhorn because we're exiting")
  Wait.until('it was told twice') { crew.signals == [%w[USR2 USR2]] }
  crew.kill(worker)
  stage.same([0, %w[einhorn.lock]], [crew.master.exit_status, crew.files], 'exit code and what is left')
end

Suite.test('a master that goes down passes on another signal too, and launches no worker',
           quotes: 'einhorn 1.1.1 as it runs') do |stage|
  crew = Crew.serving(stage, 2, '-s 0.1', habits: [:linger])
  crew.signal(:USR2)
  Wait.until('they were told') { crew.signals == [%w[USR2]] * 2 }
  crew.signal(:TERM)
  Wait.until('they were told again') { crew.signals == [%w[USR2 TERM]] * 2 }
  first, second = crew.elders
  crew.kill(first)
  crew.master.wait_for_log("===> Exited worker #{first}")
  stage.same([second], crew.children.keys, 'who is left')
  crew.kill(second)
  stage.same([0, 2], [crew.master.exit_status, crew.lines(/Launched/).size], 'exit code and launches')
end

Suite.test('a worker that does not go is killed after -t, and the exit code is 0',
           quotes: 'life-stderr.txt: killed by the timeout') do |stage|
  # All at once, for each takes so long.
  ends = []
  Signals.each_end(stage, 1, '-t 5', habits: [:linger]) do |crew, told, finish|
    ends << [crew, told, Wait.now]
    finish.call
  end
  ends = ends.map { |crew, *rest| [crew, *rest, Thread.new { [crew.master.exit_status, Wait.now] }] }
  ends.each do |crew, told, began, over|
    status, ended = over.value
    stage.same(0, status, 'exit code')
    stage.holds('it was given its time') { ended - began >= 4.9 }
    stage.same([[told]], crew.signals, 'what it was told')
    stage.holds('the log tells of its kill') { crew.killed_after(crew.elders.first) >= 5 }
    crew.master.close
  end
end

Suite.test('a master that goes down holds no bound socket', quotes: 'einhorn 1.1.1 as it runs', only: :ours) do |stage|
  stage.differs('| bound sockets at a stop |')
  crew = Crew.serving(stage, 1, '-b 127.0.0.1:0', habits: [:linger])
  sockets = -> { Dir["/proc/#{crew.master.pid}/fd/*"].filter_map { |fd| File.readlink(fd) rescue nil }.grep(/\Asocket:/) }
  held = Dir["/proc/#{crew.elders.first}/fd/*"].filter_map { |fd| File.readlink(fd) rescue nil }.grep(/\Asocket:/)
  stage.holds('the worker has a socket of the master') { (held & sockets.call).any? }
  crew.signal(:INT)
  Wait.until('the master has closed it') { (held & sockets.call).empty? }
  crew.kill(crew.elders.first)
  stage.same(0, crew.master.exit_status, 'exit code')
end

Suite.test('INT in the middle of an upgrade tells old and new', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  crew = Crew.serving(stage, 1, '-s 0.1')
  crew.master.take_up(:silent)
  crew.signal(:HUP)
  newcomer = crew.another(crew.elders)
  crew.signal(:INT)
  stage.same(0, crew.master.exit_status, 'exit code')
  stage.same([[%w[USR2]], %w[USR2]], [crew.signals, crew.master.notes(newcomer) - ['ready']], 'what they were told')
end

Suite.test('HUP upgrades smoothly, and the old workers are told USR2', quotes: 'life-other-stderr.txt, then SIGHUP') do |stage|
  crew = Crew.serving(stage, 2, '-s 0.1')
  crew.signal(:HUP)
  crew.master.wait_for_log('Upgraded successfully to version 1 (Einhorn 1.1.1).')
  Wait.until('the old ones are gone') { (crew.children.keys & crew.elders).empty? }
  stage.same([[%w[USR2]] * 2, 2, 1], [crew.signals, crew.children.size, crew.master.state[:version]], 'what came of it')
  stage.holds('it was a smooth one') { crew.master.log.include?('Starting smooth upgrade from version 0...') }
end

Suite.test('PIPE, CHLD, WINCH and URG mean nothing to the master', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  crew = Crew.serving(stage, 2, '')
  %i[PIPE CHLD WINCH URG].each { |signal| crew.signal(signal) }
  stage.same([crew.elders, [[], []]], [crew.children.keys, crew.signals], 'the workers and what they were told')
end

Suite.test('USR1 ends the master, and its workers stay', quotes: 'other.txt: SIGUSR1; E03',
           differs: '| USR1, CONT to the master |') do |stage|
  crew = Crew.serving(stage, 2, '')
  crew.signal(:USR1)
  Wait.until('something comes of it') { crew.master.over? || crew.signals.flatten.any? }
  stage.holds('the master has ended') { crew.master.over? }
  stage.same(crew.elders.sort, crew.master.workers, 'workers that are left')
end

Suite.test('USR1 and CONT go on to the workers', quotes: 'E03', only: :ours) do |stage|
  stage.differs('| USR1, CONT to the master |')
  crew = Crew.serving(stage, 2, '')
  %w[USR1 CONT].each.with_index(1) do |signal, count|
    crew.signal(signal)
    Wait.until("#{signal} has come") { crew.signals.all? { |told| told.size == count && told.last == signal } }
  end
  stage.same([], crew.told, 'who counts as told to go')
end

Suite.test('TTIN and TTOU are one worker more and one less', quotes: 'einhorn 1.1.1 as it runs', only: :ours) do |stage|
  stage.differs('| TTIN, TTOU to the master |')
  crew = Crew.serving(stage, 2, '-s 0.1')
  crew.signal(:TTIN)
  crew.master.wait_for_log('Incrementing number of workers from 2 -> 3')
  Wait.until('there are three') { crew.children.size == 3 }
  crew.signal(:TTOU)
  crew.master.wait_for_log('Decrementing number of workers from 3 -> 2')
  Wait.until('there are two') { crew.children.size == 2 }
end

Suite.test('ALRM ends the master', quotes: 'other.txt: SIGALRM; E03', differs: '| ALRM to the master |') do |stage|
  crew = Crew.serving(stage, 1, '-s 0.1')
  crew.signal(:ALRM)
  Wait.until('something comes of it') { crew.master.over? || crew.master.log.include?('upgrade') }
  stage.holds('the master has ended') { crew.master.over? }
end

Suite.test('ALRM upgrades smoothly', quotes: '0.8.2-other.txt: SIGALRM', only: :ours) do |stage|
  stage.differs('| ALRM to the master |')
  crew = Crew.serving(stage, 1, '-s 0.1')
  crew.signal(:ALRM)
  crew.master.wait_for_log('Upgraded successfully to version 1 (Einhorn 1.1.1).')
  stage.holds('it was a smooth one') { crew.master.log.include?('Starting smooth upgrade from version 0...') }
end

Suite.test('signal tells every worker each of its signals, in any spelling, and holds nothing against them',
           quotes: 'life-stderr.txt: command signal WINCH; wire-signal.txt') do |stage|
  crew = Crew.serving(stage, 2, '')
  stage.same("\n", crew.command('signal', %w[usr1 SIGWINCH]), 'the reply')
  Wait.until('they are told') { crew.signals.all? { |told| told.sort == %w[USR1 WINCH] } }
  stage.same([[], crew.elders], [crew.told, crew.children.keys], 'who counts as told to go, and who is there')
  crew.tells(stage, %w[USR1 WINCH].map { |signal| "Sending #{signal} to #{crew.elders}" })
end

Suite.test('workers that end of the command signal are replaced', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  crew = Crew.serving(stage, 2, '-s 0.1')
  stage.same('', crew.command('signal', %w[TERM]), 'the reply')
  Wait.until('there are others') { (crew.master.workers - crew.elders).size == 2 && (crew.master.workers & crew.elders).empty? }
  stage.same([[%w[TERM]] * 2, [0, 1]], [crew.signals, crew.by_index.keys], 'what the first ones were told, and who is there')
end
