# What programs that are not ours need: their tools are looked for, and what no package brings is built or installed below
# target/compat, once. What is missing is said, with the package that has it; nothing is left out for want of it.

require 'fileutils'
require 'open3'

module Workshop
  class Missing < StandardError; end

  ROOT = File.expand_path('../..', __dir__)
  DIRECTORY = File.join(ROOT, 'target', 'compat')
  CLIENTS = File.join(ROOT, 'compat-tests', 'clients')

  # Where Debian's packages put the sources of libraries for Go.
  GOPATH = '/usr/share/gocode'

  # How many of a tool's last lines tell why it failed.
  LINES_TOLD = 20

  def self.client(name)
    File.join(CLIENTS, name)
  end

  # Programs that have to be there, each with Debian's package.
  def self.need(packages)
    packages.each do |command, package|
      next if ENV.fetch('PATH').split(':').any? { |directory| File.executable?(File.join(directory, command)) }

      raise Missing, "cannot find #{command}: install the package #{package}"
    end
  end

  # The programs of a virtual environment that has what clients/requirements.txt says, and nothing else.
  def self.python_programs
    need('python3' => 'python3')
    directory, requirements = File.join(DIRECTORY, 'python'), client('requirements.txt')
    installed, wanted = File.join(directory, 'installed'), run('python3', '-VV') + File.read(requirements)
    unless File.exist?(installed) && File.read(installed) == wanted
      FileUtils.rm_rf(directory)
      run('python3', '-m', 'venv', '--without-pip', directory)
      # Whatever the list lacks is not installed either.
      run('python3', '-m', 'pip', '--python', File.join(directory, 'bin', 'python'), '--disable-pip-version-check',
          'install', '--no-input', '--no-deps', '--requirement', requirements, package: 'python3-pip')
      File.write(installed, wanted)
    end
    File.join(directory, 'bin')
  end

  # The program that clients/goji makes with Debian's packages alone.
  def self.goji_worker
    need('go' => 'golang-go')
    unless File.directory?(File.join(GOPATH, 'src/github.com/zenazn/goji'))
      raise Missing, 'cannot find goji: install the package golang-github-zenazn-goji-dev'
    end

    worker = File.join(DIRECTORY, 'goji_worker')
    environment = { 'GO111MODULE' => 'off', 'GOPATH' => GOPATH, 'GOFLAGS' => '', 'GOENV' => 'off', 'CGO_ENABLED' => '0',
                    'GOCACHE' => File.join(DIRECTORY, 'go-cache') }
    run(environment, 'go', 'build', '-o', worker, client('goji/main.go'))
    worker
  end

  # What a command prints, if it succeeds.
  def self.run(*words, package: nil)
    output, status = Open3.capture2e(*words)
    return output if status.success?

    hint = package && " (is the package #{package} installed?)"
    raise Missing, "#{words.grep(String).first(4).join(' ')} … failed#{hint}:\n#{output.lines.last(LINES_TOLD).join}"
  end
end
