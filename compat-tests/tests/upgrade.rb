# What clients are told of an upgrade that they asked for. The wait at -s is recorded as 0.1, and means nothing to the bytes.

module Upgrades
  # Ruby's master passes its state to the next one by a child of its own, and tells of its end at any moment.
  PASSER = /Exited state passing process/.freeze

  # A serving master with so many workers; `seconds` is the least time between two launches.
  def self.serving(stage, count, seconds: 0.1, options: '', **habits)
    master = stage.start("-n #{count} -s #{seconds} -m manual #{options}", **habits)
    master.wait_for_log("Up to #{count} / #{count} manual ACKs")
    master
  end

  # All lines that belong to one request.
  def self.read(client)
    lines = [client.read_line]
    lines << client.read_line while lines.last.include?('wait: true')
    lines
  end

  # `order` is :recorded, or :any where nothing in the conversation orders two of its lines.
  def self.compare(stage, master, exchange, lines, order: :recorded)
    stage.differs('| `===> Exited state passing process` |') if stage.ours? && exchange.replies.grep(PASSER).any?
    passers, seen = lines.partition { |line| line.match?(PASSER) }
    stage.same([], passers, 'lines about a state passer') if stage.ours?
    recorded = exchange.replies.grep_v(PASSER)
    recorded, seen = [recorded, seen].map { |all| all.sort_by { |line| line.gsub(/\d+|<PID>/, '') } } if order == :any
    stage.same(recorded.size, seen.size, "number of replies:\n#{lines.join}\n")
    mask = Mask.new(master.pid)
    recorded.zip(seen).each do |expected, line|
      what = "#{exchange.request.inspect} leads to\n  #{expected.inspect}, not\n  #{line.inspect}, in\n#{lines.join}"
      stage.holds(what) { mask.match?(expected, line) }
    end
  end

  # The recorded order needs a new worker to ack, and the old one to go, before the next launch is due; with ours, options can
  # see to it.
  def self.replay(stage, name, options: '', order: :recorded)
    master = serving(stage, 2, seconds: 0.7, options: options)
    client = master.connect
    Transcript.named(name).exchanges.each do |exchange|
      client.write(exchange.request)
      compare(stage, master, exchange, read(client), order: order)
    end
    master.wait_for_log('Upgraded successfully to version 2')
    stage.holds('a client without an id hears no more') { client.silent_for?(Replay::SILENCE_S) }
  end

  # A client that has asked for an upgrade, and had the first reply, where the program has gone meanwhile.
  def self.without_program(stage)
    master = serving(stage, 1)
    File.delete(File.join(master.directory, 'worker'))
    client = master.connect
    stage.same({ 'message' => 'Upgrading smoothly, as commanded', 'request_id' => 1, 'wait' => true },
               client.ask('command' => 'upgrade', 'id' => 1), 'the first reply')
    client
  end

  # The first upgrade's worker never acks, the second one's does. Yields each exchange with its client.
  def self.start_over(stage)
    master = serving(stage, 1)
    old = master.workers
    master.take_up(:silent)
    recording = Transcript.named('wire-upgrade-during-upgrade')
    first, second = %w[A B].map { |name| [recording.of(name).first, master.connect] }
    first[1].write(first[0].request)
    Wait.until('the silent worker is there') { (master.workers - old).any? }
    silent = (master.workers - old).first
    master.wait_until_ready(silent)
    master.give_up(:silent)
    second[1].write(second[0].request)
    [master, silent, [first, second].map { |exchange, client| [exchange, read(client)] }]
  end
end

Suite.test('a smooth upgrade is told step by step, and that it is done', quotes: 'wire-upgrade.txt') do |stage|
  Upgrades.replay(stage, 'wire-upgrade', options: stage.ours? ? '--max-upgrade-additional=1' : '')
end

Suite.test('a smooth upgrade that nothing puts in order is told by the same lines', quotes: 'wire-upgrade.txt', only: :ours) do |stage|
  Upgrades.replay(stage, 'wire-upgrade', order: :any)
end

Suite.test('a fleet upgrade is told step by step, and that it is done', quotes: 'wire-upgrade_fleet.txt') do |stage|
  Upgrades.replay(stage, 'wire-upgrade_fleet')
