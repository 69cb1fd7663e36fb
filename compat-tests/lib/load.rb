# Clients that ask without pause, each time on a new connection and with a number of its own, while a test goes on. They never
# ask a second time and forgive nothing: the worker that answers says its pid and the number that it was asked for.

require 'socket'

class Load
  # What went wrong with one request.
  class Lost < StandardError; end

  THREADS = 2

  # How long one piece of an answer may take.
  PATIENCE_S = 60

  # A question over HTTP, or as a line: what is sent for a number, and what an answer looks like.
  Dialect = Struct.new(:question, :answer)

  HTTP = Dialect.new(->(number) { "GET /#{number} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" },
                     %r{\AHTTP/1\.[01] 200 .*?\r\n\r\n(?<pid>\d+) /(?<number>\d+)\n\z}m)
  LINES = Dialect.new(->(number) { "#{number}\n" }, /\A(?<pid>\d+) (?<number>\d+)\n\z/)

  # `connect` makes a new connection.
  def initialize(dialect, &connect)
    @dialect = dialect
    @connect = connect
    @mutex = Mutex.new
    @asked = 0
    @answers = Hash.new(0)
    @lost = []
    @threads = Array.new(THREADS) { Thread.new { ask_on } }
  end

  # Until each of these workers has answered; nothing may be lost meanwhile.
  def wait_for_each(pids)
    Wait.until("each of #{pids} has answered") do
      @mutex.synchronize do
        raise Lost, @lost.first if @lost.any?

        pids.all? { |pid| @answers.key?(pid) }
      end
    end
  end

  # Lets every thread finish its request. Returns how many answers each pid gave, and what was lost, in words.
  def stop
    @over = true
    @threads.each(&:join)
    [@answers, @lost]
  end

  private

  def ask_on
    until @over
      number = @mutex.synchronize { @asked += 1 }
      begin
        pid = ask(number)
        @mutex.synchronize { @answers[pid] += 1 }
      rescue Lost, SystemCallError => e
        @mutex.synchronize { @lost << "request #{number}: #{e.message}" }
      end
    end
  end

  def ask(number)
    socket = @connect.call
    socket.write(@dialect.question.call(number))
    text = read_to_the_end(socket)
    match = @dialect.answer.match(text)
    raise Lost, "the answer is #{text.inspect}" unless match && Integer(match[:number]) == number

    Integer(match[:pid])
  ensure
    socket&.close
  end

  def read_to_the_end(socket)
    text = String.new
    loop do
      raise Lost, "nothing more within #{PATIENCE_S} s than #{text.inspect}" unless socket.wait_readable(PATIENCE_S)

      text << socket.readpartial(65_536)
    end
  rescue EOFError
    text
  end
end
