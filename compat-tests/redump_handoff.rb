# Reads handoffs as einhorn does, two on two lines in the escaping of the control socket, and compares what einhorn looks at in
# them. Answers with what Psych dumps of that, or with how the second differs from the first. For tests/ruby_yaml.rs.

require_relative 'lib/client'

[$stdin, $stdout].each { |stream| stream.set_encoding(Encoding::UTF_8) }
$stdout.sync = true

# einhorn looks at these, and at nothing beside them.
KEYS = %i[state persistent_descriptors].freeze

def einhorns_part(line)
  YAML.load(Client.unescape(line), permitted_classes: Client::PERMITTED, aliases: true).slice(*KEYS)
end

def difference(one, other)
  return "error: #{one.inspect} is not #{other.inspect}" unless one.is_a?(Hash) && other.is_a?(Hash)

  (one.keys | other.keys).each do |key|
    return "#{key} #{difference(one[key], other[key])}" unless one[key] == other[key]
  end
end

$stdin.each_line(chomp: true).each_slice(2) do |lines|
  one, other = lines.map { |line| einhorns_part(line) }
  puts Client.escape(one == other ? YAML.dump(other) : difference(one, other))
rescue StandardError => e
  puts Client.escape("error: #{e.class}: #{e.message}")
end