end

Suite.test('two clients watch one upgrade start over, which culls for a worker that never acked',
           quotes: 'wire-upgrade-during-upgrade.txt', differs: '| workers that never acked |') do |stage|
  master, _silent, told = Upgrades.start_over(stage)
  # The exit of the old worker and the ack of the new one come in any order.
  told.each { |exchange, lines| Upgrades.compare(stage, master, exchange, lines, order: :any) }
end

Suite.test('two clients watch one upgrade start over, which culls no worker for one that never acked',
           quotes: 'wire-upgrade-during-upgrade.txt', only: :ours) do |stage|
  _master, silent, told = Upgrades.start_over(stage)
  messages = told.map { |_exchange, lines| lines.map { |line| Client.load(Client.unescape(line))['message'] } }
  messages.each do |lines|
    stage.same('Upgrading smoothly, as commanded', lines.first, 'the first line')
    stage.same(["Sending USR2 to [#{silent}]"], lines.grep(/Sending/), 'who was told to go before the new worker served')
    stage.same('Upgrade done', lines.last, 'the last line')
  end
  started_over = messages.map { |lines| lines.drop_while { |line| !line.start_with?('Currently upgrading (0 / 1 ACKs;') } }
  stage.same(started_over[0], started_over[1], 'what the two clients hear from then on')
end

Suite.test('a client that did not ask hears nothing of an upgrade', quotes: 'wire-upgrade.txt, the connection without an id') do |stage|
  master = Upgrades.serving(stage, 1)
  asker, other = master.connect, master.connect
  stage.same('Welcome', other.ask('command' => 'ehlo')['message'][0, 7], 'the greeting')
  asker.write(Client.frame('command' => 'upgrade', 'id' => 1))
  stage.same('Upgrade done', asker.receive_to_the_end.last['message'], 'the last line')
  stage.holds('the other one hears nothing') { other.silent_for?(Replay::SILENCE_S) }
end

Suite.test('news of an upgrade wait for a client that does not read, between its other replies',
           quotes: 'einhorn-undocumented: unread replies and subscriptions survive') do |stage|
  master = Upgrades.serving(stage, 1)
  client = master.connect
  client.write(Client.frame('command' => 'upgrade', 'id' => 'news'))
  master.wait_for_log('Upgraded successfully to version 1')
  client.write((1..50).map { |id| Client.frame('command' => 'ehlo', 'id' => id) }.join)
  messages = Array.new(50) { client.receive }
  messages << client.receive until messages.count { |message| message['request_id'] != 'news' } == 50
  news, answers = messages.partition { |message| message['request_id'] == 'news' }
  stage.same((1..50).to_a, answers.map { |message| message['request_id'] }, 'answers in their order')
  stage.same('Upgrade done', news.last['message'], 'the last news')
  stage.same([true] * (news.size - 1) + [nil], news.map { |message| message['wait'] }, 'wait')
end

Suite.test('an upgrade while the master goes down is dropped, and its client waits for ever',
           quotes: 'wire-die.txt', differs: '| an upgrade that comes to nothing |') do |stage|
  master = Upgrades.serving(stage, 1, habits: [:linger])
  client = master.connect
  client.ask('command' => 'die', 'args' => [])
  stage.same(true, client.ask('command' => 'upgrade', 'id' => 1)['wait'], 'wait')
  # What ours says then comes sooner or later.
  stage.holds('nothing more follows') { client.silent_for?(stage.ours? ? Client::PATIENCE_S : Replay::SILENCE_S) }
end

Suite.test('an upgrade whose program is gone begins all the same', quotes: 'einhorn-bugs: E09, E27',
           differs: '| an upgrade that comes to nothing |') do |stage|
  client = Upgrades.without_program(stage)
  news = { 'message' => 'Starting smooth upgrade from version 0...', 'request_id' => 1, 'wait' => true }
  stage.same(news, client.receive, 'the news')
end

Suite.test('an upgrade whose program is gone is refused, and its client is told why', quotes: 'E09', only: :ours) do |stage|
  client = Upgrades.without_program(stage)
  stage.same({ 'message' => 'Upgrade failed: cannot run ./worker: no such file', 'request_id' => 1 }, client.receive, 'the news')
end
