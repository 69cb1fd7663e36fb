# What a recorded text means for another run: its masks stand for anything of their kind, the rest for itself. A numbered pid
# is the same one wherever it stands in one transcript.

class Mask
  KINDS = {
    'PID' => '\d+',
    'TIME' => '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9} (?:Z|[+-]\d\d:\d\d)',
    'FD' => '\d+',
    'PORT' => '[1-9]\d*',
    'EINHORN' => '[^"]*',
    'TMP' => '[^"]*',
    'SECONDS' => '\d+(?:\.\d+)?(?:e-\d+)?',
    # A time as Ruby shows it in its log, and not as it writes it.
    'CLOCK' => '\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? (?:UTC|[+-]\d{4})',
    'VERSION' => '\d[\w.]*',
    'REST' => '.*',
    # The list of commands: einhorn's words for them are its own, and so are ours.
    'HELP' => '(?:  [a-z_:]+: [^%]+%0A)+',
    # An error of Ruby's goes on with where it happened.
    'BACKTRACE' => '.*'
  }.freeze

  # The message of a reply that holds the master's own pid in words.
  OWN_PID = /(?<=Process |Run kill )<PID>/.freeze

  def initialize(master_pid)
    @master_pid = master_pid
    @pids = {}
  end

  # Whether this run's text is what was recorded.
  def match?(recorded, text)
    known = refold(recorded)
    names = []
    match = Regexp.new("\\A#{pattern(known, names)}\\z", Regexp::MULTILINE).match(text)
    match && names.each { |name| @pids[name] = match[name] }
    !match.nil?
  end

  # This run's pid for a recorded one, such as `PID1`; nil if it was not seen yet.
  def pid(name)
    @pids[name.downcase]&.to_i
  end

  private

  # How wide the master's pid is decides where Psych folds a long message: with this run's pid Psych itself tells where.
  def refold(recorded)
    return recorded unless recorded.match?(OWN_PID)

    document = Client.load(Client.unescape(recorded.gsub(OWN_PID, @master_pid.to_s)))
    Client.frame(document)
  end

  def pattern(recorded, names)
    recorded.split(/(<[A-Z]+\d*>)/).map { |piece| piece.match?(/\A<[A-Z]+\d*>\z/) ? mask(piece, names) : Regexp.escape(piece) }.join
  end

  def mask(piece, names)
    name = piece[1..-2]
    return @master_pid.to_s if name == 'MASTER'
    return KINDS.fetch(name.delete('0-9')) unless name.match?(/\APID\d+\z/)
    return @pids[name.downcase] if @pids.key?(name.downcase)
    return "\\k<#{name.downcase}>" if names.include?(name.downcase)

    names << name.downcase
    "(?<#{name.downcase}>#{KINDS['PID']})"
  end
end
