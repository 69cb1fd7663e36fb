# Masters whose workers are watched: by what they note of themselves, and by what the master says of them.

class Crew
  WITNESS = File.expand_path('../witness.rb', __dir__)

  # Dies at once while there is a file `broken`, and is worker.rb otherwise; `births` has a line for each time that it was born.
  FRAGILE = ['/bin/sh', '-c', 'echo $$ >>births; if [ -e broken ]; then exit 1; fi; exec ./worker'].freeze

  attr_reader :master, :elders

  # `elders` are those that serve at first, by their indexes. Their program is the witness unless another one is given.
  def self.serving(stage, count, options, program: ['./witness.rb'], **more)
    master = stage.start("-n #{count} -m manual #{options}", program: program, files: [WITNESS], **more)
    master.wait_for_log("Up to #{count} / #{count} manual ACKs")
    master.wait_until_ready(*master.wait_for_workers(count))
    new(master)
  end

  # Those that never ack, and so only are there.
  def self.silent(stage, count, options, **more)
    master = stage.start("-n #{count} -m manual #{options}", habits: [:silent], **more)
    master.wait_until_ready(*master.wait_for_workers(count))
    new(master)
  end

  def initialize(master)
    @master = master
    @elders = by_index.values
  end

  # The master's word of every worker. Ruby's may have another child for a moment, after a re-exec.
  def children
    master.state[:children].select { |_, child| child[:type] == :worker }
  end

  def by_index
    children.sort_by { |_, child| child[:index] }.to_h { |pid, child| [child[:index], pid] }
  end

  # The next one that is not among these, ready.
  def another(known)
    Wait.until('there is another worker') { (master.workers - known).any? }
    (master.workers - known).first.tap { |pid| ready(pid) }
  end

  # Waits for workers that may not have begun yet.
  def ready(*pids)
    Wait.until("#{pids} have begun") { (pids - master.workers).empty? }
    master.wait_until_ready(*pids)
  end

  def ack(pid)
    client = master.connect
    client.write(Client.frame('command' => 'worker:ack', 'pid' => pid))
    client.close
    Wait.until("#{pid} is acked") { children.fetch(pid)[:acked] }
  end

  # Those that the master has told to go.
  def told
    children.select { |_, child| child[:signaled].any? }.keys
  end

  def command(name, args = nil)
    master.connect.ask({ 'command' => name, 'args' => args, 'id' => 1 }.compact)['message']
  end

  def signal(name)
    Process.kill(name, master.pid)
  end

  # What each elder has been told, in order.
  def signals
    elders.map { |pid| master.notes(pid) - ['ready'] }
  end

  def kill(*pids)
    pids.each do |pid|
      Process.kill(:KILL, pid)
    rescue Errno::ESRCH
      # It has ended by itself.
    end
    Wait.until("#{pids} are gone") { (master.workers & pids).empty? }
  end

  def births
    path = File.join(master.directory, 'births')
    File.exist?(path) ? File.readlines(path, chomp: true).map(&:to_i) : []
  end

  # The master's own lines with this, without what stands before the text.
  def lines(pattern)
    texts = master.log.lines(chomp: true).map { |line| line[/\A\[MASTER #{master.pid}\] \w+: (.*)/, 1] }
    texts.compact.grep(pattern)
  end

  # The line about a kill, once it is there. How many seconds it tells of is measured.
  def kill_line(pid)
    Wait.until("the log tells of a kill of #{pid}") { lines(/\AChild #{pid} is still active after \d+s\. Sending SIGKILL\.\z/).first }
  end

  # After how many seconds it was killed.
  def killed_after(pid)
    Integer(kill_line(pid)[/after (\d+)s/, 1])
  end

  # Until the last of these lines is written, which may be after what it tells of; then all stand there, in this order.
  def tells(stage, expected)
    Wait.until("the log has #{expected.last.inspect}") { lines(expected.last).any? }
    stage.same(expected, lines(Regexp.union(expected)).last(expected.size), 'what the log says')
  end

  # Names beside those that the suite itself has put there.
  def files
    Dir.children(master.directory).grep(/\Aeinhorn.*\.(sock|pid|lock)\z/).sort
  end
end
