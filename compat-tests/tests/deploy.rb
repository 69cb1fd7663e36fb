# Deploys as they were set up for einhorn, and that must work unchanged: what is run is shell, as it stands in scripts, units
# and wikis.

require_relative '../lib/site'

module Deploy
  WIKI = "Sidekiq's wiki, Ent-Rolling-Restarts"

  OPTIONS = '-n 2 -m manual -s 0.1'

  # Ways into the directory that the link leads to: a shell's, which knows it by the link, and that of init systems and daemons,
  # which leave no word of it.
  WAYS = { 'a shell' => 'cd "$APP/current"', 'a unit' => 'cd -P "$APP/current" && unset PWD OLDPWD' }.freeze

  # Command lines as they are written, and what they come to: number, mode, name and command.
  LINES = {
    'einhorn -n 3 -m manual -- ./worker' => [3, { type: :manual }, nil, %w[./worker]],
    'einhorn -n3 -m10 ./worker -q critical -n 7' => [3, { type: :timer, timeout: 10.0 }, nil, %w[./worker -q critical -n 7]],
    'einhorn --number=2 --ack-mode manual -q -- ./worker -- x' => [2, { type: :manual }, nil, %w[./worker -- x]],
    'einhorn --number 2 --ack-mode=0.5 -b 127.0.0.1:0,r,n -c web ./worker' => [2, { type: :timer, timeout: 0.5 }, 'web', %w[./worker]],
    'einhorn -kqn2 -mmanual -s 5 -t 30 -- ./worker' => [2, { type: :manual }, nil, %w[./worker]],
    'einhorn ./worker' => [1, { type: :timer, timeout: 1 }, nil, %w[./worker]]
  }.freeze

  # A host with release 1, to which the link leads.
  def self.site(stage)
    site = stage.keep(Site.new(stage.subject))
    site.release(1)
    FileUtils.ln_s(site.path('releases', '1'), site.path('current'))
    site
  end

  # Has the shell start a master in the background, with its log where LOG says, and waits for so many workers.
  def self.start(site, command, way: WAYS['a shell'], count: 2, pidfile: 'shared/myapp.pid')
    site.sh(%(#{way} && exec #{command} 2>>"$LOG" </dev/null &))
    site.wait_for_workers(count)
    site.master(pidfile)
  end

  # The shell does this, says no word against it, and ends well. Returns the lines that it says.
  def self.does(stage, site, line)
    result = site.sh(line)
    stage.same(0, result.status, "the exit status of #{line}, which says\n#{result.output}")
    result.output.lines(chomp: true)
  end

  # Makes a release, has a script switch to it, and deletes the one before.
  def self.switch(stage, site, number)
    site.release(number)
    stage.same(["release #{number} is up"], does(stage, site, "deploy #{number}"), 'what the script says')
    FileUtils.rm_rf(site.path('releases', (number - 1).to_s))
    runs(stage, site, number)
  end

  # The workers are those of a release, by their code and by where they work.
  def self.runs(stage, site, number)
    workers = site.wait_for_workers(2, "release #{number}")
    places = workers.map { |pid| site.directory_of(pid) }.uniq
    stage.same([site.path('releases', number.to_s)], places, 'where the workers work')
    workers
  end

  # Every client that there is, by its name.
  def self.clients(stage)
    root = File.expand_path('../..', __dir__)
    ours = Subject.ours(ENV.fetch('EINHORN_OURS', File.join(root, 'target', 'debug', 'einhyrningsins')))
    theirs = ENV['EINHORN_THEIRS'].to_s
    [ours, *(Subject.theirs(theirs) unless theirs.empty?)].sort_by { |subject| subject.name == stage.subject.name ? 0 : 1 }
  end

  # All processes that pgrep finds by this pattern in their command line.
  def self.pgrep(pattern)
    IO.popen(['pgrep', '-f', pattern], &:readlines).map { |line| Integer(line) }
  end

  # A stand-in for Sidekiq in release 1.
  def self.swarm(stage, options)
    site = site(stage)
    [site, start(site, "einhorn #{options} -- bundle exec sidekiqswarm -q critical -q default", count: 1, pidfile: 'tmp/einhorn.pid')]
  end
end

Deploy::WAYS.each do |starter, way|
  Suite.test("releases that are switched by a link run by --reexec-as, old ones can be deleted (started by #{starter})",
             quotes: "#{Deploy::WIKI}, Capistrano; contribsys/einhorn#80") do |stage|
    site = Deploy.site(stage)
    master = Deploy.start(site, %(einhorn --reexec-as "$APP/bin/einhorn-myapp" -e "$PIDFILE" #{Deploy::OPTIONS} -- ./worker), way: way)
    Deploy.runs(stage, site, 1)
    [2, 3].each { |number| Deploy.switch(stage, site, number) }
    killed = site.workers.first
    Process.kill(:KILL, killed)
    Wait.until('it is replaced') { (site.workers - [killed]).size == 2 }
    Deploy.runs(stage, site, 3)
    stage.same(master, site.master('shared/myapp.pid'), 'the pid in the file')
  end
end

Suite.test('the wrapper that --reexec-as names says where the workers work, and with which environment',
           quotes: "#{Deploy::WIKI}, Capistrano; handover.txt") do |stage|
  site = Deploy.site(stage)
  site.release(2)
  wrapper = %(#!/bin/sh\nexport STAGE="after $STAGE"\ncd "$APP/releases/2" && exec einhorn "$@"\n)
  File.write(site.path('bin', 'elsewhere'), wrapper, perm: 0o755)
  File.write(site.path('releases', '2', 'worker'), %(#!/bin/sh\necho "stage $STAGE" >>"workers/$$"\nexec ./worker.rb\n), perm: 0o755)
  Deploy.start(site, %(env STAGE=start einhorn --reexec-as=elsewhere -e "$PIDFILE" #{Deploy::OPTIONS} -- ./worker))
  Deploy.does(stage, site, 'kill -HUP $(cat "$PIDFILE")')
  workers = site.wait_for_workers(2, 'stage after start')
  stage.same([site.path('releases', '2')], workers.map { |pid| site.directory_of(pid) }.uniq, 'where the workers work')
end

Suite.test('without --reexec-as a release that a link is switched to is never run', quotes: "#{Deploy::WIKI}, Capistrano",
           differs: '| a link in the path of the program, or of the directory') do |stage|
  site = Deploy.site(stage)
  Deploy.start(site, %(einhorn -e "$PIDFILE" #{Deploy::OPTIONS} -- ./worker))
  old = Deploy.runs(stage, site, 1)
  site.release(2)
  Deploy.does(stage, site, 'deploy 2')
  Wait.until('the old workers are gone') { (site.workers & old).empty? }
  stage.same([site.path('releases', '1')], site.wait_for_workers(2).map { |pid| site.directory_of(pid) }.uniq, 'where the workers work')
end

Suite.test('releases that are switched by a link need no --reexec-as, old ones can be deleted', quotes: 'einhorn-bugs: E31', only: :ours) do |stage|
  site = Deploy.site(stage)
  Deploy.start(site, %(einhorn -e "$PIDFILE" #{Deploy::OPTIONS} -- ./worker))
  [2, 3].each { |number| Deploy.switch(stage, site, number) }
end

{ 'where -e says' => ['-e "$PIDFILE"', 'shared/myapp.pid', '"$PIDFILE"'],
  'at the default place' => ['', 'tmp/einhorn.pid', '"$TMPDIR/einhorn.pid"'],
  'at the place that goes by -c' => ['-c web', 'tmp/einhorn-web.pid', '"$TMPDIR"/einhorn-web.pid'] }.each do |where, (option, file, word)|
  Suite.test("kill -HUP $(cat PIDFILE) upgrades, with the pid file #{where}", quotes: 'life-stderr.txt; life-other-stderr.txt') do |stage|
    site = Deploy.site(stage)
    master = Deploy.start(site, "einhorn #{option} #{Deploy::OPTIONS} -- ./worker", pidfile: file)
    old = site.workers
    stage.same(master.to_s, File.read(site.path(file)), 'the pid file')
    stage.same([], Deploy.does(stage, site, "kill -HUP $(cat #{word})"), 'what kill says')
    site.wait_for_log('Upgraded successfully to version 1 (Einhorn 1.1.1).')
    Wait.until('the old workers are gone') { site.workers.size == 2 && (site.workers & old).empty? }
    stage.same(master.to_s, File.read(site.path(file)), 'the pid file afterwards')
    Deploy.does(stage, site, "kill -INT $(cat #{word})")
    stage.same([0, false], [site.exit_status(master), File.exist?(site.path(file))], 'the exit status, and whether the file is left')
  end
end

Suite.test('einhornsh -e upgrade waits for the upgrade, whose client it may be', quotes: 'einhornsh.txt; README: Seamless upgrades') do |stage|
  site = Deploy.site(stage)
  Deploy.start(site, %(einhorn -e "$PIDFILE" -d "$APP/shared/myapp.sock" #{Deploy::OPTIONS} -- ./worker))
  Deploy.clients(stage).each.with_index(1) do |client, version|
    old = site.workers
    site.install('einhornsh', Site.client_of(client))
    lines = Deploy.does(stage, site, 'einhornsh -d "$APP/shared/myapp.sock" -e upgrade')
    stage.same('Upgrading smoothly, as commanded', lines.first, "the first line of the client of #{client.name}")
    stage.same(["Upgraded successfully to version #{version} (Einhorn 1.1.1).", 'Upgrade done'], lines.last(2), 'the last lines')
    Wait.until('the old workers are gone') { site.workers.size == 2 && (site.workers & old).empty? }
    { 'inc' => ['Incrementing number of workers from 2 -> 3', 3], 'dec' => ['Decrementing number of workers from 3 -> 2', 2] }
      .each do |command, (words, count)|
      stage.same([words], Deploy.does(stage, site, %(einhornsh -d "$APP/shared/myapp.sock" -e #{command})), "what #{command} says")
      site.wait_for_workers(count)
    end
  end
end

%w[INT TERM].each do |signal|
  Suite.test("an init script starts, finds, reloads and stops by #{signal}", quotes: 'life-other-stderr.txt; cli.txt') do |stage|
    site = Deploy.site(stage)
    service = ->(words) { site.sh("service #{words}").then { |result| [result.status, result.output.chomp] } }
    stage.same([3, 'myapp is stopped'], service.call('status'), 'the status before')
    # The second time around it finds what the first time has left.
    2.times do
      stage.same([0, 'myapp started'], service.call('start'), 'the start')
      master = site.master('shared/myapp.pid')
      old = site.wait_for_workers(2)
      stage.same(master, site.master('shared/background.pid'), 'the pid that the shell knows')
      stage.same([0, "myapp runs as #{master}"], service.call('status'), 'the status')
      stage.same([1, 'myapp is running already'], service.call('start'), 'a second start')
      stage.same([0, ''], service.call('reload'), 'the reload')
      Wait.until('the workers are new') { site.workers.size == 2 && (site.workers & old).empty? }
      site.wait_for_workers(2)
      stage.same([0, "myapp runs as #{master}"], service.call('status'), 'the status after the reload')
      stage.same([0, 'myapp stopped'], service.call("stop #{signal}"), 'the stop')
      stage.same([0, []], [site.exit_status(master), site.workers], 'the exit status, and workers that are left')
    end
    stage.same([0, 'myapp is not running'], service.call('stop'), 'a second stop')
    stage.same([7, 'myapp is not running'], service.call('reload'), 'a reload without a master')
  end
end

Suite.test('a start beside a running master fails, and that one goes on', quotes: 'cli.txt; life-other-stderr.txt') do |stage|
  site = Deploy.site(stage)
  line = "einhorn #{Deploy::OPTIONS} -- ./worker"
  master = Deploy.start(site, line, pidfile: 'tmp/einhorn.pid')
  workers = site.workers
  stage.holds('the second start fails') { site.sh(%(cd "$APP/current" && #{line})).status.positive? }
  Process.kill(:HUP, master)
  site.wait_for_log('Upgraded successfully to version 1')
  Wait.until('the old workers are gone') { site.workers.size == 2 && (site.workers & workers).empty? }
end

Suite.test('a start beside a running master takes its pid file away', quotes: 'einhorn-bugs: E14',
           differs: '| address in use, lock held, … |') do |stage|
  site = Deploy.site(stage)
  line = "einhorn #{Deploy::OPTIONS} -- ./worker"
  Deploy.start(site, line, pidfile: 'tmp/einhorn.pid')
  site.sh(%(cd "$APP/current" && #{line}))
  stage.same(false, File.exist?(site.path('tmp', 'einhorn.pid')), 'whether there is a pid file')
end

Suite.test("pgrep -f 'einhorn: ' finds the master and nothing else, by its command or its name",
           quotes: "einhorn-undocumented: the master's name in ps") do |stage|
  { '' => '^einhorn: \./worker WORD$', '-c WORD' => '^einhorn: ruby WORD$' }.each do |option, title|
    site = Deploy.site(stage)
    word = "w#{Process.clock_gettime(Process::CLOCK_REALTIME, :nanosecond)}"
    master = Deploy.start(site, %(einhorn -e "$PIDFILE" #{Deploy::OPTIONS} #{option.gsub('WORD', word)} -- ./worker #{word}))
    2.times do |version|
      stage.same([master], Deploy.pgrep("einhorn: .*#{word}"), "what is found at version #{version}")
      stage.same([master], Deploy.pgrep(title.gsub('WORD', word)), "what is found by its whole name at version #{version}")
      # The brackets keep the shell from finding itself.
      Deploy.does(stage, site, "pkill -HUP -f '[e]inhorn: .*#{word}'") if version.zero?
      site.wait_for_log('Upgraded successfully to version 1')
    end
  end
end

Suite.test("Sidekiq's unit: -m10, jobs that take their time, and USR2", quotes: Deploy::WIKI) do |stage|
  site, master = Deploy.swarm(stage, '-m10')
  state = site.state('tmp/einhorn.sock')
  stage.same([{ type: :timer, timeout: 10.0 }, 1], [state[:ack_mode], state[:config][:number]], 'the mode, and the number')
  swarm = site.workers.first
  stage.same(['-q critical -q default', 'ready'], site.notes(swarm), 'what the program is called with')
  File.write(site.path('shared', 'busy'), '')
  Process.kill(:USR2, master)
  Wait.until('it is told to go') { site.notes(swarm).include?('USR2') }
  stage.same([swarm], site.workers, 'what still works')
  File.delete(site.path('shared', 'busy'))
  stage.same(0, site.exit_status(master), 'the exit status')
  stage.same([], site.workers, 'what is left')
  stage.same('done', site.notes(swarm).last, 'the end')
end

Suite.test("Sidekiq's reload: bundle exec einhornsh --execute upgrade, beside jobs that take their time", quotes: Deploy::WIKI) do |stage|
  site, = Deploy.swarm(stage, '-m0.3')
  old = site.workers.first
  File.write(site.path('shared', 'busy'), '')
  site.wait_for_log('Up to 1 / 1 timer ACKs')
  stage.same('Upgrade done', Deploy.does(stage, site, 'bundle exec einhornsh --execute upgrade').last, 'the last line')
  Wait.until('the old one is told to go') { site.notes(old).include?('USR2') }
  site.wait_for_workers(2)
  File.delete(site.path('shared', 'busy'))
  Wait.until('the old one ends') { site.workers.size == 1 }
  stage.same('done', site.notes(old).last, 'the end')
end

Suite.test('command lines of units and scripts come to what they say', quotes: "#{Deploy::WIKI}; README: Usage, ACKs") do |stage|
  site = Deploy.site(stage)
  Deploy::LINES.each do |line, (number, mode, name, command)|
    base = name ? "tmp/einhorn-#{name}" : 'tmp/einhorn'
    master = Deploy.start(site, line, count: number, pidfile: "#{base}.pid")
    state = site.state("#{base}.sock")
    seen = [state[:config][:number], state[:ack_mode], *state.values_at(:cmd_name, :cmd)]
    stage.same([number, mode, name, command], seen, line)
    Process.kill(:INT, master)
    stage.same(0, site.exit_status(master), "the exit status of #{line}")
  end
end

Suite.test('a log that the shell appends to grows by the lines that scripts look for, and may be emptied',
           quotes: 'life-stderr.txt') do |stage|
  site = Deploy.site(stage)
  words = ['Writing PID to', 'Launching 2 new workers', '===> Launched', 'About to exec ["./worker"]', 'Received a manual ACK from',
           'Up to 2 / 2 manual ACKs', 'Reloading einhorn master', 'Starting smooth upgrade from version 0...',
           'Upgraded successfully to version 1 (Einhorn 1.1.1).', 'Sending USR2 to [', '===> Exited worker']
  2.times do |life|
    master = Deploy.start(site, %(einhorn -e "$PIDFILE" #{Deploy::OPTIONS} -- ./worker))
    site.wait_for_log("[MASTER #{master}] INFO: Up to 2 / 2 manual ACKs")
    site.release(life + 2)
    Deploy.does(stage, site, "deploy #{life + 2}")
    Wait.until('the old workers are gone') { site.log.scan('===> Exited worker').size == 4 * life + 2 }
    Process.kill(:INT, master)
    site.exit_status(master)
  end
  counts = words.map { |text| [text, site.log.lines.count { |line| line.include?(text) }] }
  stage.same([], counts.select { |_, count| count < 2 }, 'what is missing from two lives')
  stage.same([], site.log.lines.grep_v(/\A\[(MASTER|WORKER) \d+\] (INFO|WARN|ERROR): \S.*\n\z/), 'lines that look otherwise')
  master = Deploy.start(site, %(einhorn -e "$PIDFILE" #{Deploy::OPTIONS} -- ./worker))
  site.wait_for_log("[MASTER #{master}] INFO: Up to 2 / 2 manual ACKs")
  Deploy.does(stage, site, ': >"$LOG"')
  Process.kill(:INT, master)
  site.exit_status(master)
  stage.same('[MASTER', site.log[0, 7], 'how the emptied log begins')
end
