# The recorded conversations on the control socket, sent again byte for byte. How each master was started stands in the first
# line of its transcript, or here.

module Wire
  def self.differ(request, *replies, line)
    Replay::Difference.new(request: request, replies: replies, line: line)
  end

  # Replays on a master with one worker that acks.
  def self.replay(stage, name, options: '-m manual', habits: [], except: [])
    master = stage.start(options, habits: habits)
    master.wait_until_ready(*master.wait_for_workers(1))
    Replay.new(stage, master, Transcript.named(name)).except(except).run
    master
  end
end

Suite.test('ehlo greets by name, under ids of every type, in every spelling', quotes: 'wire-ehlo.txt') do |stage|
  Wire.replay(stage, 'wire-ehlo')
end

Suite.test('help lists the commands', quotes: 'wire-help.txt') do |stage|
  Wire.replay(stage, 'wire-help')
end

Suite.test('inc and dec change the number of workers, to one at least', quotes: 'wire-inc-dec.txt') do |stage|
  Wire.replay(stage, 'wire-inc-dec')
end

Suite.test('set_workers says what it will do, or nothing where nothing changes', quotes: 'wire-set_workers.txt') do |stage|
  Wire.replay(stage, 'wire-set_workers')
end

Suite.test('quieter and louder move the verbosity from 0 to 2', quotes: 'wire-verbosity.txt') do |stage|
  Wire.replay(stage, 'wire-verbosity')
end

Suite.test('signal reaches the workers and is answered by silence', quotes: 'wire-signal.txt') do |stage|
  exit_signal = Wire.differ('{"command": "signal", "args": ["EXIT"]}',
                            %q(---%0Amessage: 'Invalid signal: "EXIT"'%0A\n), '| `signal EXIT` |')
  master = Wire.replay(stage, 'wire-signal', except: [exit_signal])
  worker, heard = master.workers.first, %w[HUP USR1 ready]
  Wait.until('the worker has heard them') { (heard - master.notes(worker)).empty? }
  # Equal signals in quick succession may become one.
  stage.same(heard, master.notes(worker).uniq.sort, 'what the worker noted')
end

Suite.test('arguments that are no list of strings are refused by their class', quotes: 'wire-arguments.txt') do |stage|
  die = Wire.differ('{"command": "die"}', %q(---%0Amessage: 'Einhorn is going down! '%0A\n), '| `die` without `args` |')
  Wire.replay(stage, 'wire-arguments', habits: [:linger], except: [die])
end

Suite.test('an unknown command is refused as such', quotes: 'wire-unknown.txt') do |stage|
  Wire.replay(stage, 'wire-unknown')
end

Suite.test('reload is answered, and the connection goes on', quotes: 'wire-reload.txt') do |stage|
  Wire.replay(stage, 'wire-reload')
end

Suite.test('config merges what it may', quotes: 'wire-config.txt') do |stage|
  changed = lambda do |request, reply|
    Wire.differ(request, reply, '| `config` |')
  end
  Wire.replay(stage, 'wire-config', except: [
    changed.call('{"command": "config", "args": [":signal_timeout:", "7"], "id": 1}',
                 %q(---%0Amessage: 'Successfully merged in config: {:signal_timeout=>7}'%0Arequest_id: 1%0A\n)),
    changed.call('{"command": "config", "args": ["{\":signal_timeout\": 8}"]}',
                 %q(---%0Amessage: 'Successfully merged in config: {":signal_timeout"=>8}'%0A\n)),
    changed.call('{"command": "config", "args": ["[1]"]}', %q(---%0Amessage: Parsed argument is a Array, not a hash%0A\n)),
    changed.call('{"command": "config", "args": ["{"]}',
                 %q(---%0Amessage: 'Could not parse argument. Must be a YAML-encoded hash: <BACKTRACE>)),
    changed.call('{"command": "config", "args": ["7"]}', %q(---%0Amessage: Parsed argument is a Integer, not a hash%0A\n))
  ])
end

Suite.test('die is answered, and what comes while the master goes down is answered too', quotes: 'wire-die.txt') do |stage|
  die = Wire.differ('{"command": "die"}', %q(---%0Amessage: 'Einhorn is going down! '%0A\n), '| `die` without `args` |')
  upgrade = Wire.differ(
    '{"command": "upgrade", "id": 6}',
    %q(---%0Amessage: Upgrading smoothly, as commanded%0Arequest_id: 6%0Await: true%0A\n),
    %q(---%0Amessage: 'Upgrade failed: einhorn is going down'%0Arequest_id: 6%0A\n),
    '| an upgrade that comes to nothing |'
  )
  master = Wire.replay(stage, 'wire-die', habits: [:linger], except: [die, upgrade])
  master.kill_workers
  stage.same(Transcript.named('wire-die').exit_status, master.exit_status, 'exit status')
end

Suite.test('die may name its signal', quotes: 'wire-die-signal.txt') do |stage|
  master = Wire.replay(stage, 'wire-die-signal', options: '-m manual -t 9')
  stage.same(Transcript.named('wire-die-signal').exit_status, master.exit_status, 'exit status')
end

Suite.test('acks and pings close their connection and are answered in the log alone', quotes: 'wire-ack.txt') do |stage|
  master = stage.start('-n 2 -m manual', habits: [:silent])
  first, second = [0, 1].map { |index| master.worker_at(index) }
  replay = Replay.new(stage, master, Transcript.named('wire-ack'))
  replay.naming([second, second, first, second, second]).run
  replay.compare_log
end

Suite.test('an ack under a timer is ignored with a word in the log', quotes: 'wire-ack-timer-mode.txt') do |stage|
  master = stage.start('-m 1000', habits: [:silent])
  replay = Replay.new(stage, master, Transcript.named('wire-ack-timer-mode'))
  replay.naming([master.worker_at(0)]).run
  replay.compare_log
end

Suite.test('every transcript is replayed by a test', quotes: 'issue 3: all transcripts replayed', only: :ours) do |stage|
  quoted = Suite.tests.map(&:quotes).join(' ')
  stage.same([], Transcript.names.reject { |name| quoted.include?("#{name}.txt") }, 'transcripts that no test quotes')
end
