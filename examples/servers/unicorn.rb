# How unicorn runs under einhyrningsins; see unicorn.toml.

# einhyrningsins counts unicorns, and these are each one's workers.
worker_processes 2
# A worker that is busy for longer is killed, at work as well as at the end.
timeout 30

# A worker is about to serve: the first one acks for the unicorn that einhyrningsins knows, which is its parent.
after_worker_ready do |_server, worker|
  next unless worker.nr.zero?

  UNIXSocket.open(ENV.fetch('EINHORN_SOCK_PATH')) { |it| it.puts %({"command":"worker:ack","pid":#{Process.ppid}}) }
end
