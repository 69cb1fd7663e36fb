# Runs the suite on our program, and, where EINHORN_THEIRS holds the command of an installed original, on that one first.
#
#   EINHORN_OURS=target/debug/einhyrningsins ruby compat-tests/run.rb [PATTERN]
#
# PATTERN chooses tests by their names. The report goes to COMPAT_REPORT (target/compat/report.md).

# Our texts are UTF-8, whatever language the machine speaks: a fresh Debian has none, and Ruby then takes files for ASCII.
Encoding.default_external = Encoding::UTF_8

$stdout.sync = true

%w[client wait subject master transcript mask replay suite report].each { |name| require_relative "lib/#{name}" }
Dir[File.join(__dir__, 'tests', '*.rb')].sort.each { |file| require file }

root = File.expand_path('..', __dir__)
ledger = Ledger.new(File.join(root, 'doc', 'compat.md'))
report = Report.new(ENV.fetch('COMPAT_REPORT', File.join(root, 'target', 'compat', 'report.md')))
pattern = Regexp.new(ARGV.fetch(0, ''))

subjects = [Subject.ours(ENV.fetch('EINHORN_OURS', File.join(root, 'target', 'debug', 'einhyrningsins')))]
subjects.unshift(Subject.theirs(ENV['EINHORN_THEIRS'])) unless ENV['EINHORN_THEIRS'].to_s.empty?

failed = subjects.map do |subject|
  outcomes = Suite.new(subject, ledger).run(pattern)
  report.add(subject, outcomes)
  outcomes.count(&:error)
end
report.write
exit(failed.sum.zero? ? 0 : 1)
