# Which program the suite runs on, and how it is called.

require 'shellwords'

class Subject
  attr_reader :name, :command

  def self.ours(binary)
    new(:ours, [File.expand_path(binary)])
  end

  # An installed original, by the command that starts it.
  def self.theirs(command)
    new(:theirs, Shellwords.split(command))
  end

  def initialize(name, command)
    @name = name
    @command = command
  end

  def ours?
    name == :ours
  end

  # einhorn re-executes itself without the options that Ruby was given; what stood after -I has to reach it another way. The
  # transcripts were recorded without the snippets of source that newer Rubies add to the texts of errors.
  def environment
    return {} if ours?

    libraries = command.each_cons(2).select { |option, _| option == '-I' }.map(&:last)
    { 'RUBYLIB' => libraries.join(':'), 'RUBYOPT' => '--disable-error_highlight' }
  end
end
