# A recorded conversation, as files in `transcripts/` hold it. Their notation: `>` is what was sent, `<` what came back, `!`
# what happened to the connection; \n is the newline byte and \\ a backslash; a letter before the sign names the connection.

class Transcript
  DIRECTORY = File.expand_path('../transcripts', __dir__)

  # One request and all that came of it before the next one. `connection` is nil where there is but one.
  Exchange = Struct.new(:connection, :request, :replies, :ending, keyword_init: true)

  attr_reader :name, :exchanges, :log, :exit_status

  def self.named(name)
    new(name, File.read(File.join(DIRECTORY, "#{name}.txt")))
  end

  def self.names
    Dir.children(DIRECTORY).map { |file| File.basename(file, '.txt') }.sort
  end

  # The bytes that a line of the notation stands for.
  def self.bytes(notation)
    notation.gsub(/\\(\\|n)/) { Regexp.last_match(1) == 'n' ? "\n" : '\\' }
  end

  def initialize(name, text)
    @name = name
    @exchanges = []
    @log = []
    conversation, stderr = text.split(/^# stderr.*\n/, 2)
    @log = stderr.lines(chomp: true) if stderr
    conversation.each_line(chomp: true) { |line| read(line) }
  end

  def of(connection)
    exchanges.select { |exchange| exchange.connection == connection }
  end

  private

  def read(line)
    case line
    when /\A([AB])?> (.*)\z/
      request = Transcript.bytes(Regexp.last_match(2))
      @exchanges << Exchange.new(connection: Regexp.last_match(1), request: request, replies: [])
    when /\A[AB]?< (.*)\z/ then @exchanges.last.replies << Transcript.bytes(Regexp.last_match(1))
    when /\A! (.*)\z/ then @exchanges.last.ending = Regexp.last_match(1)
    when /\A  <BACKTRACE>\z/ then @exchanges.last.replies.last << '<BACKTRACE>'
    when /\A# exit status of einhorn: (\d+)\z/ then @exit_status = Integer(Regexp.last_match(1))
    end
  end
end
