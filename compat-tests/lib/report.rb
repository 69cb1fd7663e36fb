# What a run came to, for people: a line for each run and a file.

class Report
  def initialize(path)
    @path = path
    @sections = []
  end

  def add(subject, outcomes)
    failed, passed = outcomes.partition(&:error)
    @sections << section(subject, passed, failed)
    puts "#{passed.size} passed, #{failed.size} failed"
  end

  def write
    FileUtils.mkdir_p(File.dirname(@path))
    File.write(@path, "# Compatibility with einhorn\n\n#{@sections.join("\n")}")
  end

  private

  def section(subject, passed, failed)
    title = subject.ours? ? 'einhyrningsins' : 'einhorn itself'
    # A marked test says what ours does not do.
    like_einhorn = passed.reject { |outcome| subject.ours? && outcome.test.differs }
    parts = ["## #{title}\n", list("Passed: #{like_einhorn.size}", like_einhorn.map { |outcome| entry(outcome.test) })]
    if subject.ours?
      shown = passed.flat_map { |outcome| outcome.differences.uniq.map { |line| [line, outcome.test.name] } }.group_by(&:first)
      rows = shown.map { |line, pairs| "#{line[/\A\| (.*) \|\z/, 1]} (shown by: #{pairs.map(&:last).join('; ')})" }
      parts << list('Differences by design: what, einhorn, here, why', rows)
    end
    missing = failed.map { |outcome| "#{entry(outcome.test)}: #{outcome.error.message.lines.first.chomp}" }
    (parts << list("Missing: #{failed.size}", missing)).join("\n")
  end

  def entry(test)
    "#{test.name} (#{test.quotes})"
  end

  def list(title, entries)
    lines = entries.empty? ? ['none'] : entries.map { |entry| "- #{entry}" }
    "### #{title}\n\n#{lines.join("\n")}\n"
  end
end
