# Sends what was recorded, byte for byte, and compares what comes back.

class Replay
  # Where ours answers otherwise on purpose: the request, our replies in the notation of the transcripts, and a text of the
  # line in doc/compat.md that says why.
  Difference = Struct.new(:request, :replies, :line, keyword_init: true)

  # How long nothing must come where nothing was recorded.
  SILENCE_S = 0.3

  def initialize(stage, master, transcript)
    @stage = stage
    @master = master
    @transcript = transcript
    @mask = Mask.new(master.pid)
    @pids = []
    @differences = []
  end

  # `<PID>` in the requests stands for these, one after the other.
  def naming(pids)
    @pids = pids
    self
  end

  def except(differences)
    @differences = differences
    self
  end

  # Has the whole conversation on one connection, or on a new one where einhorn closed it.
  def run
    client = nil
    @transcript.exchanges.each do |exchange|
      client ||= @master.connect
      converse(client, exchange)
      client = nil if exchange.ending&.include?('closed')
    end
  end

  # The lines that the master wrote to its log, in their order; lines of others may stand between them.
  def compare_log
    recorded = @transcript.log.select { |line| line.start_with?('[MASTER') }
    Wait.until('the log is complete') { master_lines.size >= recorded.size }
    recorded.zip(master_lines).each do |expected, seen|
      @stage.holds("the log has #{expected.inspect}, not #{seen.inspect}") { @mask.match?(plain(expected), plain(seen)) }
    end
    @stage.same(recorded.size, master_lines.size, 'lines in the log')
  end

  private

  def converse(client, exchange)
    client.write(exchange.request.gsub('<PID>') { @pids.shift.to_s })
    expected = expected_of(exchange)
    seen = expected.map { client.read_line }
    expected.zip(seen).each { |recorded, line| compare(exchange.request, recorded, line) }
    case exchange.ending
    when /closed/ then @stage.holds("#{exchange.request.inspect} closes the connection") { client.ends_without_a_word? }
    when /nothing more/ then @stage.holds('nothing more follows') { client.silent_for?(SILENCE_S) }
    end
    confess(exchange, seen)
  end

  def compare(request, recorded, line)
    @stage.holds("#{request.inspect} is answered\n  #{recorded.inspect}, not\n  #{line.inspect}") { @mask.match?(recorded, line) }
  end

  def difference(exchange)
    @differences.find { |known| known.request == exchange.request.chomp } if @stage.ours?
  end

  def expected_of(exchange)
    known = difference(exchange)
    return exchange.replies unless known

    @stage.differs(known.line)
    known.replies.map { |reply| Transcript.bytes(reply) }
  end

  # A difference that is none any more must not stay on the list.
  def confess(exchange, seen)
    return unless difference(exchange) && seen.size == exchange.replies.size

    equal = exchange.replies.zip(seen).all? { |recorded, line| @mask.match?(recorded, line) }
    @stage.holds("#{exchange.request.inspect} differs from the original, as it is marked") { !equal }
  end

  def master_lines
    @master.log.lines(chomp: true).select { |line| line.start_with?('[MASTER') }
  end

  # What a log line says of the client's number means nothing.
  def plain(line)
    line.gsub(/\[client [\d:]+\]/, '[client]').sub(%r{(?<=Writing PID to ).*(?=/einhorn\.pid)}, '')
  end
end
