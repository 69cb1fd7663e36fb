# Command lines: what is refused and how, what ends by itself, and in which spellings options come. The words of usage and
# errors are our own; a script looks at the exit code, at where the output goes, and whether what is wrong is named.

require_relative '../lib/attempt'
require_relative '../lib/birth'

module CommandLine
  # Every option of the original.
  OPTIONS = %w[-b --bind -c --command-name -d --socket-path -e --pidfile -f --lockfile -g --command-socket-as-fd -h --help
               -k --kill-children-on-exit -l --backlog -m --ack-mode -n --number -p --preload -q --quiet -s --seconds
               -v --verbose --drop-env-var --reexec-as --nice --with-state-fd --upgrade-check -t --signal-timeout
               --max-unacked --max-upgrade-additional --gc-before-fork --version].freeze

  # Command lines that are refused, and what the message has to name.
  WRONG = {
    %w[--bogus sleep 1] => '--bogus',
    %w[-Z] => '-Z',
    %w[-n] => '-n',
    %w[--signal-timeout] => '--signal-timeout',
    %w[--ver] => '--ver',
    %w[--command x] => '--command',
    %w[--quiet=5 sleep] => '--quiet=5',
    %w[-b foo sleep 1] => 'foo',
    %w[-b ::1:80 sleep 1] => '::1:80',
    %w[-s 0 sleep 1] => '',
    %w[-s abc sleep 1] => 'abc',
    %w[-t 1.5 sleep 1] => '1.5',
    %w[--max-unacked x sleep 1] => 'x',
    %w[--nice x sleep 1] => 'x',
    %w[--with-state-fd abc -- sleep] => 'abc'
  }.freeze

  # The shortest spelling of each long option with a value or an effect, as the original has it, and a value for it.
  SHORTEST = { 'bi' => '127.0.0.1:0', 'command-n' => 'x', 'so' => 'x', 'pi' => 'x', 'l' => 'x', 'command-s' => nil, 'k' => nil,
               'ba' => '7', 'a' => 'manual', 'nu' => '2', 'pr' => 'x', 'q' => nil, 'se' => '2', 'verb' => nil, 'd' => 'X',
               'r' => 'x', 'ni' => '0:0', 'si' => '5', 'max-un' => '2', 'max-up' => '2', 'g' => nil }.freeze

  # Too short for one meaning.
  AMBIGUOUS = %w[ve b s n p m c command max-u].freeze

  # What Ruby makes a number of.
  NUMBERS = [%w[-n 3x], %w[-t 010]].freeze

  def self.attempt(stage, *words, **more)
    Attempt.make(stage.subject, words, **more)
  end

  def self.refused(stage, attempt, words, named)
    stage.holds("#{words} fails, not #{attempt.status.inspect}") { attempt.failed? }
    stage.same('', attempt.out, "what #{words} writes to stdout")
    stage.holds("#{words} has #{named.inspect} in its message\n#{attempt.err}") { attempt.err.include?(named) }
    stage.same([], attempt.files, "files that #{words} leaves")
  end
end

