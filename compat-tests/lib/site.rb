# A host on which an application is installed as its operators do it, with shell scripts that were written for einhorn. `bin` is
# first in PATH, with the subject as `einhorn`, its client as `einhornsh` and the scripts of compat-tests/deploy. Closing it
# leaves no process and no file behind.

require 'fiddle'
require 'fileutils'
require 'tmpdir'

class Site
  SCRIPTS = File.expand_path('../deploy', __dir__)

  # What a command line came to: what it wrote to stdout and stderr, and its exit status.
  Result = Struct.new(:output, :status)

  # A program of a release: it notes whose it is, and becomes the worker of the suite, which stands beside it.
  RELEASE = %(#!/bin/sh\necho "release %s" >>"workers/$$"\nexec ./worker.rb\n)

  # prctl(2): an orphaned descendant becomes our child, as it becomes that of init elsewhere. The init of a test machine may
  # not reap soon enough for a script that waits by `kill -0`.
  PR_SET_CHILD_SUBREAPER = 36

  attr_reader :directory

  # The client that belongs to a subject, as words.
  def self.client_of(subject)
    *before, file = subject.command
    [*before, subject.ours? ? File.join(File.dirname(file), 'einhyrningsinsctl') : file.sub(/einhorn\z/, 'einhornsh')]
  end

  # Where a command is, by its name or its path.
  def self.found(command)
    return command if command.include?('/')

    files = ENV.fetch('PATH').split(':').map { |directory| File.join(directory, command) }
    files.find { |file| File.executable?(file) } || raise("there is no #{command} in PATH")
  end

  def initialize(subject)
    @subject = subject
    @ended = {}
    @directory = File.realpath(Dir.mktmpdir('site-'))
    %w[bin tmp shared/workers].each { |name| FileUtils.mkdir_p(path(name)) }
    FileUtils.cp(Dir[File.join(SCRIPTS, '*')], path('bin'), preserve: true)
    install('einhorn', subject.command)
    install('einhornsh', Site.client_of(subject))
    Site.adopt_orphans(true)
  end

  def path(*names)
    File.join(directory, *names)
  end

  # Puts a program of one or more words into `bin`, as a link where it is one file.
  def install(name, words)
    FileUtils.rm_f(path('bin', name))
    command, *rest = words
    return FileUtils.ln_s(Site.found(command), path('bin', name)) if rest.empty?

    File.write(path('bin', name), %(#!/bin/sh\nexec #{Shellwords.join([Site.found(command), *rest])} "$@"\n), perm: 0o755)
  end

  # Makes releases/N, whose workers note their release.
  def release(number)
    FileUtils.mkdir_p(path('releases', number.to_s))
    File.write(path('releases', number.to_s, 'worker'), format(RELEASE, number), perm: 0o755)
    FileUtils.install(Master::WORKER, path('releases', number.to_s, 'worker.rb'), mode: 0o755)
    FileUtils.ln_s('../../shared/workers', path('releases', number.to_s, 'workers'))
  end

  # Has the shell do this, in the directory of the application. What it leaves in the background must not be waited for.
  def sh(line)
    pid = Process.spawn(environment, 'sh', '-c', line, chdir: directory, in: File::NULL, %i[out err] => path('output'))
    @ended.delete(pid)
    Wait.until("#{line} ends") { reap && @ended[pid] }
    Result.new(File.read(path('output')), @ended[pid].exitstatus)
  end

  # The pid in the pid file, as soon as it is there.
  def master(pidfile)
    Wait.until("there is #{pidfile}") { File.size?(path(pidfile)) && Integer(File.read(path(pidfile)).strip, 10) }
  end

  # The exit status of a process that a script has left behind, once it has ended by itself.
  def exit_status(pid)
    Wait.until("#{pid} ends") { reap && @ended[pid] }
    @ended[pid].exitstatus
  end

  # The pids of living workers that have begun their work.
  def workers
    Dir.children(path('shared', 'workers')).map(&:to_i).sort.select { |pid| directory_of(pid) }
  end

  # Until there are so many workers, they are ready, and have noted this.
  def wait_for_workers(count, note = 'ready')
    Wait.until("there are #{count} workers with the note #{note.inspect}") do
      workers if workers.size == count && workers.all? { |pid| (['ready', note] - notes(pid)).empty? }
    end
  end

  def notes(worker)
    File.readlines(path('shared', 'workers', worker.to_s), chomp: true)
  end

  # Where a living process of this host works.
  def directory_of(pid)
    at = File.readlink("/proc/#{pid}/cwd")
    at if "#{at}/".start_with?("#{directory}/")
  rescue Errno::ENOENT, Errno::EACCES, Errno::ESRCH
    nil
  end

  # The state document of the master at this socket.
  def state(socket)
    client = Client.new(path(socket))
    Client.load(client.ask('command' => 'state', 'id' => 1)['message'])[:state]
  ensure
    client&.close
  end

  def log
    File.exist?(path('log')) ? File.read(path('log')) : ''
  end

  def wait_for_log(text)
    Wait.until("the log has #{text.inspect}") { log.include?(text) }
  end

  def close
    Wait.until('all processes are gone') { reap && kill_processes.empty? }
    FileUtils.remove_entry(directory)
  ensure
    Site.adopt_orphans(false)
  end

  def self.adopt_orphans(whether)
    types = [Fiddle::TYPE_INT, *[Fiddle::TYPE_LONG] * 4]
    prctl = Fiddle::Function.new(Fiddle::Handle::DEFAULT['prctl'], types, Fiddle::TYPE_INT)
    raise 'prctl(2) fails' unless prctl.call(PR_SET_CHILD_SUBREAPER, whether ? 1 : 0, 0, 0, 0).zero?
  end

  private

  def environment
    inherited = ENV.keys.grep(/\AEINHORN_/).to_h { |name| [name, nil] }
    inherited.merge(@subject.environment, 'PATH' => "#{path('bin')}:#{ENV.fetch('PATH')}", 'TMPDIR' => path('tmp'),
                                          'APP' => directory, 'PIDFILE' => path('shared', 'myapp.pid'), 'LOG' => path('log'))
  end

  def reap
    while (pid, status = Process.wait2(-1, Process::WNOHANG))
      @ended[pid] = status
    end
    true
  rescue Errno::ECHILD
    true
  end

  def kill_processes
    Dir.children('/proc').grep(/\A\d+\z/).map(&:to_i).select { |pid| directory_of(pid) }.each do |pid|
      Process.kill(:KILL, pid)
    rescue Errno::ESRCH
      # It was faster.
    end
  end
end
