# What the kernel tells of a process: what it was born with, and what it holds.

class Birth
  # A program that leaves everything as it found it. Only its name has to become this before it is looked at.
  PLAIN = ['/bin/sh', '-c', ': >workers/$$; exec sleep 100000'].freeze
  NAME = 'sleep'

  # The worker of a plain program, once it has become that.
  def self.of(worker)
    birth = new(worker)
    Wait.until("#{worker} is its program") { birth.arguments.first == NAME }
    birth
  end

  attr_reader :pid

  def initialize(pid)
    @pid = pid
  end

  def arguments
    read('cmdline').split("\0", -1)[0..-2]
  end

  # As ps shows it.
  def title
    read('cmdline').tr("\0", ' ').strip
  end

  def environment
    read('environ').split("\0").to_h { |variable| variable.split('=', 2) }
  end

  # What the masters set.
  def einhorn
    environment.select { |name, _| name.start_with?('EINHORN_') }
  end

  def directory
    link('cwd')
  end

  # Number and target of each open descriptor. One may be closed meanwhile: that which the directory is read by, in our own.
  def descriptors
    numbers = Dir.children("/proc/#{pid}/fd").map(&:to_i).sort
    numbers.to_h { |fd| [fd, target(fd)] }.compact
  end

  # The port that the kernel has for a listening socket, nil where it is none.
  def port_of(fd)
    inode = link("fd/#{fd}")[/\Asocket:\[(\d+)\]\z/, 1]
    rows = File.readlines('/proc/net/tcp').drop(1).map(&:split)
    row = rows.find { |columns| columns[9] == inode && columns[3] == LISTENING }
    row && row[1].split(':').last.hex
  end

  def parent
    stat[1].to_i
  end

  def group
    stat[2].to_i
  end

  def niceness
    stat[16].to_i
  end

  # Signals as the kernel prints their sets: `SigBlk`, `SigIgn`.
  def signals(set)
    read('status')[/^#{set}:\s*(\h+)/, 1].hex
  end

  LISTENING = '0A'
  private_constant :LISTENING

  private

  def target(descriptor)
    link("fd/#{descriptor}")
  rescue Errno::ENOENT
    nil
  end

  # From the state on, as the name before it may hold anything.
  def stat
    read('stat').rpartition(') ').last.split
  end

  def read(name)
    File.read("/proc/#{pid}/#{name}")
  end

  def link(name)
    File.readlink("/proc/#{pid}/#{name}")
  end
end
