# A Rack application, for puma and unicorn: answers with its process and the path; /slow takes a moment, so that there is
# something to finish.

run(lambda do |env|
  sleep 0.2 if env['PATH_INFO'] == '/slow'
  body = "#{Process.pid} #{env['REQUEST_URI']}\n"
  [200, { 'content-type' => 'text/plain', 'content-length' => body.bytesize.to_s }, [body]]
end)
