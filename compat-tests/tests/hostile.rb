# Lines that killed Ruby's master (E01), sent to both.

module Hostile
  DIFFERS = '| a request that is no plain YAML |'.freeze

  # How long a master may take to die.
  DEATH_S = 3

  # What killed it, and what ours answers.
  LINES = {
    '*a' => 'Could not parse command',
    '{"a": *x}' => 'Could not parse command',
    '!!float x' => 'Could not parse command',
    '--- !ruby/object:Object {}' => 'Could not parse command',
    '{"command": 2020-01-01}' => /\AUnrecognized command: /
  }.freeze
end

Hostile::LINES.each do |line, answer|
  Suite.test("the line #{line} ends the master", quotes: 'other.txt, E01', differs: Hostile::DIFFERS) do |stage|
    master = stage.start('-m manual')
    client = master.connect
    client.write("#{line}\n")
    stage.holds('the connection is closed') { client.ends_without_a_word? }
    stage.same(1, master.exit_status, 'exit status')
  end

  Suite.test("the line #{line} is answered, and nothing else happens", quotes: 'E01', only: :ours) do |stage|
    master = stage.start('-m manual')
    workers = master.wait_for_workers(1)
    client = master.connect
    client.write("#{line}\n")
    stage.holds("it is answered #{answer.inspect}") { answer === client.receive['message'] }
    stage.same('Welcome', client.ask('command' => 'ehlo')['message'][0, 7], 'the next answer')
    stage.same(workers, master.workers, 'the workers')
  end
end

Suite.test('a greeting beyond ASCII ends the master', quotes: 'other.txt', differs: Hostile::DIFFERS) do |stage|
  master = stage.start('-m manual')
  client = master.connect
  client.write(%({"command":"ehlo","user":"h\u00e9"}\n))
  client.read_line
  stage.holds('the connection is closed') { client.ends_without_a_word?(Hostile::DEATH_S) }
  stage.same(1, master.exit_status, 'exit status')
end

Suite.test('a greeting beyond ASCII is returned', quotes: 'other.txt', only: :ours) do |stage|
  client = stage.start('-m manual').connect
  client.write(%({"command":"ehlo","user":"h\u00e9 \u{1F600}"}\n))
  stage.same("Welcome, h\u00e9 \u{1F600}!", client.receive['message'][/\A.*!/], 'the greeting')
end

Suite.test('bytes that are no UTF-8 are answered', quotes: 'wire-unknown.txt', only: :ours) do |stage|
  client = stage.start('-m manual').connect
  client.write("\xff\xfe\n".b)
  stage.same({ 'message' => 'Could not parse command' }, client.receive, 'the answer')
end
