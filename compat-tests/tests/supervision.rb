# How many workers there are, when one is launched, when one counts as up, and whom a new one replaces.

require_relative '../lib/birth'
require_relative '../lib/crew'

module Supervision
  # What the log says of a launch that has to wait for acks.
  def self.held_up(unacked, max)
    "There are #{unacked} unacked new workers, and max_unacked is #{max}, so not spinning up a new process."
  end

  # As the masters count them.
  def self.processors
    File.read('/proc/cpuinfo').scan(/^processor\s*:/).size
  end

  # Whether this comes within the time: for what one of the masters does and the other does not.
  def self.soon?(seconds)
    Wait.until('it comes', ceiling_s: seconds) { yield }
    true
  rescue Wait::Timeout
    false
  end

  # An upgrade whose old workers linger, when no further one may be launched.
  def self.up_to_capacity(stage)
    crew = Crew.serving(stage, 3, '-s 0.1 --max-upgrade-additional=1')
    crew.master.take_up(:linger)
    crew.signal(:HUP)
    crew.master.wait_for_log('Waiting for old workers to exit before spinning up a process.')
    Wait.until('an old one is told') { crew.told.any? }
    crew
  end

  # A master whose worker counts as up at once, and dies.
  def self.short_lived(stage)
    program = ['/bin/sh', '-c', ': >workers/$$; echo $$ >>births; sleep 0.05']
    Crew.new(stage.start('-m 0 -s 0.1', program: program))
  end
end

Suite.test('the first workers are launched all at once, with the lowest indexes', quotes: 'life-stderr.txt: start') do |stage|
  crew = Crew.serving(stage, 3, '-s 30')
  stage.same([0, 1, 2], crew.by_index.keys, 'the indexes')
  crew.tells(stage, ['Launching 3 new workers', *crew.by_index.map { |index, pid| "===> Launched #{pid} (index: #{index})" }])
end

Suite.test('with manual acks a worker is up when it says so, and not before',
           quotes: 'life-stderr.txt: the workers ack') do |stage|
  crew = Crew.silent(stage, 2, '')
  first, second = crew.elders
  stage.same([false, false], crew.children.values.map { |child| child[:acked] }, 'acked at first')
  crew.ack(second)
  stage.same({ first => false, second => true }, crew.children.transform_values { |child| child[:acked] }, 'acked then')
  crew.ack(first)
  crew.tells(stage, ["Received a manual ACK from #{second}", 'Up to 1 / 2 manual ACKs', "Received a manual ACK from #{first}",
                     'Up to 2 / 2 manual ACKs'])
end

Suite.test('with a timer a worker is up when it has lived so long, by default a second',
           quotes: 'life-other-stderr.txt: -m 0, -m 0.2; einhorn-undocumented: 1s and 1.0s') do |stage|
  masters = { '-m 0' => '0.0', '-m 0.2' => '0.2', '-m 1' => '1.0', '' => '1' }.map do |options, seconds|
    [stage.start(options, habits: [:silent]), seconds]
  end
  masters.each do |master, seconds|
    master.wait_for_log('Up to 1 / 1 timer ACKs')
    worker = master.worker_at(0)
    line = "Worker #{worker} has been up for #{seconds}s, so we are considering it alive."
    stage.holds("the log has #{line.inspect}") { master.log.include?(line) }
    stage.same(true, master.state[:children][worker][:acked], 'acked')
  end
end

Suite.test('a timer is no ack before its time', quotes: 'cli.txt: Timer ACK') do |stage|
  master = stage.start('-n 2 -m 1000', habits: [:silent])
  stage.same([false, false], master.state[:children].values.map { |child| child[:acked] }, 'acked')
end

Suite.test('a killed worker is replaced under its index', quotes: 'life-stderr.txt: a worker is killed with KILL') do |stage|
  crew = Crew.serving(stage, 3, '-s 0.1')
  crew.kill(crew.elders[1])
  newcomer = crew.another(crew.elders)
  stage.same({ 0 => crew.elders[0], 1 => newcomer, 2 => crew.elders[2] }, crew.by_index, 'who is there')
end

