# einhyrningsinsctl where einhorn has einhornsh: `-e`, lines of standard input, and what a script learns from the exit status.

require 'open3'
require_relative '../lib/site'

module Ctl
  REFUSED = '| a command that is refused, in `einhyrningsinsctl -e` or a line of its standard input |'.freeze

  # What stood on both outputs, and the exit status.
  Said = Struct.new(:out, :err, :status)

  def self.serving(stage)
    master = stage.start('-n 2 -m manual')
    master.wait_until_ready(*master.wait_for_workers(2))
    master
  end

  # Of the client that belongs to the subject, with these words and lines.
  def self.said(stage, master, *words, lines: '')
    environment = stage.subject.environment.merge('TMPDIR' => master.directory)
    client = ['timeout', '60', *Site.client_of(stage.subject)]
    out, err, status = Open3.capture3(environment, *client, *words, chdir: master.directory, stdin_data: lines)
    Said.new(out, err, status.exitstatus)
  end

  UP = "Incrementing number of workers from 2 -> 3\n".freeze
  DOWN = "Decrementing number of workers from 3 -> 2\n".freeze
end

Suite.test('ctl: -e runs several commands, and shows what einhornsh does', quotes: 'wire-inc-dec.txt') do |stage|
  master = Ctl.serving(stage)
  words = [%w[-d einhorn.sock -e], %w[--socket-path einhorn.sock --execute]]
  words.each do |options|
    stage.same([Ctl::UP + Ctl::DOWN, '', 0], Ctl.said(stage, master, *options, 'inc; dec').to_a, options.to_s)
  end
  stage.same([Ctl::UP, '', 0], Ctl.said(stage, master, '-e', 'inc; quit; dec').to_a, 'up to quit')
end

Suite.test('ctl: lines of standard input are commands', quotes: 'wire-inc-dec.txt') do |stage|
  master = Ctl.serving(stage)
  said = Ctl.said(stage, master, lines: "inc\n\ndec; inc\ndec")
  stage.same([(Ctl::UP + Ctl::DOWN) * 2, '', 0], said.to_a, 'what was said')
  stage.same(['', '', 0], Ctl.said(stage, master).to_a, 'what no line says')
end

Suite.test('ctl: -e upgrade ends when the upgrade does', quotes: 'wire-upgrade.txt') do |stage|
  master = Ctl.serving(stage)
  old = master.workers
  said = Ctl.said(stage, master, '-e', 'upgrade')
  stage.same(['Upgrade done', 0], [said.out.lines.last.chomp, said.status], 'its end')
  new = master.state[:children].select { |_, child| child[:version] == 1 && child[:acked] }.keys
  stage.same([2, []], [new.size, new & old], 'workers that have acked by then')
end

Suite.test('ctl: -e has 0 for a command that is refused', quotes: 'wire-unknown.txt', differs: Ctl::REFUSED) do |stage|
  said = Ctl.said(stage, Ctl.serving(stage), '-e', 'nope')
  stage.same(0, said.status, "the status of #{said}")
end

Suite.test('ctl: a refusal is 1, on standard output, and the rest is run', quotes: 'einhyrningsinsctl(1)',
                                                                         only: :ours) do |stage|
  master = Ctl.serving(stage)
  [Ctl.said(stage, master, '-e', 'nope; inc; dec'), Ctl.said(stage, master, lines: "nope\ninc\ndec\n")].each do |said|
    stage.same([1, ''], [said.status, said.err], "what came of #{said}")
    stage.holds('the refusal is shown') { said.out.start_with?('Unrecognized command: "nope"') }
    stage.holds('the others are run') { said.out.end_with?(Ctl::UP + Ctl::DOWN) }
  end
end

Suite.test('ctl: without a master it is 3', quotes: 'einhyrningsinsctl(1)', only: :ours) do |stage|
  master = Ctl.serving(stage)
  [['-e', 'inc'], []].each do |words|
    said = Ctl.said(stage, master, '-d', 'none.sock', *words)
    stage.same([3, ''], [said.status, said.out], "what came of #{said}")
  end
end
