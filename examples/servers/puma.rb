# How puma runs under einhyrningsins; see puma.toml.

bind 'tcp://einhyrningsins:8080'
threads 4, 4

# Tells einhyrningsins that this puma is up; in cluster mode, that all of its workers are.
Puma::Plugins.register 'ack', (Class.new(Puma::Plugin) do
  def start(launcher)
    launcher.events.on_booted do
      UNIXSocket.open(ENV.fetch('EINHORN_SOCK_PATH')) { |it| it.puts %({"command":"worker:ack","pid":#{Process.pid}}) }
    end
  end
end)
plugin 'ack'
