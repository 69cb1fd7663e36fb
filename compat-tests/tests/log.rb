# The lines that a master writes to stderr, beside those of recorded lives. What workers, clients and operators did there is done
# again when the recorded lines tell of it, so their order is no matter of luck.

class Life
  # How ours says what the original says otherwise, or nil where it says nothing of it.
  OTHERWISE = {
    /\A\[MASTER <PID\d+>\]/ => nil,
    /: About to re-exec / => '[MASTER <MASTER>] INFO: About to re-exec einhorn master as ' \
                             '["<EINHORN>", "--with-state-fd", "<FD>", "--", "./worker"]',
    /: Using loaded state: / => '[MASTER <MASTER>] INFO: Using loaded state: generation <FD>, <FD> workers'
  }.freeze
  OTHERWISE_LINE = '| log lines of a re-exec'

  # What ours says beside the lines of the original.
  BESIDE = Regexp.union(
    /INFO: Listening on 127\.0\.0\.1:\d+$/,
    /WARN: Worker \d+ (?:exited unexpectedly with status \d+|was killed by SIG[A-Z]+)$/,
    /WARN: Slot \d+ waits: \d+ of its workers died young in a row, the next one comes in [\d.]+s$/,
    /ERROR: No worker serves any more$/
  ).freeze
  BESIDE_LINE = '| log lines `Listening on'

  # Several in a row are of workers that end at once, in any order.
  EXITED = /: ===> Exited worker /.freeze

  # A worker that was told to go twice is killed twice, unless it is gone by then.
  KILLED = /: Child \S+ is still active /.freeze

  # Of the inner life, and left out.
  DEBUG = /\A\[MASTER (?:<MASTER>|\d+)\] DEBUG: /.freeze
  DEBUG_LINE = '| log lines at DEBUG'

  # Said only because of how the suite keeps a launch waiting.
  HELD_UP = /Waiting for old workers to exit before spinning up a process\.\z/.freeze

  # Of numbers and the like, the recording has those of its day; and either of the first two workers may be the first to be up.
  UNMASKED = {
    /(?<=: Worker <)PID[12](?=> has been up )/ => 'PID',
    /(?<=still active after )\d+(?=s\. )/ => '<SECONDS>',
    /(?<=Running under Ruby |Using Bundler )\S+/ => '<VERSION>',
    /(?<="--with-state-fd", ")\d+/ => '<FD>',
    /(?<=:bind_fds=>\[)\d+/ => '<FD>',
    /(?<=:persistent_descriptors=>).*/ => '<REST>',
    '<TIME>' => '<CLOCK>'
  }.freeze

  attr_reader :master

  # `seconds` is the value of -s, if it is not the recorded one.
  def self.begin(stage, recording, options, seconds:)
    master = stage.start("#{options} -s #{seconds} --reexec-as=./einhorn", habits: %i[silent linger])
    new(stage, recording, master, seconds, options.include?('--max-upgrade-additional'))
  end

  def initialize(stage, recording, master, seconds, holds_up)
    @stage = stage
    @scenes = Transcript.named(recording).log.slice_before(/\A##? /)
    @master = master
    @seconds = seconds
    @holds_up = holds_up
    @mask = Mask.new(master.pid)
    @met = 0
    @called = []
  end

  # Compares the scene whose title begins so. `before` says what has to be done before lines of a pattern come. With `names`,
  # workers have other names here than in this scene.
  def play(title, before: {}, names: {})
    lines = scene(title).map { |line| line.gsub(/(?<=<)PID\d+(?=>)/) { |name| names.fetch(name, name) } }
    workers, masters = lines.partition { |line| line.start_with?('[WORKER') }
    once(masters).slice_when { |line, next_line| ![line, next_line].all?(EXITED) }.each do |strand|
      strand.each do |line|
        before.each { |pattern, cause| cause.call if pattern.match?(line) }
        bring_about(line)
      end
      meet(strand.flat_map { |line| as_ours(line) }, title)
    end
    workers.each { |line| meet_worker(line) }
  end

  # Asks a question whose answer is not needed. The connection stays, so that an upgrade has a client to tell.
  def ask(command, *args)
    master.connect.ask('command' => command, 'id' => 1, 'args' => args)
  end

  # Until all workers stay when they are told to go.
  def settle
    Wait.until('all workers are ready') do
      called_by_workers.all? { |pid| master.workers.include?(pid) ? master.notes(pid).include?('ready') : gone?(pid) }
    end
  end

  def signal(signal)
    settle
    Process.kill(signal, master.pid)
  end

  # The master has ended so, and said nothing more.
  def over(status)
    @stage.same(status, master.exit_status, 'the exit status')
    @stage.same([], said.drop(@met), 'lines that were not recorded')
    @stage.same(@called.sort, called_by_workers, 'workers that said what they become')
    @stage.same(%w[einhorn.lock], Dir.children(master.directory).grep(/\Aeinhorn\./), 'files that are left')
  end

  private

  def scene(title)
    found, *lines = @scenes.find { |first, *| first.delete_prefix('#').delete_prefix('#').strip.start_with?(title) }
    raise "no scene #{title.inspect}" unless found

    @stage.differs(DEBUG_LINE) if @stage.ours? && lines.grep(DEBUG).any?
    lines.reject { |line| line.empty? || line.start_with?('#') || DEBUG.match?(line) }.map { |line| prepared(line) }
  end

  def prepared(line)
    UNMASKED.inject(line.sub(':seconds=>0.2', ":seconds=>#{@seconds}")) { |text, (what, mask)| text.gsub(what, mask) }
  end

  # What workers do: they ack, and they end. How they end leaves no trace in the lines of the original.
  def bring_about(line)
    case line
    when /Received a manual ACK from <(PID\d+)>/ then ack(@mask.pid(Regexp.last_match(1)))
    when /===> Exited worker <(PID\d+)>/ then finish(@mask.pid(Regexp.last_match(1)))
    end
  end

  def ack(pid)
    master.connect.write(Client.frame('command' => 'worker:ack', 'pid' => pid))
  end

  def finish(pid)
    Wait.until("#{pid} is about to become its program") { called_by_workers.include?(pid) }
    Process.kill(:KILL, pid)
  rescue Errno::ESRCH
    # It was killed by the master.
  end

  def as_ours(line)
    return [line] unless @stage.ours?

    pattern, mine = OTHERWISE.find { |known, _| known.match?(line) }
    return [line] unless pattern

    @stage.differs(OTHERWISE_LINE)
    [mine].compact
  end

  def meet(expected, title)
    wanted = expected.join("\n")
    seen = Wait.until("the log goes on with\n#{wanted}\nafter\n#{said.last(3).join("\n")}") { next_lines(expected.size) }
    @stage.holds("in the scene #{title.inspect} the log has\n#{wanted}\nnot\n#{seen.join("\n")}") { match?(expected, seen) }
    @met += expected.size
  end

  def next_lines(count)
    lines = said[@met, count]
    lines if lines.size == count
  end

  def match?(expected, seen)
    if expected.size > 1
      expected = expected.sort_by { |line| @mask.pid(line[/PID\d+/]) }
      seen = seen.sort_by { |line| line[/\d+\z/].to_i }
    end
    expected.zip(seen).all? { |recorded, line| @mask.match?(recorded, line) }
  end

  def meet_worker(line)
    pid = @mask.pid(line[/PID\d+/])
    Wait.until("#{pid} says what it becomes") { called_by_workers.include?(pid) }
    @called << pid
  end

  def gone?(pid)
    Process.kill(0, pid)
    false
  rescue Errno::ESRCH
    true
  end

  def once(lines)
    lines.uniq { |line| line[KILLED] || Object.new }
  end

  def lines
    master.log.lines.grep(/\n\z/).map(&:chomp)
  end

  def called_by_workers
    lines.filter_map { |line| line[/\A\[WORKER (\d+)\] INFO: About to exec \["\.\/worker"\]\z/, 1]&.to_i }.sort
  end

  # What the master has said so far, without what is not compared.
  def said
    all = lines.reject { |line| line.start_with?('[WORKER') || DEBUG.match?(line) || (@holds_up && HELD_UP.match?(line)) }
    all = once(all)
    return all unless @stage.ours?

    beside, all = all.partition { |line| BESIDE.match?(line) }
    @stage.differs(BESIDE_LINE) if beside.any?
    all
  end
end

Suite.test('the log of a start, of more and fewer workers, of both kinds of upgrade and of a reload is that of the original',
           quotes: 'life-stderr.txt') do |stage|
  # A second launch comes after an old worker has gone, as it was recorded, if there is time enough between the two; and
  # no worker is killed because the suite is slow to end it. (The original's own state tells of its -t.)
  timeout = stage.ours? ? 60 : 1
  life = Life.begin(stage, 'life-stderr', "-n 2 -m manual -t #{timeout} -b 127.0.0.1:0,r", seconds: stage.ours? ? 3 : 0.7)
  life.play('start')
  life.play('the workers ack')
  %w[inc dec upgrade upgrade_fleet reload].each do |command|
    life.settle
    life.ask(command)
    life.play("command #{command}#{' (smooth)' if command == 'upgrade'}")
  end
end

Suite.test('the log of dying workers, of some that do not stop, of commands and of the end is that of the original',
           quotes: 'life-stderr.txt') do |stage|
  life = Life.begin(stage, 'life-stderr', "-n 2 -m manual -t #{stage.ours? ? 5 : 1} -b 127.0.0.1:0,r", seconds: 0.2)
  names = { 'PID1' => 'PID10', 'PID2' => 'PID11' }
  life.play('start', names: names)
  life.play('the workers ack', names: names)
  ['a worker is killed with KILL', 'a worker is killed, and the next ones', 'now they ack again'].each { |title| life.play(title) }
  life.settle
  life.ask('dec')
  life.play('command dec, and the worker does not stop')
  life.ask('set_workers', '2')
  life.play('command set_workers 2')
  life.settle
  life.ask('signal', 'WINCH')
  life.play('command signal WINCH')
  life.play('commands louder, ehlo, quieter', before: { /set to 0/ => -> { life.ask('louder') },
                                                        /set to 1/ => -> { %w[ehlo quieter].each { |command| life.ask(command) } } })
  life.play('command die', before: { /: Sending/ => -> { life.ask('die') } })
  life.over(0)
end

%w[INT TERM USR2].each do |signal|
  Suite.test("the log of a start with timers and of an end by #{signal} is that of the original", quotes: 'life-other-stderr.txt') do |stage|
    life = Life.begin(stage, 'life-other-stderr', '-n 2 -m 0', seconds: 0.2)
    life.play("einhorn -n 2 -m 0 ./worker, then SIG#{signal}", before: { /: Sending/ => -> { life.signal(signal) } })
    life.over(0)
  end
end

Suite.test('the log of an impatient end, and of an upgrade after it, is that of the original', quotes: 'life-other-stderr.txt') do |stage|
  life = Life.begin(stage, 'life-other-stderr', '-n 1 -m manual', seconds: 0.2)
  life.play('INT twice, then HUP', before: { /: Sending/ => -> { life.signal('INT') }, /: Not reloading/ => -> { life.signal('HUP') } })
  life.over(0)
end

Suite.test('the log of an upgrade by HUP, with timers, is that of the original', quotes: 'life-other-stderr.txt') do |stage|
  # The second launch waits for the end of an old worker, which it was recorded after.
  one_by_one = '--max-upgrade-additional=1' if stage.ours?
  life = Life.begin(stage, 'life-other-stderr', "-n 2 -m 0.2 #{one_by_one}", seconds: 0.5)
  life.play('einhorn -n 2 -m 0.2 -s 0.5 ./worker, then SIGHUP', before: { /: Reloading/ => -> { life.signal('HUP') } })
end

Suite.test('the log of an upgrade that the next program refuses begins as that of the original', quotes: 'life-other-stderr.txt') do |stage|
  master = stage.start('-n 1 -m manual --reexec-as=/bin/false')
  master.wait_for_log('Up to 1 / 1 manual ACKs')
  workers = master.workers
  Process.kill('HUP', master.pid)
  master.wait_for_log('ERROR: Can not initiate einhorn master reload safely, aborting')
  stage.holds('it is told before') { master.log.match?(/INFO: Reloading einhorn master \(\S+\)\.\.\.\n.*ERROR: Can not/m) }
  stage.same([workers, 0], [master.workers, master.state[:version]], 'the workers, and the version')
end
