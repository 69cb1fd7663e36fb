# Runs einhorn's own integration tests, as they are, on the original first and then on our programs, in copies of its sources of
# which only bin/ differs.
#
#   EINHORN_SOURCE=DIRECTORY EINHORN_OURS=target/debug/einhyrningsins ruby compat-tests/theirs/run.rb [PATTERN]
#
# PATTERN chooses tests by their names. What the tests want of bundler and gems but minitest stands in gems/ and bin/.

require 'fileutils'
require 'rbconfig'
require 'tmpdir'

# What fails on ours, and why. It must: a row that is not needed any more is to go.
EXCEPTIONS = {
  'when invoked without args: prints usage and exits with 1' =>
    'it wants the first line of its usage text, and its exit code'
}.freeze

# What may pass or fail on ours, and why.
CHANCES = {
  'handling environments on upgrade::when running with --reexec-as: cleans up if a child dies during the reexec' =>
    'ours fills the slot at once with a worker of the old version, which may still be on its way out when the upgrade is done; ' \
    'if it is told to go between its ack and its trap, it is gone'
}.freeze

HERE = __dir__

# Their tests wait for a master, and wait again when it does not end.
CEILING_S = 600

# A copy of the sources with a temporary directory of its own.
class Tree
  # `programs` take the place of those in bin/, by their names.
  def initialize(source, programs)
    @root = File.realpath(Dir.mktmpdir('compat-theirs-'))
    @tree = File.join(@root, 'einhorn')
    FileUtils.cp_r(source, @tree)
    programs.each { |name, path| FileUtils.ln_sf(path, File.join(@tree, 'bin', name)) }
    @temporary = File.join(@root, 'tmp')
    FileUtils.mkdir(@temporary)
  end

  # The outcome of each test by its name.
  def outcomes(arguments)
    files = Dir[File.join(@tree, 'test', 'integration', '*.rb')].reject { |file| file.end_with?('_lib.rb') }.sort
    raise "no tests in #{@tree}/test/integration" if files.empty?

    loading = 'ARGV.take_while { |word| word != "--" }.each { |file| load(file) }; ARGV.shift(ARGV.index("--") + 1)'
    words = ['-e', loading, *files, '--', *arguments]
    carry_out(Process.spawn(environment, RbConfig.ruby, '-W0', *words, chdir: @tree, in: File::NULL))
    lines = File.exist?(noted) ? File.readlines(noted, chomp: true) : []
    lines.to_h { |line| line.split("\t", 2).reverse }
  end

  def close
    left.each { |pid| kill(pid) }
    FileUtils.rm_rf(@root)
  end

  private

  def carry_out(pid)
    deadline = now + CEILING_S
    until Process.wait(pid, Process::WNOHANG)
      if now > deadline
        Process.kill(:KILL, pid)
        Process.wait(pid)
        puts "the tests have not ended within #{CEILING_S} s"
        break
      end
      sleep 0.1
    end
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def noted
    File.join(@root, 'outcomes')
  end

  def environment
    programs = [File.join(HERE, 'bin'), File.join(@tree, 'bin'), ENV.fetch('PATH')].join(':')
    libraries = [File.join(HERE, 'gems'), File.join(@tree, 'lib')].join(':')
    ENV.keys.grep(/\AEINHORN_/).to_h { |name| [name, nil] }
       .merge('PATH' => programs, 'RUBYLIB' => libraries, 'TMPDIR' => @temporary, 'OUTCOMES' => noted)
  end

  # Processes that a test has left. They are in the tree, where the tests run; a title may have overwritten their environment.
  def left
    pids = Dir.children('/proc').grep(/\A\d+\z/).map(&:to_i)
    pids.select do |pid|
      File.readlink("/proc/#{pid}/cwd").start_with?("#{@root}/")
    rescue SystemCallError
      false
    end
  end

  def kill(pid)
    Process.kill(:KILL, pid)
  rescue Errno::ESRCH
    nil
  end
end

def run(name, source, programs)
  puts "#{name}:"
  $stdout.flush
  tree = Tree.new(source, programs)
  tree.outcomes(ARGV.empty? ? [] : ['--name', "/#{ARGV.first}/"])
ensure
  tree&.close
end

# What is wrong with ours, a line each.
def faults(original, ours)
  (original.keys | ours.keys).sort.filter_map do |test|
    before, seen = [original, ours].map { |outcomes| outcomes.fetch(test, 'missing') }
    puts "#{seen}: #{test}#{" (the original: #{before})" if before != seen}"
    puts "  known: #{EXCEPTIONS[test] || CHANCES[test]}" if EXCEPTIONS[test] || CHANCES[test]
    fault(test, seen)
  end
end

def fault(test, seen)
  allowed = EXCEPTIONS.key?(test) ? ['failed'] : ['passed']
  allowed = %w[passed failed] if CHANCES.key?(test)
  "#{test}: #{seen}, and not #{allowed.join(' or ')}" unless allowed.include?(seen)
end

source = File.expand_path(ENV.fetch('EINHORN_SOURCE', ''))
unless File.directory?(File.join(source, 'test', 'integration'))
  abort 'EINHORN_SOURCE has to name a directory with the sources of einhorn, its tests among them'
end

program = File.expand_path(ENV.fetch('EINHORN_OURS', File.join(HERE, '../../target/debug/einhyrningsins')))
ours = { 'einhorn' => program, 'einhornsh' => File.join(File.dirname(program), 'einhyrningsinsctl') }
original = run('the original', source, {})
abort "no test ran #{ARGV.first}" if original.empty?
found = faults(original, run('ours', source, ours))
puts found.map { |fault| "FAULT #{fault}" }
exit(found.empty? ? 0 : 1)
