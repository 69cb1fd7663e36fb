// Answers with its process and the path; /slow takes a moment, so that there is something to finish.

const http = require('node:http')
const net = require('node:net')

const server = http.createServer((request, response) => {
  const answer = () => {
    // Node goes on with a connection that is busy when the server is closed: this answer is its last.
    if (!server.listening) response.setHeader('Connection', 'close')
    response.end(`${process.pid} ${request.url}\n`)
  }
  request.url.startsWith('/slow') ? setTimeout(answer, 200) : answer()
})

server.listen({ fd: Number(process.env.EINHORN_FD_0) }, () => {
  net.connect(process.env.EINHORN_SOCK_PATH).end(`{"command":"worker:ack","pid":${process.pid}}\n`)
})

// Accepts no more, closes idle connections, and lets the process end when the last answer is out.
process.once('SIGTERM', () => server.close())
