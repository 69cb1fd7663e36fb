# Preloading (-p): workers that are forked from code that was loaded once. Each tells what it found, see preloaded.rb.

require 'json'

module Preload
  PROGRAM = File.expand_path('../preloaded.rb', __dir__)

  # A master with so many preloaded workers, and what they found, by their indexes.
  def self.born(stage, options = '', count: 2, path: './preloaded.rb', files: [PROGRAM])
    program = %w[ruby ./preloaded.rb one two]
    master = stage.start("-n #{count} -s 0.1 -m 0 -p #{path} #{options}", program: program, files: files)
    [master, *facts(master, count)]
  end

  def self.facts(master, count)
    found = master.wait_for_workers(count).map { |pid| told(master, pid) }
    found.sort_by { |facts| facts['einhorn']['EINHORN_CHILD_INDEX'].to_i }
  end

  def self.told(master, pid)
    JSON.parse(File.read(File.join(master.directory, 'workers', pid.to_s))).merge('pid' => pid)
  end

  # A file that cannot be preloaded, beside the program.
  def self.broken(name, text)
    directory = Dir.mktmpdir('compat-')
    path = File.join(directory, name)
    File.write(path, text)
    yield path
  ensure
    FileUtils.rm_rf(directory)
  end
end

Suite.test('preload: workers are forked from one process, and are children of the master', quotes: 'lib/einhorn/command.rb, spinup') do |stage|
  master, *workers = Preload.born(stage)
  stage.same(1, workers.map { |facts| facts['loaded_by'] }.uniq.size, 'how often it was loaded')
  workers.each do |facts|
    stage.holds('it was loaded before the fork') { facts['loaded_by'] != facts['pid'] }
    stage.same([master.pid, facts['pid']], facts.values_at('parent', 'group'), 'parent and group')
    stage.same([%w[one two], 'yes'], facts.values_at('argv', 'set_while_loaded'), 'what it has of its loading')
    stage.same('ruby ./preloaded.rb one two', facts['title'], 'its title')
    stage.same([0, 0], facts.values_at('ignored', 'blocked'), 'signals that are ignored or blocked')
  end
  stage.holds('random numbers differ') { workers.map { |facts| facts['random'] }.uniq.size == workers.size }
end

Suite.test('preload: with a command name the title is another', quotes: 'lib/einhorn.rb, worker_ps_name') do |stage|
  _, facts = Preload.born(stage, '-c web -d einhorn.sock', count: 1)
  stage.same('ruby web', facts['title'], 'its title')
end

Suite.test('preload: a worker finds the variables and the sockets of any worker', quotes: 'worker-environment.txt, second scene') do |stage|
  master, *workers = Preload.born(stage, '-b 127.0.0.1:0 -b 127.0.0.1:0,r,n')
  workers.each_with_index do |facts, index|
    known = facts['einhorn'].reject { |name, _| name.match?(/\AEINHORN_(FDS|FD_FAMILY_\d+|FD_\d+)\z/) }
    stage.same({ 'EINHORN_CHILD_INDEX' => index.to_s, 'EINHORN_FD_COUNT' => '2', 'EINHORN_MASTER_PID' => master.pid.to_s,
                 'EINHORN_SOCK_PATH' => File.join(master.directory, 'einhorn.sock') }, known, 'the variables')
    stage.holds('the sockets are the very ones of the master') do
      descriptors = Birth.new(master.pid).descriptors
      facts['sockets'].size == 2 && facts['sockets'].all? { |socket| descriptors.value?(socket) }
    end
    paths = [File::NULL, File.join(master.directory, 'stdout'), File.join(master.directory, 'log')]
    stage.same(paths, facts['streams'], 'standard input, output and error')
  end
end

Suite.test('preload: the state and the log say that it was loaded', quotes: 'lib/einhorn.rb, preload') do |stage|
  master, = Preload.born(stage)
  stage.same([true, './preloaded.rb'], master.state.values_at(:preloaded, :path), 'what the state says')
  ['Requiring ./preloaded.rb (if this hangs, make sure your code can be properly loaded as a library)',
   'Successfully loaded ./preloaded.rb', 'About to tear down Einhorn state and run einhorn_main',
   'Set ARGV = ["one", "two"]', 'Set $0 = "ruby ./preloaded.rb one two",  ARGV = ["one", "two"]'].each { |line| master.wait_for_log(line) }
end

{ 'raises' => ["raise 'broken'\n", 'could not load ./broken.rb: broken (RuntimeError)'],
  'needs what is not there' => ["require 'no/such/file'\n", 'could not load ./broken.rb: cannot load such file -- no/such/file (LoadError)'],
  'has no einhorn_main' => ["\n", 'loaded ./broken.rb, but no einhorn_main method was defined'] }.each do |what, (text, line)|
  Suite.test("preload: the workers of a file that #{what} are executed", quotes: 'lib/einhorn.rb, preload') do |stage|
    Preload.broken('broken.rb', text) do |path|
      master, facts = Preload.born(stage, count: 1, path: './broken.rb', files: [Preload::PROGRAM, path])
      stage.same(facts['pid'], facts['loaded_by'], 'who loads it')
      stage.same(false, master.state[:preloaded], 'what the state says')
      master.wait_for_log("Proceeding with postload -- #{line}")
    end
  end
end

Suite.test('preload: an upgrade loads anew', quotes: 'lib/einhorn.rb, run') do |stage|
  master, first = Preload.born(stage, count: 1)
  client = master.connect
  client.write(Client.frame('command' => 'upgrade', 'id' => 1))
  client.receive_to_the_end
  Wait.until('there is another worker') { master.workers.any? && !master.workers.include?(first['pid']) }
  second = Preload.facts(master, 1).first
  stage.same([master.pid, true], [second['parent'], second['loaded_by'] != second['pid']], 'how it was made')
end
