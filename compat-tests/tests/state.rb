# The state document: its bytes, and what Ruby makes of it.

module StateDocument
  TEXT = File.read(File.join(Transcript::DIRECTORY, 'state.txt'))

  # As the transcript was recorded, which its first lines do not tell.
  REEXEC = '--reexec-as=./einhorn'

  # einhorn's descriptor numbers mean nothing in themselves.
  def self.without_descriptors(text)
    text.gsub(/(?<=:bind_fds:)(?:(?:%0A|\n) *- \d+)+/) { |numbers| numbers.gsub(/\d+\z|\d+(?=%|\n)/) { '<FD>' } }
  end

  # The recorded text, with what ours has in its place where that is meant to differ.
  def self.recorded(stage, text, changes = {})
    known = without_descriptors(text)
    return known unless stage.ours?

    changes.inject(known) do |all, (line, (theirs, ours))|
      raise "the recording has no #{theirs.inspect}" unless all.include?(theirs)

      stage.differs(line)
      all.sub(theirs, ours)
    end
  end

  def self.compare(stage, master, recorded, seen)
    mask = Mask.new(master.pid)
    stage.holds("the document is\n#{recorded.gsub('%0A', "\n")}\nnot\n#{seen.gsub('%0A', "\n")}") { mask.match?(recorded, seen) }
  end

  def self.ask(master)
    client = master.connect
    client.write(Transcript.named('state').exchanges.first.request)
    client.read_line
  end
end

Suite.test('state shows a young master with two sockets', quotes: 'state.txt, first scene') do |stage|
  reply = Transcript.named('state').exchanges[0].replies.first
  recorded = StateDocument.recorded(stage, reply, '| `-l`, backlog |' => [':backlog: 100', ':backlog: 1024'])
  # It is recorded from the first second, before the workers count as up; a busy machine may miss that.
  master, seen = nil
  30.times do
    master&.close
    master = stage.start("-n 2 -b 127.0.0.1:0,r,n -b localhost:0 #{StateDocument::REEXEC}")
    seen = StateDocument.ask(master)
    break if seen.scan(':acked: false').size == 2
  end
  StateDocument.compare(stage, master, recorded, seen)
end

Suite.test('state shows every option and the last ping', quotes: 'state.txt, all options') do |stage|
  options = '-n 1 -b 127.0.0.1:0 -l 7 -s 2.0 --max-unacked 3 --max-upgrade-additional 4 --gc-before-fork -c nm -q -m manual ' \
            '-k -g --nice 0:0 --drop-env-var A --drop-env-var B -t 9 ' + StateDocument::REEXEC
  master = stage.start(options, habits: [:silent], socket: 'einhorn-nm.sock')
  worker = master.worker_at(0)
  [{ 'command' => 'worker:ack', 'pid' => worker },
   { 'command' => 'worker:ping', 'pid' => worker, 'request_id' => 'req-1' }].each do |message|
    client = master.connect
    client.write(Client.frame(message))
    stage.holds('the connection is closed') { client.ends_without_a_word? }
  end
  recorded = StateDocument.recorded(stage, Transcript.named('state').exchanges[1].replies.first)
  StateDocument.compare(stage, master, recorded, StateDocument.ask(master))
end

Suite.test('state shows old workers that linger after an upgrade', quotes: 'state.txt, after a smooth upgrade') do |stage|
  master = stage.start("-n 2 -s 0.1 -m manual #{StateDocument::REEXEC}", habits: [:linger])
  master.wait_for_log('Up to 2 / 2 manual ACKs')
  client = master.connect
  client.write(Client.frame('command' => 'upgrade', 'id' => 1))
  stage.same('Upgrade done', client.receive_to_the_end.last['message'], 'the last line')
  Wait.until('both old workers were told') { master.state[:children].values.count { |child| child[:signaled]&.any? } == 2 }
  decoded = StateDocument::TEXT[/\(decoded\)\n(.*)\z/m, 1]
  recorded = StateDocument.recorded(stage, decoded, '| `-l`, backlog |' => [':backlog: 100', ':backlog: 1024'])
  StateDocument.compare(stage, master, recorded, client.ask('command' => 'state')['message'])
end

Suite.test('state has no command line for a re-exec unless one was given', quotes: 'einhorn 1.1.1 as it runs') do |stage|
  master = stage.start('-m manual')
  stage.same([nil], master.state.values_at(:reexec_commandline), 'the command line')
end

Suite.test("Ruby's own loader reads state, with its symbols, sets, times and shared objects", quotes: 'state.txt') do |stage|
  master = stage.start('-n 2 -m manual')
  master.wait_for_log('Up to 2 / 2 manual ACKs')
  state = master.state
  children = state[:children]
  stage.same(master.workers, children.keys.sort, 'the workers')
  stage.same([0, 1], children.values.map { |child| child[:index] }.sort, 'their indexes')
  stage.same([[Set.new, :worker, true]], children.values.map { |child| child.values_at(:signaled, :type, :acked) }.uniq, 'the rest')
  times = children.values.map { |child| child[:spinup_time] }
  stage.holds('times are of this minute') { times.all? { |time| (Time.now - time).between?(0, 60) } }
  stage.holds('the last spinup is the very time of the last worker') { times.max.equal?(state[:last_spinup]) }
end
