/**
 * Records of Kafka REST v3 on a connection that stays open: each chunk's whole records go into the lane together, and their results
 * are written before more is read, in order. So the lane's pace is the sender's.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { discardRest } from '../../proto/runtime/discard-rest.ts'
import { JsonObjects } from '../events/json-objects.ts'
import type { Refuse, Sender } from './doors.ts'
import { count } from './doors.ts'
import type { Asked, EventDoorContext } from './event-doors.ts'
import { taken } from './event-doors.ts'

export async function streamRecords(
  context: EventDoorContext,
  sender: Sender,
  asked: Asked,
  request: IncomingMessage,
  response: ServerResponse,
  refuse: Refuse,
): Promise<void> {
  const encoding = request.headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') {
    refuse(response, 415, 'BAD_REQUEST', `Content-Encoding "${encoding}" is not supported on a stream of records`)
    discardRest(request)
    return
  }
  const objects = new JsonObjects(context.recordBytesMax)
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      const whole = objects.push(chunk)
      if (whole.length > 0 && !(await write(context, sender, asked, request, response, whole, refuse))) return
      if (objects.problem !== undefined) break
    }
  } catch (error) {
    if (request.complete) throw error
    return // the sender is gone: what was answered is kept
  }
  const problem = objects.problem ?? (objects.unfinished ? 'the last record is cut off' : undefined)
  if (problem === undefined && response.headersSent) response.end()
  else end(response, 400, problem ?? 'Expected records one after the other, got none', refuse)
}

/** @returns false when it is over */
async function write(
  context: EventDoorContext,
  sender: Sender,
  asked: Asked,
  request: IncomingMessage,
  response: ServerResponse,
  records: readonly Uint8Array[],
  refuse: Refuse,
): Promise<boolean> {
  // The first ones were let in with the request.
  const excess = response.headersSent ? context.limits.admit(sender) : undefined
  if (excess !== undefined) {
    count(context, asked.door, sender.origin, 'limited')
    end(response, 429, excess.reason, refuse)
    return false
  }
  const body = new Uint8Array(Buffer.concat(records))
  const answer = await taken(context, sender, asked, request, body, false, (status, code, message, headers) => {
    if (response.headersSent) end(response, status, message, refuse)
    else {
      refuse(response, status, code, message, headers)
      discardRest(request)
    }
    return undefined
  })
  if (answer === undefined) return false
  if (answer.status !== 200) {
    end(response, answer.status, (JSON.parse(answer.text) as { message: string }).message, refuse)
    return false
  }
  if (!response.headersSent) response.writeHead(200, { 'Content-Type': answer.type })
  const room = response.write(answer.text)
  if (!room) await new Promise<void>((resolve) => response.once('drain', resolve).once('close', resolve))
  return !response.destroyed
}

/** A failure: of the request where nothing was answered yet, else as the last result. */
function end(response: ServerResponse, status: number, message: string, refuse: Refuse): void {
  if (!response.headersSent) refuse(response, status, 'BAD_REQUEST', message)
  else response.end(`${JSON.stringify({ error_code: status === 503 ? 50003 : status, message })}\r\n`)
}
