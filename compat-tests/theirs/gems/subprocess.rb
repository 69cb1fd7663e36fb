# Stands in for the gem of this name, as far as the integration tests use it.

module Subprocess
  PIPE = :pipe

  class NonZeroExit < StandardError; end

  def self.check_call(command, options = {}, &block)
    status = Process.new(command, options, &block).wait
    raise NonZeroExit, "#{command.join(' ')}: #{status}" unless status.success?

    status
  end

  class Process
    STREAMS = { stdin: :in, stdout: :out, stderr: :err }.freeze

    # How long is waited for output before it is looked whether the process has ended.
    PAUSE_S = 0.05

    READ_MAX = 65_536

    attr_reader :pid

    # With a block, waits for the end after it.
    def initialize(command, options = {})
      @lock = Mutex.new
      @pipes = {}
      @pid = start(command, options)
      return unless block_given?

      yield self
      wait
    end

    # What it writes until it ends. What it leaves behind may hold the pipes for longer.
    def communicate
      texts = @pipes.transform_values { +'' }
      ended = false
      until ended
        ended = !poll.nil?
        texts.each { |stream, text| drain(@pipes[stream], text) }
        IO.select(@pipes.values.reject(&:closed?), nil, nil, PAUSE_S)
      end
      texts.each { |stream, text| drain(@pipes[stream], text) }
      texts.values_at(:stdout, :stderr)
    end

    # Its status, nil while it runs.
    def poll
      @lock.synchronize { @status ||= ::Process.wait2(pid, ::Process::WNOHANG)&.last }
    end

    def wait
      sleep(PAUSE_S) until poll
      poll
    end

    def send_signal(signal)
      ::Process.kill(signal, pid) unless poll
    end

    def terminate
      send_signal('TERM')
    end

    private

    def start(command, options)
      ends = []
      streams = STREAMS.to_h { |stream, name| [name, target(stream, options[stream], ends)] }.compact
      settings = { chdir: options.fetch(:cwd, Dir.pwd), unsetenv_others: true }
      ::Process.spawn(options.fetch(:env, ENV.to_h), *command, **streams, **settings)
    ensure
      ends.each(&:close)
    end

    def target(stream, wanted, ends)
      return wanted unless wanted == PIPE

      @pipes[stream], writer = IO.pipe
      ends << writer
      writer
    end

    def drain(pipe, text)
      loop { text << pipe.read_nonblock(READ_MAX) } unless pipe.closed?
    rescue IO::WaitReadable
      nil
    rescue EOFError
      pipe.close
    end
  end
end
