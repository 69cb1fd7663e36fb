#!/usr/bin/env ruby
# Plays a master of Ruby's einhorn where none is installed: it hands itself over, and takes over, by the state document as it was
# recorded (handover.txt), through Ruby's own YAML and with the classes that einhorn permits. It knows as much of einhorn as the
# tests need, and shares nothing with it.

require_relative 'lib/client'
require 'optparse'
require 'shellwords'
require 'tmpdir'

class StandIn
  # A client of the control socket, with what it has said and is still to be told.
  Connection = Struct.new(:socket, :said, :unsaid, :waits, keyword_init: true)

  def initialize
    @state = { children: {}, config: { number: 1, backlog: 100, seconds: 1 }, versions: {}, version: 0, sockets: {}, orig_cmd: nil,
               bind: [], bind_fds: [], bound_ports: [], cmd: nil, script_name: nil, respawn: true, upgrading: false,
               smooth_upgrade: false, reloading_for_upgrade: false, path: nil, cmd_name: nil, verbosity: 1, generation: 0,
               last_spinup: nil, ack_mode: { type: :timer, timeout: 1 }, kill_children_on_exit: false,
               command_socket_as_fd: false, socket_path: nil, pidfile: nil, lockfile: nil, consecutive_deaths_before_ack: 0,
               last_upgraded: nil, nice: { master: nil, worker: nil, renice_cmd: '/usr/bin/renice' },
               reexec_commandline: [$PROGRAM_NAME], drop_environment_variables: [], signal_timeout: nil, preloaded: false }
    @connections = []
    @waker, @bell = IO.pipe
    @bound = []
  end

  def run(args)
    command = options.order(args)
    Process.setproctitle("einhorn: #{command.join(' ')}")
    %w[HUP INT USR2 CHLD].each { |signal| trap(signal) { @bell.write_nonblock("#{signal}\n") } }
    @resumed ? take_up : start(command)
    loop { turn }
  end

  private

  def options
    OptionParser.new do |on|
      on.on('--upgrade-check') { exit(0) }
      on.on('--version') { puts('1.1.1') || exit(0) }
      on.on('--with-state-fd FD') { |fd| resume(IO.for_fd(Integer(fd))) }
      on.on('-n N') { |number| @state[:config][:number] = Integer(number) }
      on.on('-s SECONDS') { |seconds| @state[:config][:seconds] = Float(seconds) }
      on.on('-m MODE') { @state[:ack_mode] = { type: :manual } }
      on.on('-b ADDRESS') { |address| @state[:bind] << [address[/\A[^:]+/], Integer(address[/:(\d+)/, 1]), address.split(',').drop(1)] }
      on.on('--reexec-as=COMMAND') { |command| @state[:reexec_commandline] = Shellwords.split(command) }
    end
  end

  def start(command)
    @state[:orig_cmd] = @state[:cmd] = command
    @bound = @state[:bind].map { |host, port, _| TCPServer.new(host, port) }
    @state[:bind_fds] = @bound.map(&:fileno)
    @state[:bound_ports] = @bound.map { |server| server.addr[1] }
    @server = UNIXServer.new(socket_path)
    File.write(File.join(Dir.tmpdir, 'einhorn.pid'), Process.pid)
    launch until workers.size == @state[:config][:number]
  end

  def resume(state)
    read = YAML.safe_load(state.read, permitted_classes: Client::PERMITTED, aliases: true)
    state.close
    @resumed = true
    @state = read.fetch(:state)
    @bound = @state[:bind_fds].map { |fd| TCPServer.for_fd(fd) }
    read.fetch(:persistent_descriptors).each { |descriptor| adopt(descriptor) }
  end

  def adopt(descriptor)
    case descriptor.fetch(:class)
    when 'Einhorn::Event::CommandServer' then @server = UNIXServer.for_fd(descriptor.fetch(:server))
    when 'Einhorn::Event::Connection'
      @connections << Connection.new(socket: UNIXSocket.for_fd(descriptor.fetch(:socket)), said: descriptor[:read_buffer] || '',
                                     unsaid: descriptor[:write_buffer] || '', waits: descriptor.fetch(:subscriptions)[:upgrade])
    end
  end

  def take_up
    log("taken up at generation #{@state[:generation]}")
    upgrade if @state[:reloading_for_upgrade]
  end

  def upgrade
    @state.update(reloading_for_upgrade: false, upgrading: true, version: @state[:version] + 1)
    publish('Starting smooth upgrade')
    @state[:config][:number].times { launch }
  end

  def workers
    @state[:children].select { |_, child| child[:type] == :worker }
  end

  def launch
    index = (0..).find { |free| workers.none? { |_, child| child[:index] == free } }
    environment = { 'EINHORN_MASTER_PID' => Process.pid.to_s, 'EINHORN_SOCK_PATH' => socket_path,
                    'EINHORN_FD_COUNT' => @bound.size.to_s, 'EINHORN_CHILD_INDEX' => index.to_s }
    @bound.each_with_index { |server, at| environment["EINHORN_FD_#{at}"] = server.fileno.to_s }
    pid = Process.spawn(environment, *@state[:cmd], **@bound.to_h { |server| [server, server] })
    @state[:last_spinup] = Time.now
    @state[:children][pid] = { type: :worker, version: @state[:version], acked: false, signaled: Set.new, last_signaled_at: nil,
                               index: index, spinup_time: @state[:last_spinup] }
    publish("===> Launched #{pid} (index: #{index})")
  end

  def turn
    ready, = IO.select([@waker, @server, *@connections.map(&:socket)])
    hear(@waker.readline(chomp: true)) if ready.include?(@waker)
    @connections << Connection.new(socket: @server.accept, said: '', unsaid: '') if ready.include?(@server)
    @connections.select { |connection| ready.include?(connection.socket) }.each { |connection| listen(connection) }
  end

  def hear(signal)
    case signal
    when 'HUP' then hand_over(upgrades: true)
    when 'CHLD' then reap
    else stop
    end
  end

  def stop
    @state[:respawn] = false
    workers.each_key { |pid| tell(pid) }
    end_if_alone
  end

  def tell(pid)
    Process.kill('USR2', pid)
    @state[:children][pid][:signaled] << 'USR2'
    @state[:children][pid][:last_signaled_at] = Time.now
  rescue Errno::ESRCH
    nil
  end

  def reap
    while (pid = Process.wait(-1, Process::WNOHANG))
      @state[:children].delete(pid)
      launch if @state[:respawn] && !@state[:upgrading] && workers.size < @state[:config][:number]
    end
    end_if_alone
  rescue Errno::ECHILD
    end_if_alone
  end

  def end_if_alone
    return if @state[:respawn] || workers.any?

    File.unlink(socket_path, File.join(Dir.tmpdir, 'einhorn.pid'))
    exit(0)
  end

  def listen(connection)
    connection.said += connection.socket.readpartial(65_536)
    while (line = connection.said.slice!(/\A[^\n]*\n/n))
      obey(Client.load(Client.unescape(line.force_encoding(Encoding::UTF_8).chomp)), connection)
    end
  rescue EOFError
    connection.socket.close
    @connections.delete(connection)
  end

  def obey(message, connection)
    case message['command']
    when 'worker:ack' then acked(message['pid'])
    when 'upgrade'
      connection.waits = message['id']
      say(connection, 'Upgrading smoothly, as commanded', message['id'], wait: true)
      hand_over(upgrades: true)
    when 'reload'
      say(connection, 'Reloading, as commanded', message['id'])
      hand_over(upgrades: false)
    when 'state' then say(connection, YAML.dump(state: @state), message['id'])
    else say(connection, 'Welcome', message['id'])
    end
  end

  def acked(pid)
    @state[:children][pid][:acked] = true
    modern = workers.select { |_, child| child[:version] == @state[:version] && child[:acked] }
    log("Up to #{modern.size} / #{@state[:config][:number]} manual ACKs")
    return unless @state[:upgrading] && modern.size == @state[:config][:number]

    @state[:upgrading] = false
    publish("Upgraded successfully to version #{@state[:version]}")
    workers.each { |old, child| tell(old) if child[:version] < @state[:version] }
    waiting.each { |connection| say(connection, 'Upgrade done', connection.waits) }.each { |connection| connection.waits = nil }
  end

  def waiting
    @connections.select(&:waits)
  end

  def publish(text)
    log(text)
    waiting.each { |connection| say(connection, text, connection.waits, wait: true) }
  end

  def say(connection, text, id, wait: nil)
    reply = { 'message' => text, 'request_id' => id, 'wait' => wait }.compact
    connection.socket.write(connection.unsaid, Client.frame(reply))
    connection.unsaid = ''
  end

  def hand_over(upgrades:)
    @state.update(reloading_for_upgrade: upgrades, smooth_upgrade: upgrades || @state[:smooth_upgrade])
    reader, writer = IO.pipe
    fork { pass(writer) }
    writer.close
    program = @state[:reexec_commandline]
    return reader.close unless system(*program, '--upgrade-check', '--', *@state[:cmd])

    [reader, @server, *@bound, *@connections.map(&:socket)].each { |io| io.close_on_exec = false }
    exec(*program, '--with-state-fd', reader.fileno.to_s, '--', *@state[:cmd], close_others: false)
  end

  # In a process of its own, which the document tells of.
  def pass(writer)
    @state[:children][Process.pid] = { type: :state_passer }
    @state[:generation] += 1
    writer.write(YAML.dump(state: @state, persistent_descriptors: descriptors))
    exit!(0)
  end

  def descriptors
    timers = { class: 'Einhorn::Event::LoopBreaker' }
    [{ class: 'Einhorn::Event::CommandServer', server: @server.fileno }, timers] + @connections.map do |connection|
      described = { class: 'Einhorn::Event::Connection', socket: connection.socket.fileno,
                    subscriptions: connection.waits ? { upgrade: connection.waits } : {} }
      described[:read_buffer] = connection.said.b unless connection.said.empty?
      described[:write_buffer] = connection.unsaid.b unless connection.unsaid.empty?
      described
    end
  end

  def socket_path
    @state[:socket_path] || File.join(Dir.tmpdir, 'einhorn.sock')
  end

  def log(text)
    warn("[MASTER #{Process.pid}] INFO: #{text}")
  end
end

StandIn.new.run(ARGV)
