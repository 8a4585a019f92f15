/** Finds where HTTP/1.1 requests with a Content-Length, or without a body, end in a stream of bytes. */

const HEAD_END = '\r\n\r\n'

export class RequestCutter {
  #bytes = Buffer.alloc(0)

  /** @returns the requests that are whole now, head and body; those in chunks come as the bytes they are */
  push(chunk: Uint8Array): Buffer[] {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    const whole: Buffer[] = []
    for (;;) {
      const head = this.#bytes.indexOf(HEAD_END)
      if (head < 0) return whole
      const text = this.#bytes.toString('latin1', 0, head)
      const body = Number(/\r\ncontent-length: *(\d+)/i.exec(text)?.[1] ?? 0)
      const chunked = /\r\ntransfer-encoding:/i.test(text)
      const end = chunked ? this.#bytes.length : head + HEAD_END.length + body
      if (this.#bytes.length < end) return whole
      whole.push(this.#bytes.subarray(0, end))
      this.#bytes = this.#bytes.subarray(end)
    }
  }
}
