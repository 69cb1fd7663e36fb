# Reads documents, one a line in the escaping of the control socket, and answers each with what Psych dumps of what it read.
# For tests/ruby_yaml.rs.

require_relative 'lib/client'

[$stdin, $stdout].each { |stream| stream.set_encoding(Encoding::UTF_8) }
$stdout.sync = true

$stdin.each_line(chomp: true) do |line|
  puts Client.escape(YAML.dump(Client.load(Client.unescape(line))))
rescue StandardError => e
  puts Client.escape("error: #{e.class}: #{e.message}")
end
