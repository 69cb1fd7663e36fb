# Values that scripts say and einhorn takes, whatever they make of them: the table in doc/compat.md, cell by cell, and what is beyond it.

require 'shellwords'
require_relative '../lib/attempt'
require_relative '../lib/birth'
require_relative '../lib/variant'

module Values
  LEDGER = File.expand_path('../../doc/compat.md', __dir__)

  # Where the state document has what an option sets.
  SHOWN = {
    '-n' => ->(state) { state[:config][:number] },
    '-l' => ->(state) { state[:config][:backlog] },
    '-s' => ->(state) { state[:config][:seconds] },
    '-t' => ->(state) { state[:signal_timeout] },
    '-m' => ->(state) { state[:ack_mode][:timeout] },
    '--max-unacked' => ->(state) { state[:config][:max_unacked] },
    '--max-upgrade-additional' => ->(state) { state[:config][:max_upgrade_additional] },
    '--nice' => ->(state) { state[:nice][:master] }
  }.freeze

  # The values at the top of the table, and a row for each option: what the master of that name makes of them.
  def self.table(whose)
    lines = File.readlines(LEDGER, chomp: true)
    header = lines.index { |line| line.start_with?('| option | whose |') }
    values = cells(lines[header]).drop(2).take_while { |cell| cell.start_with?('`') }.map { |cell| cell.delete('`"') }
    rows = lines.drop(header + 2).take_while { |line| line.start_with?('|') }.map { |line| cells(line) }
    mine = rows.select { |row| row[1] == whose }
    [values, mine.to_h { |row| [row[0].delete('`'), row.drop(2).take(values.size)] }]
  end

  def self.cells(line)
    line.split('|').drop(1).map { |cell| cell[/\A ?(.*?) ?\z/, 1] }
  end

  # What comes of an option with this value, in the words of the table.
  def self.outcome(stage, option, value)
    master = stage.keep(Master.start(stage.subject, ['-b', '127.0.0.1:0', option, value], habits: [:silent]))
    shown = SHOWN.fetch(option).call(master.state)
    warned = master.log.include?("#{option} #{value.empty? || value.include?(' ') ? value.inspect : value}: taken as ")
    "#{shown.nil? ? 'none' : shown}#{' *WARN*' if warned}"
  rescue Master::Ended
    'refused'
  ensure
    master&.close
  end

  # The value that is in force, and whether a line of the log says that it is not what was said.
  def self.taken(stage, *words)
    option = words.first
    master = stage.keep(Master.start(stage.subject, [*words], habits: [:silent]))
    [SHOWN.fetch(option).call(master.state), master.log.match?(/WARN: #{Regexp.escape(words.join(' '))}: taken as /)]
  ensure
    master&.close
  end
end

Suite.test('the table of numbers has a row for each option', quotes: 'doc/compat.md') do |stage|
  %w[einhorn here].each { |whose| stage.same(Values::SHOWN.keys, Values.table(whose).last.keys, "rows of #{whose}") }
end

Values::SHOWN.each_key do |option|
  Suite.test("values: #{option} makes of each number what the table says", quotes: 'einhorn 1.1.1 as it runs') do |stage|
    values, rows = Values.table(stage.ours? ? 'here' : 'einhorn')
    seen = values.map { |value| Values.outcome(stage, option, value) }
    stage.same(values.zip(rows.fetch(option)).to_h, values.zip(seen).to_h, "what comes of #{option}")
  end
end

Suite.test('values: what is beyond the table starts, too', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  large = [%w[--max-unacked 1000000], %w[-s 100000], %w[-m 100000], %w[--max-upgrade-additional 1000000], %w[--nice 1:], %w[--nice 100]]
  large.each do |words|
    _, warned = Values.taken(stage, *words)
    stage.same(stage.ours?, warned, "whether something is said of #{words}")
  end
  stage.same([3, stage.ours?], Values.taken(stage, '-n', '03'), 'what comes of -n 03')
end

Suite.test('values: an empty command name is a name', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  master = stage.keep(Master.start(stage.subject, ['-c', ''], habits: [:silent], socket: 'einhorn-.sock'))
  stage.same(['', 1], [master.state[:cmd_name], master.state[:children].size], 'the name, and the number of workers')
end

Suite.test('values: a flag of an address that means nothing is ignored', quotes: 'E21') do |stage|
  master = stage.start('-b 127.0.0.1:0,rn,r')
  stage.same([['127.0.0.1', 0]], master.state[:bind].map { |bind| bind.take(2) }, 'what is bound')
  TCPSocket.new('127.0.0.1', master.state[:bound_ports].first).close
  said = master.log.match?(/WARN: .*,rn means nothing here/)
  stage.same(stage.ours?, said, 'whether something is said of it')
end

Suite.test('values: a flag that means nothing is refused under the own name', quotes: 'doc/compat.md', only: :ours) do |stage|
  stage.differs('| an unknown flag of an address, `-b ADDR:PORT,rn` |')
  attempt = Attempt.make(stage.subject, %w[-b 127.0.0.1:0,rn sleep 1], called: 'einhyrningsins')
  stage.same(100, attempt.status, 'exit code')
end

Suite.test('values: the id of a ping is what it was', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  master = stage.start('', habits: [:silent])
  worker = master.worker_at(0)
  [1795962350.1548183, 7, '7', '1.50'].each do |id|
    client = master.connect
    client.write(Client.frame('command' => 'worker:ping', 'pid' => worker, 'request_id' => id))
    stage.holds('the connection is closed') { client.ends_without_a_word? }
    stage.same(id, master.state[:children][worker][:pinged_request_id], 'the id')
  end
end

Suite.test('values: requests are carried out although their client is gone', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  master = stage.start('', habits: [:silent])
  socket = UNIXSocket.new(File.join(master.directory, 'einhorn.sock'))
  socket.write(%({"command":"state"}\n) * 20 + %({"command":"inc"}\n))
  socket.close
  Wait.until('the last one counts') { master.state[:config][:number] == 2 }
end

Suite.test('values: a variable that is dropped and set anew by the wrapper reaches the next version',
           quotes: 'einhorn 1.1.1 as it runs') do |stage|
  variant = Variant.new(stage.subject, 'CF_SET' => 'a', 'CF_GONE' => 'a')
  wrapper = Shellwords.join(['env', 'CF_SET=b', *stage.subject.command])
  master = stage.keep(Master.start(variant, ['--drop-env-var', 'CF_SET', '--drop-env-var', 'CF_GONE', '--reexec-as', wrapper,
                                             '-m', '0', '-s', '0.1'], program: Birth::PLAIN))
  seen = 3.times.map do |round|
    unless round.zero?
      client = master.connect
      client.write(Client.frame('command' => 'upgrade', 'id' => round))
      stage.same('Upgrade done', client.receive_to_the_end.last['message'], 'the last line')
    end
    newest, = master.state[:children].max_by { |_, child| child[:version] }
    Birth.of(newest).environment.values_at('CF_SET', 'CF_GONE')
  end
  stage.same([%w[a a], ['b', nil], ['b', nil]], seen, 'the variables of each version')
end

Suite.test('values: the workers have the nice level of a master that has one', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  master = stage.start('--nice 4', program: Birth::PLAIN)
  worker = Birth.of(master.wait_for_workers(1).first)
  stage.same([4, 4], [Birth.new(master.pid).niceness, worker.niceness], 'the levels')
end

Suite.test('values: state names the program as it was found in PATH', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  program = ['sh', '-c', ': >workers/$$; exec sleep 100000']
  state = stage.start('', program: program).state
  found = ENV.fetch('PATH').split(':').map { |directory| File.join(directory, 'sh') }.find { |file| File.exist?(file) }
  stage.same([[found, *program.drop(1)], program], state.values_at(:cmd, :orig_cmd), 'the program as it is run, and as it was said')
end

Suite.test('values: an address among the words of the program stays there', quotes: 'einhorn 1.1.1 as it runs',
           differs: '| `srv:ADDR:PORT[,OPT]` among the words of the program') do |stage|
  state = stage.start('', program: ['./worker', 'srv:127.0.0.1:0,r'], habits: [:silent]).state
  stage.same([%w[./worker srv:127.0.0.1:0,r], []], state.values_at(:cmd, :bind_fds), 'the program, and the sockets')
end

Suite.test('values: an address among the words of the program is bound, and the number of its descriptor stands in its place',
           quotes: '0.8.2-other.txt', only: :ours) do |stage|
  stage.differs('| `srv:ADDR:PORT[,OPT]` among the words of the program')
  words = ['/bin/sh', '-c', ': >workers/$$; exec sleep 100000 "$@"', 'x', '0', 'srv:127.0.0.1:0,r', '--x=srv:127.0.0.1:0']
  words[2] = ': >workers/$$; exec ruby --disable-gems -e "sleep" "$@"'
  master = stage.start('-b 127.0.0.1:0,n', program: words)
  worker = master.wait_for_workers(1).first
  birth = Birth.new(worker)
  Wait.until('the worker is its program') { birth.arguments.first == 'ruby' }
  stage.same(%w[0 3 --x=3], birth.arguments.last(3), 'its words')
end
