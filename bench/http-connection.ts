/**
 * A keep-alive connection that sends requests which were written out before: a sender that takes next to nothing of the processor,
 * where the HTTP client of the runtime takes more than the server under test.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'

export interface HttpAnswer {
  /** 0: the connection was lost. */
  readonly status: number
  /** As it came, without its empty line. */
  readonly head: string
}

const NO_ANSWER: HttpAnswer = { status: 0, head: '' }
const HEAD_END = '\r\n\r\n'
const STATUS_AT = 'HTTP/1.1 '.length

/** A whole request, head and body. @param headers lines of it besides Host and Content-Length */
export function wholeRequest(path: string, headers: readonly string[], body: Uint8Array): Buffer {
  const head = [`POST ${path} HTTP/1.1`, 'Host: bench', ...headers, `Content-Length: ${body.length}`].join('\r\n')
  return Buffer.concat([Buffer.from(head + HEAD_END, 'latin1'), body])
}

export class HttpConnection {
  readonly #host: string
  readonly #port: number
  readonly #localAddress: string
  #socket: Socket | undefined
  #read = ''
  #answer: ((answer: HttpAnswer) => void) | undefined

  constructor(url: string, localAddress: string) {
    const { hostname, port } = new URL(url)
    this.#host = hostname
    this.#port = Number(port)
    this.#localAddress = localAddress
  }

  /** So that sending does not wait for it. */
  async open(): Promise<void> {
    this.#socket ??= await this.#connect()
  }

  /** One at a time. Never rejects. */
  async send(request: Uint8Array): Promise<HttpAnswer> {
    try {
      this.#socket ??= await this.#connect()
    } catch {
      return NO_ANSWER
    }
    const answered = new Promise<HttpAnswer>((resolve) => {
      this.#answer = resolve
    })
    this.#socket.write(request)
    return answered
  }

  close(): void {
    this.#socket?.destroy()
  }

  async #connect(): Promise<Socket> {
    const socket = connect({ host: this.#host, port: this.#port, localAddress: this.#localAddress, noDelay: true })
    await once(socket, 'connect')
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => this.#take(text))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      this.#socket = undefined
      this.#done(NO_ANSWER)
    })
    return socket
  }

  #take(text: string): void {
    this.#read += text
    const end = this.#read.indexOf(HEAD_END)
    if (end < 0) return
    const head = this.#read.slice(0, end)
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
    if (this.#read.length < end + HEAD_END.length + length) return
    this.#done({ status: Number(head.slice(STATUS_AT, STATUS_AT + 3)), head })
  }

  #done(answer: HttpAnswer): void {
    this.#read = ''
    const tell = this.#answer
    this.#answer = undefined
    tell?.(answer)
  }
}
