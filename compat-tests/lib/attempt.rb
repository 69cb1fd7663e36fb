# A command line that is expected to end by itself, and what came of it.

require 'fileutils'
require 'tmpdir'

class Attempt
  CEILING_S = 60

  # `status` is the exit code, `files` are the names that stand in the directory afterwards.
  attr_reader :out, :err, :status, :files

  # `words` are options and program. It runs in an empty directory, or in another one that is given. `called` is the name that
  # ours is called by, which is that of the original unless a test says otherwise.
  def self.make(subject, words, directory: nil, called: 'einhorn')
    return new(subject, called).run(words, directory) if directory

    Dir.mktmpdir('compat-') { |empty| new(subject, called).run(words, File.realpath(empty)) }
  end

  def initialize(subject, called)
    @environment = ENV.keys.grep(/\AEINHORN_/).to_h { |name| [name, nil] }.merge(subject.environment)
    program, *rest = subject.command
    @command = [subject.ours? ? [program, called] : [program, program], *rest]
  end

  def run(words, directory)
    Dir.mktmpdir('compat-out-') do |apart|
      out, err = %w[out err].map { |name| File.join(apart, name) }
      pid = Process.spawn(@environment.merge('TMPDIR' => directory), *@command, *words,
                          chdir: directory, in: File::NULL, out: out, err: err)
      @status = wait(pid, words)
      @out, @err = File.read(out), File.read(err)
    end
    @files = Dir.children(directory).sort
    self
  end

  # By an exit code, and not by a signal.
  def failed?
    !status.nil? && !status.zero?
  end

  private

  def wait(pid, words)
    ended = nil
    Wait.until("#{words} ends", ceiling_s: CEILING_S) { ended = Process.wait2(pid, Process::WNOHANG) }
    ended.last.exitstatus
  ensure
    end_by_force(pid) unless ended
  end

  # It has become a master. TERM ends its workers with it; what is in their way may be killed.
  def end_by_force(pid)
    Process.kill(:TERM, pid)
    Wait.until('it is gone', ceiling_s: 2) { Process.wait(pid, Process::WNOHANG) }
  rescue Wait::Timeout
    Process.kill(:KILL, pid)
    Process.wait(pid)
  end
end
