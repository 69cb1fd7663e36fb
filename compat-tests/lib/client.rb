# A client of the control socket: frames and escapes as einhorn's client does, and reads with the classes it permits.
# It knows lines and documents; what they mean is for the tests.

require 'set'
require 'socket'
require 'time'
require 'yaml'

class Client
  class Closed < StandardError; end
  class Late < StandardError; end

  # How long a reply may take.
  PATIENCE_S = 60

  PERMITTED = [Set, Symbol, Time].freeze

  def self.escape(document)
    document.gsub('%', '%25').gsub("\n", '%0A')
  end

  # One pass, so that "%250A" stays a percent sign and digits.
  def self.unescape(line)
    line.gsub(/%25|%0A/) { |code| code == '%25' ? '%' : "\n" }
  end

  def self.frame(message)
    "#{escape(YAML.dump(message))}\n"
  end

  def self.load(document)
    YAML.safe_load(document, permitted_classes: PERMITTED, aliases: true)
  end

  def initialize(path)
    @socket = UNIXSocket.new(path)
    @unread = String.new(encoding: Encoding::BINARY)
  end

  def ask(message)
    write(Client.frame(message))
    receive
  end

  def receive
    Client.load(Client.unescape(read_line))
  end

  # Reads to the message without `wait`, which is the last one of its request.
  def receive_to_the_end
    messages = [receive]
    messages << receive while messages.last['wait']
    messages
  end

  def write(bytes)
    @socket.write(bytes)
  end

  def write_no_more
    @socket.close_write
  end

  # The next line with its newline, as it came.
  def read_line
    fill(PATIENCE_S) || raise(Late, "no line within #{PATIENCE_S} s, only #{@unread.inspect}") until @unread.include?("\n")
    @unread.slice!(/\A[^\n]*\n/).force_encoding(Encoding::UTF_8)
  end

  # Whether the other end closes the connection without another byte.
  def ends_without_a_word?(patience_s = PATIENCE_S)
    fill(patience_s)
    false
  rescue Closed
    @unread.empty?
  end

  def silent_for?(seconds)
    !fill(seconds) && @unread.empty?
  rescue Closed
    @unread.empty?
  end

  def close
    @socket.close
  end

  private

  def fill(seconds)
    return false unless @socket.wait_readable(seconds)

    @unread << @socket.readpartial(65_536)
    true
  rescue EOFError, Errno::ECONNRESET
    raise Closed, "the connection was closed after #{@unread.inspect}"
  end
end
