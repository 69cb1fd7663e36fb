# A master under test, in a directory of its own, with its workers. Closing it leaves no process and no file behind.

require 'fileutils'
require 'tmpdir'

class Master
  class Ended < StandardError; end

  WORKER = File.expand_path('../worker.rb', __dir__)

  attr_reader :pid, :directory

  # `options` are words that come before the program, which is `./worker`; `habits` are files that its workers look for, see
  # worker.rb; `socket` is where the options put the control socket. With `file`, a word of the subject's command, a link to it
  # at bin/einhorn is run in its place. Another `program`, by its words, finds the `files` that it needs beside it; it has to open
  # workers/PID, for this is how its processes are found.
  def self.start(subject, options, habits: [], socket: 'einhorn.sock', file: nil, program: ['./worker'], files: [])
    master = new(subject, habits, socket)
    master.bring(files)
    master.launch(options, file, program)
    master
  end

  def initialize(subject, habits, socket)
    @subject = subject
    @socket = socket
    @clients = []
    @directory = File.realpath(Dir.mktmpdir('compat-'))
    Dir.mkdir(path('workers'))
    FileUtils.install(WORKER, path('worker'), mode: 0o755)
    # What stands as <EINHORN> in the transcripts: one word, for `--reexec-as`.
    File.write(path('einhorn'), %(#!/bin/sh\nexec #{Shellwords.join(@subject.command)} "$@"\n), perm: 0o755)
    habits.each { |habit| take_up(habit) }
  end

  def bring(files)
    files.each { |file| FileUtils.cp(file, directory, preserve: true) }
  end

  def launch(options, file, program)
    link(file) if file
    command = @subject.command.map { |word| word == file ? path('bin', 'einhorn') : word }
    words = [*command, *options, '--', *program]
    inherited = ENV.keys.grep(/\AEINHORN_/).to_h { |name| [name, nil] }
    environment = inherited.merge(@subject.environment, 'TMPDIR' => directory)
    @pid = Process.spawn(environment, *words, chdir: directory, in: File::NULL, out: path('stdout'), err: path('log'))
    Wait.until("the control socket answers") do
      raise Ended, "the master ended with #{@status}" if over?

      connect.close
      true
    rescue Errno::ENOENT, Errno::ECONNREFUSED
      false
    end
  end

  def connect
    client = Client.new(path(@socket))
    @clients << client
    client
  end

  # Workers have this habit from now on.
  def take_up(habit)
    File.write(path(habit.to_s), '')
  end

  def give_up(habit)
    File.delete(path(habit.to_s))
  end

  # The pids of living workers that have begun their work.
  def workers
    known_workers.select { |pid| own?(pid) }
  end

  def wait_for_workers(count)
    Wait.until("there are #{count} workers") { workers if workers.size == count }
  end

  # Until the master's log has this text, which its workers do not write.
  def wait_for_log(text)
    Wait.until("the log has #{text.inspect}") { log.include?(text) }
  end

  # Until these workers have got as far as they go by themselves: their signal handlers are set, their ack is sent.
  def wait_until_ready(*pids)
    Wait.until("#{pids} are ready") { pids.all? { |pid| notes(pid).include?('ready') } }
  end

  # What a worker noted of itself: that it is `ready`, and signals by name.
  def notes(worker)
    File.readlines(path('workers', worker.to_s), chomp: true)
  end

  # The state document as any client sees it.
  def state
    client = connect
    Client.load(client.ask('command' => 'state', 'id' => 1)['message'])[:state]
  ensure
    client&.close
  end

  # The worker with this index, by the master's own word.
  def worker_at(index)
    pid, = state[:children].find { |_, child| child[:index] == index }
    pid
  end

  # Still known when the master is closed.
  def log
    @log || File.read(path('log'))
  end

  def kill_workers
    workers.each { |pid| kill(pid) }
  end

  # The exit status, once the master has ended by itself.
  def exit_status
    Wait.until('the master ends') { over? }
    @status.exitstatus
  end

  def over?
    @status ||= Process.wait2(pid, Process::WNOHANG)&.last
    !@status.nil?
  end

  def close
    return if @closed

    @closed = true
    @clients.each(&:close)
    unless over?
      kill(pid)
      Wait.until('the master is gone') { over? }
    end
    Wait.until('the workers are gone') { processes.each { |pid| kill(pid) }.empty? }
    @log = log
    FileUtils.remove_entry(directory)
  end

  private

  def link(file)
    Dir.mkdir(path('bin'))
    FileUtils.ln_s(File.expand_path(file), path('bin', 'einhorn'))
  end

  def path(*names)
    File.join(directory, *names)
  end

  def known_workers
    Dir.children(path('workers')).map(&:to_i).sort
  end

  # All that work in our directory: workers that have noted nothing yet would do so while the directory is removed.
  def processes
    Dir.children('/proc').grep(/\A\d+\z/).map(&:to_i).select { |pid| own?(pid) }
  end

  # A pid counts only while its process works in our directory: the number may have gone to a stranger.
  def own?(pid)
    File.readlink("/proc/#{pid}/cwd") == directory
  rescue Errno::ENOENT, Errno::EACCES, Errno::ESRCH
    false
  end

  def kill(pid)
    Process.kill(:KILL, pid)
  rescue Errno::ESRCH
    # It was faster.
  end
end