Suite.test('each new worker gets the lowest index that is free', quotes: 'einhorn-undocumented: the lowest free one') do |stage|
  crew = Crew.serving(stage, 4, '-s 0.1')
  crew.command('set_workers', ['2'])
  Wait.until('two are gone') { crew.children.size == 2 }
  free = [0, 1, 2, 3] - crew.by_index.keys
  crew.command('set_workers', ['4'])
  Wait.until('there are four') { crew.children.size == 4 }
  newcomers = crew.children.reject { |pid, _| crew.elders.include?(pid) }.values.sort_by { |child| child[:spinup_time] }
  stage.same(free, newcomers.map { |child| child[:index] }, 'their indexes, in the order of their launches')
end

Suite.test('replacements are launched one by one, -s apart', quotes: 'cli.txt: -s, --seconds N') do |stage|
  crew = Crew.serving(stage, 3, '-s 0.4')
  crew.kill(*crew.elders)
  Wait.until('there are three others') { (crew.master.workers - crew.elders).size == 3 }
  times = crew.children.values.map { |child| child[:spinup_time] }.sort
  gaps = times.each_cons(2).map { |earlier, later| later - earlier }
  stage.holds("the launches are 0.4 s apart, not #{gaps}") { gaps.all? { |gap| gap >= 0.39 } }
end

Suite.test('workers that die before their ack are launched ever more rarely, until one acks',
           quotes: 'life-stderr.txt: the next ones exit 1 before they ack') do |stage|
  crew = Crew.new(stage.start('-m manual -s 0.2', program: Crew::FRAGILE))
  crew.master.wait_for_log('Up to 1 / 1 manual ACKs')
  crew.master.take_up(:broken)
  crew.kill(*crew.elders)
  crew.master.wait_for_log('there have been 3 consecutive unacked worker deaths')
  crew.master.give_up(:broken)
  crew.master.wait_for_log('Up to 1 / 1 manual ACKs, breaking the streak of ')
  intervals = ['0.30000000000000004', '0.45', '0.675']
  told = intervals.each.with_index(1).map do |interval, deaths|
    "spinup_interval is #{interval}s, so spinning up a new process. " \
      "(there have been #{deaths} consecutive unacked worker deaths)"
  end
  lines = crew.lines(/Last spinup/).first(3).map { |line| line.match(/\ALast spinup was (\S+)s ago, and (.*)/).captures }
  stage.same(told, lines.map(&:last), 'what the log says')
  waited = lines.map { |seconds, _| Float(seconds) }
  stage.holds("it has waited #{waited}") { waited.zip(intervals).all? { |seconds, interval| seconds >= interval.to_f - 0.001 } }
  dead = crew.births[1..3].map { |pid| "===> Exited worker #{pid} before it was ACKed" }
  stage.same(dead, crew.lines(Regexp.union(dead)), 'the first three deaths')
  stage.same(0, crew.master.state[:consecutive_deaths_before_ack], 'deaths that are counted on')
end

Suite.test('workers that die just after their ack are launched again as fast as ever', quotes: 'E26',
           differs: '| a worker that dies just after its ack |') do |stage|
  crew = Supervision.short_lived(stage)
  # Ours needs 17 s for so many, and the original 1.2.
  stage.holds('there are 12 launches in 8 s') { Supervision.soon?(8) { crew.births.size >= 12 } }
end

Suite.test('in a smooth upgrade a new worker serves before an old one is told to go, one after the other',
           quotes: 'life-stderr.txt: command upgrade (smooth)') do |stage|
  crew = Crew.serving(stage, 2, '-s 0.1 --max-unacked=1')
  first, second = crew.elders
  crew.master.take_up(:silent)
  crew.signal(:HUP)
  newcomer = crew.another(crew.elders)
  stage.same([[], { 0 => first, 1 => second, 2 => newcomer }], [crew.told, crew.by_index], 'who is told, and who is there')
  crew.ack(newcomer)
  last = crew.another([*crew.elders, newcomer])
  Wait.until('the one that was told is gone') { crew.children.keys.sort == [second, newcomer, last].sort }
  stage.same([%w[USR2], []], crew.signals, 'who is told then')
  # Its index is the one of who has just gone, or has not quite.
  index = crew.by_index.key(last)
  stage.holds("#{index} is the lowest free index") { [0, 3].include?(index) }
  crew.ack(last)
  Wait.until('the old ones are gone') { crew.children.keys.sort == [newcomer, last].sort }
  stage.same([%w[USR2], %w[USR2]], crew.signals, 'what the old ones were told')
  steps = ["===> Launched #{newcomer} (index: 2)", "Received a manual ACK from #{newcomer}",
           'Smooth upgrade: killing off 1 old workers.', "Sending USR2 to [#{first}]", "===> Launched #{last} (index: #{index})",
           "Received a manual ACK from #{last}", 'Upgraded successfully to version 1 (Einhorn 1.1.1).',
           'Killing off 1 old workers.', "Sending USR2 to [#{second}]"]
  crew.tells(stage, steps)
