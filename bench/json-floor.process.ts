/** The least that a server in Node does with a body: reads the body, JSON.parses it, answers. Prints its address. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const ANSWER = JSON.stringify({ message: 'Request Successful.' })

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const { metrics = [0] } = JSON.parse(Buffer.concat(chunks).toString()) as { metrics?: unknown[] }
    response
      .writeHead(metrics.length > 0 ? 200 : 422, {
        'Content-Type': 'application/json',
        'Content-Length': ANSWER.length,
      })
      .end(ANSWER)
  })
})
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`)
})
process.stdin.on('end', () => process.exit(0)).resume()
