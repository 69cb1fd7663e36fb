# Requests and replies as lines: joined, split, in YAML and in JSON.

require 'json'

module Framing
  EHLO = Client.frame('command' => 'ehlo', 'user' => "gdb\n100%", 'id' => 1).freeze

  # Once this has returned, the master has read what was written before it: it reads from all connections in turn.
  def self.let_read(other)
    other.ask('command' => 'ehlo')
  end
end

Suite.test('several requests in one write are answered in their order', quotes: 'issue 3: split and joined writes') do |stage|
  client = stage.start('-m manual').connect
  client.write((1..20).map { |id| Client.frame('command' => id.odd? ? 'ehlo' : 'nope', 'id' => id) }.join)
  answers = Array.new(20) { client.receive }
  stage.same((1..20).to_a, answers.map { |answer| answer['request_id'] }, 'ids')
  stage.same(%w[Welcome Unrecog] * 10, answers.map { |answer| answer['message'][0, 7] }, 'beginnings')
end

Suite.test('a request may come in two pieces, cut at any byte', quotes: 'issue 3: split and joined writes') do |stage|
  master = stage.start('-m manual')
  client, other = master.connect, master.connect
  client.write(Framing::EHLO)
  whole = client.read_line
  (1...Framing::EHLO.bytesize).each do |cut|
    client.write(Framing::EHLO.byteslice(0, cut))
    Framing.let_read(other)
    client.write(Framing::EHLO.byteslice(cut..))
    stage.same(whole, client.read_line, "the reply to a request cut at #{cut}")
  end
end

Suite.test('a request may come byte by byte', quotes: 'issue 3: split and joined writes') do |stage|
  master = stage.start('-m manual')
  client, other = master.connect, master.connect
  Framing::EHLO.each_char do |byte|
    client.write(byte)
    Framing.let_read(other)
  end
  stage.same("Welcome, gdb\n100%!", client.receive['message'][/\A.*!/m], 'the greeting')
end

Suite.test('a request may end where the next one has begun', quotes: 'issue 3: split and joined writes') do |stage|
  master = stage.start('-m manual')
  client, other = master.connect, master.connect
  client.write(Framing::EHLO + Framing::EHLO.byteslice(0, 9))
  stage.same(1, client.receive['request_id'], 'the first id')
  Framing.let_read(other)
  client.write(Framing::EHLO.byteslice(9..))
  stage.same(1, client.receive['request_id'], 'the second id')
end

Suite.test('a request may be JSON, on one line or escaped on several', quotes: 'wire-ehlo.txt') do |stage|
  client = stage.start('-m manual').connect
  message = { 'command' => 'ehlo', 'user' => "a\"b\\c\td", 'id' => ['x', { 'y' => nil }] }
  [JSON.generate(message), JSON.pretty_generate(message)].each do |json|
    client.write("#{Client.escape(json)}\n")
    answer = client.receive
    stage.same("Welcome, a\"b\\c\td!", answer['message'][/\A.*?!/], 'the greeting')
    stage.same(message['id'], answer['request_id'], 'the id')
  end
end

Suite.test('a client that asks for JSON gets one line of it', quotes: 'issue 3: "format":"json"', only: :ours) do |stage|
  master = stage.start('-m manual')
  worker, = master.wait_for_workers(1)
  client = master.connect
  asked = lambda do |message|
    client.write("#{JSON.generate(message.merge('format' => 'json'))}\n")
    JSON.parse(client.read_line)
  end
  stage.same({ 'message' => 'Could not parse command' }, client.ask('x'), 'the reply to a request without a format')
  stage.same({ 'message' => 'Verbosity set to 2', 'request_id' => 7 }, asked.call('command' => 'quieter', 'id' => 7), 'the reply')
  stage.same([worker.to_s], asked.call('command' => 'state')['state']['state']['children'].keys, 'the workers')
end

Suite.test('a reply is what Psych would write, however long and odd', quotes: 'wire-arguments.txt, wire-inc-dec.txt') do |stage|
  client = stage.start('-m manual').connect
  odd = [
    ['word ' * 40], ['w' * 200], ['a: b', '- c', '# d', "it's", '"'], [' x ', ''], [[[[]]]], [1.5e300, -0.0, 10**30], ["tab\there"],
    [nil, true, ['100%', '%0A', '%25']], ["a\nb\n", "\n"], ['~', 'null', 'y', '1:30', '0x1f'], ['\\', '\\n']
  ]
  odd.each do |argument|
    # A copy, for Psych writes the second of two equal objects as an alias, which ours refuses from clients.
    id = Marshal.load(Marshal.dump(argument))
    client.write(Client.frame('command' => 'signal', 'args' => [argument], 'id' => id))
    message = "Argument is a Array, not a string: #{argument.inspect}"
    stage.same(Client.frame('message' => message, 'request_id' => id), client.read_line, "the reply to #{argument.inspect}")
  end
end

Suite.test('a client that has closed its writing side is answered before the end', quotes: 'einhorn(1): nc -U one-liners') do |stage|
  client = stage.start('-m manual').connect
  client.write(Framing::EHLO)
  client.write_no_more
  stage.same(1, client.receive['request_id'], 'the id')
  stage.holds('the connection ends') { client.ends_without_a_word? }
end