Suite.test('help lists the options of einhorn on stdout, and ends with 1',
           quotes: 'cli.txt; einhorn-undocumented: -h') do |stage|
  %w[-h --help].each do |word|
    attempt = CommandLine.attempt(stage, word, '--bogus')
    stage.same([1, ''], [attempt.status, attempt.err], "exit code and stderr of #{word}")
    words = attempt.out.scan(/^ +(-\w|--[\w-]+)(?:, (--[\w-]+))?(?=[ =\[\n])/).flatten
    stage.same([], CommandLine::OPTIONS - words, "options that #{word} does not list")
  end
end

Suite.test('the version is one line on stdout, and 0', quotes: 'cli.txt') do |stage|
  [%w[--version], %w[--version --bogus], %w[--vers -n], %w[-n 2 --version -- sleep 1]].each do |words|
    attempt = CommandLine.attempt(stage, *words)
    stage.same([0, "1.1.1\n", ''], [attempt.status, attempt.out, attempt.err], "what #{words} comes to")
  end
end

Suite.test('its own name changes neither the end of help nor the version', quotes: 'cli.txt',
           differs: '| `-h`, `--version`, unless called `einhorn` |') do |stage|
  attempt = CommandLine.attempt(stage, '-h', called: 'einhyrningsins')
  stage.same(1, attempt.status, 'exit code')
  stage.same("1.1.1\n", CommandLine.attempt(stage, '--version', called: 'einhyrningsins').out, 'the version')
end

Suite.test('under its own name help ends with 0 and the version is its own', quotes: 'cli.txt', only: :ours) do |stage|
  stage.differs('| `-h`, `--version`, unless called `einhorn` |')
  help, version = %w[-h --version].map { |word| CommandLine.attempt(stage, word, called: 'einhyrningsins') }
  stage.same([0, ''], [help.status, help.err], 'exit code and stderr of help')
  stage.holds("the version is ours, not #{version.out.inspect}") { version.out.match?(/\Aeinhyrningsins \d+\.\d+\.\d+\n\z/) }
end

Suite.test('the upgrade check ends with 0, whatever comes after it', quotes: 'cli.txt; einhorn-undocumented') do |stage|
  [[], %w[--bogus], %w[-n], %w[-b foo -s 0], %w[-- no-such-program]].each do |rest|
    attempt = CommandLine.attempt(stage, '--upgrade-check', *rest)
    stage.same([0, '', []], [attempt.status, attempt.out, attempt.files], "what comes of #{rest}")
  end
  stage.holds('what comes before it counts') { CommandLine.attempt(stage, '--bogus', '--upgrade-check').status != 0 }
end

Suite.test('without a program the usage is on stdout, and the exit code 1', quotes: 'cli.txt') do |stage|
  [[], %w[--], %w[-n 3], %w[-q -g --]].each do |words|
    attempt = CommandLine.attempt(stage, *words)
    stage.same([1, '', []], [attempt.status, attempt.err, attempt.files], "what #{words} comes to")
    stage.holds("it shows the usage, not #{attempt.out.inspect}") { attempt.out.match?(/^(## )?Usage\b/) }
  end
end

Suite.test('a wrong option or value fails, is named on stderr, and leaves nothing', quotes: 'cli.txt') do |stage|
  CommandLine::WRONG.each do |words, named|
    CommandLine.refused(stage, CommandLine.attempt(stage, *words), words, named)
  end
end

Suite.test('a wrong option or value is exit code 1', quotes: 'cli.txt', differs: '| wrong option or value |') do |stage|
  statuses = CommandLine::WRONG.keys.map { |words| CommandLine.attempt(stage, *words).status }
  stage.same([1], statuses.uniq, 'exit codes')
end

Suite.test('a wrong option or value is exit code 100 and one line', quotes: 'cli.txt', only: :ours) do |stage|
  stage.differs('| wrong option or value |')
  [*CommandLine::WRONG.keys, %w[-n 0 sleep 1], %w[-n abc sleep 1], %w[-n 3x sleep 1], %w[-t 010 sleep 1]].each do |words|
    attempt = CommandLine.attempt(stage, *words)
    stage.same([100, '', 1], [attempt.status, attempt.out, attempt.err.lines.size], "what #{words} comes to")
  end
end

Suite.test('no workers at all is an error, and yet exit code 0',
           quotes: 'cli.txt; E17', differs: '| wrong option or value |') do |stage|
  [%w[-n 0 sleep 1], %w[-n abc sleep 1]].each do |words|
    attempt = CommandLine.attempt(stage, *words)
    stage.same(0, attempt.status, "exit code of #{words}")
    stage.holds('an error says so') { attempt.err.include?('ERROR: You need to spin up at least') }
  end
end

CommandLine::NUMBERS.each do |words|
  Suite.test("#{words.join(' ')} is taken for a number", quotes: 'einhorn 1.1.1 as it runs',
             differs: '| `-n 3x`, `-t 010` |') do |stage|
    stage.same(0, CommandLine.attempt(stage, *words, '--version').status, 'exit code')
  end
end

Suite.test('numbers may be written as Ruby reads them', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  ['-s .5', '-s 1e-1', '-s 2.5', '-m 0', '-m 0.25', '-m 3', '-t 7', '--max-unacked=3', '--nice 1:2'].each do |words|
    stage.same(0, CommandLine.attempt(stage, *words.split, '--version').status, "exit code of #{words}")
  end
end

Suite.test('a word that is no ack mode is an error',
           quotes: 'cli.txt', differs: '| `-m` before something that is no mode |') do |stage|
  attempt = CommandLine.attempt(stage, '-m', 'foo', 'sleep', '1')
  stage.same(1, attempt.status, 'exit code')
  stage.holds("it is named as a mode in\n#{attempt.err}") { attempt.err.include?('ack-mode "foo"') }
end

Suite.test('long options may be cut short while they mean one thing', quotes: 'cli.txt: --ver, --command') do |stage|
  words = CommandLine::SHORTEST.flat_map { |name, value| ["--#{name}", *value] }
  attempt = CommandLine.attempt(stage, *words, '--vers')
  stage.same([0, "1.1.1\n"], [attempt.status, attempt.out], "what #{words.join(' ')} comes to\n#{attempt.err}")
  CommandLine::AMBIGUOUS.each do |name|
    attempt = CommandLine.attempt(stage, "--#{name}", '1')
    stage.holds("--#{name} is told to be ambiguous in\n#{attempt.err}") { attempt.err.match?(/ambiguous option:? --#{name}\b/) }
  end
end

Suite.test('a long option may be in capitals',
           quotes: 'einhorn 1.1.1 as it runs', differs: '| a long option in capitals |') do |stage|
  stage.same(0, CommandLine.attempt(stage, '--QUIET', '--Number', '2', '--version').status, 'exit code')
end

Suite.test('a value stands joined or apart, in a cluster too, and the last one counts', quotes: 'cli.txt: Options') do |stage|
  ['-s2.5', '-s 2.5', '--seconds=2.5', '--seconds 2.5', '--sec=2.5', '-s 1 -s 2.5', '-gqs2.5', '-gqs 2.5'].each do |options|
    master = stage.start(options, habits: [:silent])
    state = master.state
    cluster = options.include?('gq')
    stage.same([2.5, cluster, cluster ? 2 : 1],
               [state[:config][:seconds], state[:command_socket_as_fd], state[:verbosity]], "what #{options} comes to")
    master.close
  end
end

Suite.test('words after -- are the program, even if they look like options', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  words = ['./worker', '-n', '5', '--version', '--', '', 'a b']
  master = stage.start('-n 1', habits: [:silent], program: words)
  stage.same([words, 1], [master.state[:cmd], master.state[:children].size], 'the program and the number of its workers')
  birth = Birth.new(master.wait_for_workers(1).first)
  stage.same(words, birth.arguments.last(words.size), 'what the worker was called with')
end

Suite.test("options end at the first word that is none, and a later -- is the program's",
           quotes: 'einhorn 1.1.1 as it runs') do |stage|
  master = stage.start('-n 1 ./worker -n 5', habits: [:silent])
  stage.same([%w[./worker -n 5 -- ./worker], 1], [master.state[:cmd], master.state[:children].size],
             'the program and the number of its workers')
end

Suite.test('a program that is not there fails the start, and leaves neither socket nor pid file', quotes: 'cli.txt') do |stage|
  %w[no-such-program ./nope].each do |program|
    attempt = CommandLine.attempt(stage, '-b', '127.0.0.1:0', program)
    stage.holds("#{program} fails") { attempt.failed? }
    stage.holds("it is named in\n#{attempt.err}") { attempt.err.include?(program) }
    stage.same([], attempt.files - ['einhorn.lock'], 'files that are left')
  end
end

Suite.test('a program that is not there is exit code 1',
           quotes: 'cli.txt', differs: '| program not found, not executable |') do |stage|
  stage.same([1, 1], %w[no-such-program ./nope].map { |program| CommandLine.attempt(stage, program).status }, 'exit codes')
end

Suite.test('a program that is not there is exit code 127, one that cannot be run 126',
           quotes: 'cli.txt', only: :ours) do |stage|
  stage.differs('| program not found, not executable |')
  %w[no-such-program ./nope].each do |program|
    attempt = CommandLine.attempt(stage, program)
    stage.same([127, []], [attempt.status, attempt.files], "what #{program} comes to")
  end
  stage.same(126, CommandLine.attempt(stage, '/dev/null').status, 'exit code where it is no program')
end
