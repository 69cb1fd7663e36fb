# Collects tests, runs them on one subject, and says how it went. Knows nothing of masters but that they must be closed.

require 'fileutils'

# What a test expected and did not see. Any other exception means that the test itself could not be carried out.
class Mismatch < StandardError; end

# What a test is given: it starts masters on the subject under test, and checks.
class Stage
  attr_reader :subject, :differences

  def initialize(subject, ledger)
    @subject = subject
    @ledger = ledger
    @masters = []
    @differences = []
  end

  # `subject` is the one under test, if it is not to be another.
  def start(options, subject: self.subject, **habits)
    Master.start(subject, options.split, **habits).tap { |master| @masters << master }
  end

  # Something else with a log, which is closed with the test.
  def keep(other)
    @masters << other
    other
  end

  def ours?
    subject.ours?
  end

  def same(expected, seen, what)
    raise Mismatch, "#{what}:\n  expected #{expected.inspect}\n  saw      #{seen.inspect}" unless expected == seen
  end

  def holds(what)
    raise Mismatch, "does not hold: #{what}" unless yield
  end

  # Says that what is checked next is meant to differ from the original, as this line of doc/compat.md tells.
  def differs(line)
    @differences << @ledger.line(line)
  end

  def logs
    @masters.map(&:log)
  end

  def close
    @masters.each(&:close)
  end
end

# The lines of doc/compat.md that tell of differences.
class Ledger
  def initialize(path)
    @path = path
    @lines = File.readlines(path, chomp: true)
  end

  # The one line that contains this text.
  def line(text)
    found = @lines.select { |line| line.include?(text) }
    raise "#{@path} has #{found.size} lines with #{text.inspect}, it must be one" unless found.size == 1

    found.first
  end
end

class Suite
  Test = Struct.new(:name, :quotes, :differs, :only, :body, keyword_init: true)

  # `error` is nil for a test that passed; `differences` are lines of doc/compat.md that it rests on.
  Outcome = Struct.new(:test, :error, :logs, :differences, keyword_init: true)

  @tests = []

  class << self
    attr_reader :tests

    # A test is a sentence. `quotes` names where the behaviour was recorded or documented. With `differs` (a text of the
    # line of doc/compat.md) the body expects what the original does, and must not pass on ours. `only` is for what only one
    # of them can do.
    def test(name, quotes:, differs: nil, only: nil, &body)
      @tests << Test.new(name: name, quotes: quotes, differs: differs, only: only, body: body)
    end
  end

  def initialize(subject, ledger)
    @subject = subject
    @ledger = ledger
  end

  def run(pattern)
    chosen = Suite.tests.select { |test| (test.only.nil? || test.only == @subject.name) && test.name.match?(pattern) }
    chosen.map { |test| run_test(test).tap { |outcome| tell(outcome) } }
  end

  private

  def run_test(test)
    stage = Stage.new(@subject, @ledger)
    error = failure(test, stage)
    Outcome.new(test: test, error: error, logs: error ? stage.logs : [], differences: stage.differences)
  ensure
    stage.close
  end

  def failure(test, stage)
    marked = test.differs && @subject.ours?
    stage.differs(test.differs) if marked
    test.body.call(stage)
    marked ? Mismatch.new('it is marked as a difference, but ours does what the original does: remove the mark') : nil
  rescue Mismatch => e
    marked ? nil : e
  rescue StandardError => e
    e
  end

  def tell(outcome)
    puts "#{outcome.error ? 'FAILED' : 'ok    '} #{@subject.name}: #{outcome.test.name}"
    return unless outcome.error

    puts "  (#{outcome.test.quotes})", outcome.error.message.gsub(/^/, '  ')
    puts outcome.error.backtrace.first(8).map { |line| "    at #{line}" } unless outcome.error.is_a?(Mismatch)
    outcome.logs.each { |log| puts '  the log of the master:', log.gsub(/^/, '  | ') }
  end
end