end

Suite.test('in a fleet upgrade all new workers serve before any old one is told to go',
           quotes: 'life-stderr.txt: command upgrade_fleet') do |stage|
  crew = Crew.serving(stage, 2, '-s 30')
  first, second = crew.elders
  crew.master.take_up(:silent)
  crew.command('upgrade_fleet')
  one = crew.another(crew.elders)
  other = crew.another([*crew.elders, one])
  one, other = crew.by_index.values_at(2, 3)
  stage.same([[], [first, second, one, other]], [crew.told, crew.by_index.values], 'who is told, and who is there')
  crew.ack(one)
  stage.same([[], [[], []]], [crew.told, crew.signals], 'who is told when one is up')
  crew.ack(other)
  Wait.until('the old ones are gone') { crew.children.keys.sort == [one, other].sort }
  stage.same([%w[USR2], %w[USR2]], crew.signals, 'what the old ones were told')
  steps = ['Launching 2 new workers', "===> Launched #{one} (index: 2)", "===> Launched #{other} (index: 3)",
           'Up to 1 / 2 manual ACKs', 'Up to 2 / 2 manual ACKs', 'Upgraded successfully to version 1 (Einhorn 1.1.1).',
           'Killing off 2 old workers.', "Sending USR2 to [#{first}, #{second}]"]
  crew.tells(stage, steps)
end

Suite.test('an upgrade to what dies at once leaves the old workers alone, and goes on when that is mended',
           quotes: 'life-other-stderr.txt: SIGHUP with new workers that fail at first') do |stage|
  master = stage.start('-n 2 -m manual -s 0.1', program: Crew::FRAGILE)
  master.wait_for_log('Up to 2 / 2 manual ACKs')
  crew = Crew.new(master)
  master.take_up(:broken)
  crew.signal(:HUP)
  master.wait_for_log('there have been 2 consecutive unacked worker deaths')
  stage.same([[], crew.elders.sort], [crew.told, master.workers], 'who is told, and who is there')
  master.give_up(:broken)
  master.wait_for_log('Upgraded successfully to version 1 (Einhorn 1.1.1).')
  Wait.until('the old ones are gone') { (master.workers & crew.elders).empty? && master.workers.size == 2 }
end

Suite.test('no more than --max-unacked new workers are without their ack',
           quotes: 'life-other-stderr.txt: --max-unacked=1') do |stage|
  crew = Crew.serving(stage, 3, '-s 0.1 --max-unacked=2')
  crew.master.take_up(:silent)
  crew.signal(:HUP)
  crew.master.wait_for_log(Supervision.held_up(2, 2))
  newcomers = crew.by_index.values_at(3, 4)
  stage.same(crew.elders + newcomers, crew.by_index.values, 'who is there')
  crew.ready(*newcomers)
  crew.ack(newcomers.first)
  third = crew.another(crew.elders + newcomers)
  stage.same(1, crew.children[third][:version], 'the version of the next one')
end

Suite.test('without --max-unacked there are as many unacked new workers as processors',
           quotes: 'einhorn 1.1.1 as it runs') do |stage|
  count = Supervision.processors
  crew = Crew.new(stage.start("-n #{count + 1} -s 0.1 -m manual", program: Birth::PLAIN))
  crew.master.wait_for_workers(count + 1)
  crew.signal(:HUP)
  crew.master.wait_for_log(Supervision.held_up(count, count))
  stage.same([*[0] * (count + 1), *[1] * count], crew.children.values.map { |child| child[:version] }.sort, 'the versions')
end

Suite.test('the log repeats that a launch is held up', quotes: 'life-other-stderr.txt: --max-unacked=1',
           differs: '| `There are … unacked new workers`') do |stage|
  crew = Crew.serving(stage, 2, '-s 0.1 --max-unacked=1')
  crew.master.take_up(:silent)
  crew.signal(:HUP)
  crew.master.wait_for_log(Supervision.held_up(1, 1))
  stage.holds('it is told twice in a second') { Supervision.soon?(1) { crew.lines(/unacked new workers/).size > 1 } }
