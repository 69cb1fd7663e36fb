# Loads a Ruby program once, and forks workers from it. The master runs this; doc/preloading.md tells what is said.
require "socket"

module EinhyrningsinsLoader
  CONTROL = Socket.for_fd(Integer(ENV.delete("EINHYRNINGSINS_LOADER_FD"), 10))
  CONTROL.close_on_exec = true
  BYTES_MAX = 1 << 20
  REASON_MAX = 10_000
  OWN_SOCKETS = Dir.children("/proc/self/fd").to_h { |fd| [fd, File.readlink("/proc/self/fd/#{fd}")] rescue [fd, nil] }

  class << self
    def tell(*fields)
      # The master may end this process for what it is told.
      $stdout.flush rescue nil
      CONTROL.sendmsg(fields.map { |field| "#{field}\0" }.join.b)
    rescue Errno::EPIPE, Errno::ECONNRESET
      exit!(0)
    end

    def receive
      message, _, _, *controls = CONTROL.recvmsg(BYTES_MAX, 0, 1024, scm_rights: true)
      exit!(0) if message.nil? || message.empty?
      [message.b.split("\0", -1)[0..-2].each_slice(2).to_a, controls.flat_map(&:unix_rights)]
    rescue Errno::ECONNRESET
      exit!(0)
    end

    # What a fork does not keep: other threads, and connections that two processes would use at once.
    def doubts
      sockets = Dir.children("/proc/self/fd").count do |fd|
        link = (File.readlink("/proc/self/fd/#{fd}") rescue nil)
        link.to_s.start_with?("socket:") && OWN_SOCKETS[fd] != link
      end
      [Thread.list.size - 1, sockets]
    end

    def load_program(path, main)
      # A path that is no file, or ends in .rb, is looked for as `require` does.
      !path.end_with?(".rb") && File.exist?(path) ? load(path) : require(path)
      return tell("without", main) unless TOPLEVEL_BINDING.receiver.respond_to?(main, true)
      true
    rescue Exception => error # a syntax error, an exit
      trace = (error.backtrace || []).join("\n  ")
      tell("failed", "#{error.message} (#{error.class})\n  #{trace}"[0, REASON_MAX])
      nil
    end

    # Leaves pages alone that workers share with this process.
    def tidy_up(collects)
      return unless collects
      return Process.warmup if Process.respond_to?(:warmup)
      GC.start
      3.times { GC.start(full_mark: false) }
      GC.compact if GC.respond_to?(:compact)
    end

    # The process between ends at once, so that the worker becomes a child of the master.
    def launch(request, descriptors, main)
      reader, writer = IO.pipe
      between = fork do
        reader.close
        worker = fork do
          writer.close
          become_worker(request, descriptors, main)
        end
        writer.write(worker.to_s)
        exit!(0)
      rescue SystemCallError => error
        writer.write("-#{error.errno}")
        exit!(0)
      end
      writer.close
      answer = reader.read
      Process.wait(between)
      answer
    rescue SystemCallError => error
      "-#{error.errno}"
    ensure
      reader&.close
      writer&.close unless writer&.closed?
    end

    def become_worker(request, descriptors, main)
      CONTROL.close
      Process.setpgid(0, 0)
      one = request.to_h
      line = descriptors.shift
      # The master says so once it knows of this worker. If it is gone, or another, there is none to work for.
      exit!(1) unless line.read(1) == "g" && Process.ppid.to_s == one["parent"]
      place(request, descriptors)
      request.each { |key, value| set_variable(value) if key == "env" }
      ENV[one["pid"]] = $$.to_s if one["pid"]
      ARGV.replace(request.filter_map { |key, value| value.dup.force_encoding(Encoding.default_external) if key == "arg" })
      $0 = one["title"].dup.force_encoding(Encoding.default_external) if one["title"]
      srand
      OpenSSL::Random.seed(Random.new_seed.to_s) if defined?(OpenSSL::Random)
      watch_parent(Integer(one["signal"], 10), one["parent"]) if one["signal"]
      line.close
      TOPLEVEL_BINDING.receiver.send(main)
    end

    # Where the output goes, and the connection to the control socket.
    def place(request, descriptors)
      request.each do |key, value|
        case key
        when "output" then [$stdout, $stderr].each { |stream| stream.reopen(descriptors.first) }.then { descriptors.shift.close }
        when "connection"
          connection = descriptors.shift
          connection.close_on_exec = false
          connection.autoclose = false
          ENV[value] = connection.fileno.to_s
        end
      end
    end

    def set_variable(assignment)
      name, value = assignment.dup.force_encoding(Encoding.default_external).split("=", 2)
      ENV[name] = value
    end

    def watch_parent(signal, parent)
      require "fiddle"
      types = [Fiddle::TYPE_INT] + [Fiddle::TYPE_LONG] * 4
      prctl = Fiddle::Function.new(Fiddle.dlopen(nil)["prctl"], types, Fiddle::TYPE_INT)
      prctl.call(1, signal, 0, 0, 0) # PR_SET_PDEATHSIG
      exit!(1) unless Process.ppid.to_s == parent
    end

    def run(path, main, title, collects, *arguments)
      # The file of this script, which is read by now.
      IO.for_fd(Integer(File.basename($0), 10)).close
      $0 = title
      ARGV.replace(arguments)
      exit!(1) unless load_program(path, main)
      tidy_up(collects == "collect")
      tell("loaded", "", "threads", doubts[0], "sockets", doubts[1])
      loop do
        request, descriptors = receive
        next descriptors.each(&:close) unless request.assoc("launch")
        answer = launch(request, descriptors, main)
        descriptors.each(&:close)
        tell("launch", request.assoc("launch")[1], answer.start_with?("-") ? "error" : "pid", answer.delete_prefix("-"))
      end
    end
  end
end

EinhyrningsinsLoader.run(*ARGV)