end

Suite.test('--max-upgrade-additional lets one more live than it says',
           quotes: 'life-other-stderr.txt: 2 new workers of 5 total; E18',
           differs: '| `--max-upgrade-additional N` |') do |stage|
  stage.same(5, Supervision.up_to_capacity(stage).children.size, 'workers')
end

Suite.test('--max-upgrade-additional lets no more live than it says', quotes: 'E18', only: :ours) do |stage|
  stage.differs('| `--max-upgrade-additional N` |')
  stage.same(4, Supervision.up_to_capacity(stage).children.size, 'workers')
end

Suite.test('an upgrade that is held up by old workers goes on when they end',
           quotes: 'life-other-stderr.txt: --max-upgrade-additional=1') do |stage|
  crew = Supervision.up_to_capacity(stage)
  told = crew.told
  stage.same([], told - crew.elders, 'others than the old ones that are told')
  crew.master.give_up(:linger)
  crew.kill(*told)
  crew.master.wait_for_log('Upgraded successfully to version 1 (Einhorn 1.1.1).')
  Wait.until('the old ones are gone') do
    # Those that were told between.
    crew.kill(*(crew.told & crew.master.workers))
    crew.children.values.map { |child| child[:version] } == [1, 1, 1]
  end
end

Suite.test('workers above the number are told to go, the eldest first, and killed after -t',
           quotes: 'life-stderr.txt: command dec; and the worker does not stop: signal timeout of 1 s') do |stage|
  crew = Crew.serving(stage, 3, '-t 5', habits: [:linger])
  first, *rest = crew.elders
  began = Wait.now
  stage.same('Decrementing number of workers from 3 -> 2', crew.command('dec'), 'the reply')
  Wait.until('it is gone') { crew.children.keys == rest }
  stage.holds('it had its time') { Wait.now - began >= 4.9 && crew.killed_after(first) >= 5 }
  stage.same([%w[USR2], [], []], crew.signals, 'who was told what')
  steps = ['Have too many workers at the current version, so killing off 1 of them.', "Sending USR2 to [#{first}]",
           "Successfully sent USR2s to 1 processes: [#{first}]", crew.kill_line(first), "===> Exited worker #{first}"]
  crew.tells(stage, steps)
end

Suite.test('of too many workers those go first that have not acked', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  crew = Crew.serving(stage, 2, '-s 0.1')
  crew.master.take_up(:silent)
  crew.command('inc')
  newcomer = crew.another(crew.elders)
  crew.command('dec')
  Wait.until('it is gone') { crew.children.keys == crew.elders }
  stage.same([[[], []], %w[USR2]], [crew.signals, crew.master.notes(newcomer) - ['ready']], 'who was told what')
end

Suite.test('a worker that was told to go, and stays, keeps another from being launched',
           quotes: 'einhorn-undocumented: dec then inc') do |stage|
  crew = Crew.serving(stage, 2, '-s 0.1', habits: [:linger])
  crew.command('dec')
  Wait.until('one is told') { crew.told.size == 1 }
  lingerer, = crew.told
  stage.same('Incrementing number of workers from 1 -> 2', crew.command('inc'), 'the reply')
  stage.holds('no worker is launched') { !Supervision.soon?(0.3) { crew.children.size > 2 } }
  crew.kill(lingerer)
  newcomer = crew.another(crew.elders)
  stage.same([*crew.elders - [lingerer], newcomer].sort, crew.children.keys.sort, 'who is there')
end

Suite.test('with -k the workers are told to go when the master is killed, and without it they stay',
           quotes: 'cli.txt: -k') do |stage|
  told = Crew.serving(stage, 2, '-k', habits: [:linger])
  stay = Crew.serving(stage, 2, '', habits: [:linger])
  [told, stay].each do |crew|
    crew.signal(:KILL)
    crew.master.exit_status
  end
  # Ours may tell them once for each of its threads.
  Wait.until('they are told') { told.signals.all? { |signals| signals.uniq == %w[USR2] } }
  # What a death tells comes before what is sent after it.
  stay.elders.each { |pid| Process.kill(:USR1, pid) }
  Wait.until('they hear') { stay.signals.all?(&:any?) }
  stage.same([%w[USR1]] * 2, stay.signals, 'what the others have heard')
end
