/**
 * A process that reserves: `quota-client.mjs URL TOKEN PREFIX COUNT BODY`, all of them at once, ids PREFIX-0, PREFIX-1, … Each is sent
 * again, with its id, until it is answered; what was answered is printed as JSON: [id, statuses, body] of each.
 */
import { setTimeout as sleep } from 'node:timers/promises'

const [url, token, prefix, count, body] = process.argv.slice(2)
const ANSWER_MS = 20_000
const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }

async function reserve(id) {
  const statuses = []
  for (;;) {
    try {
      const answer = await fetch(`${url}/v1/quota/reservations`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ ...JSON.parse(body), id }),
        signal: AbortSignal.timeout(ANSWER_MS), // Node 20's fetch may wait for ever for a server that was killed
      })
      statuses.push(answer.status)
      const said = await answer.json()
      if (answer.status !== 503) return [id, statuses, said]
    } catch {
      statuses.push(0) // no answer: whether it was done is not known
    }
    await sleep(20 + Math.random() * 80)
  }
}

const answers = await Promise.all(Array.from({ length: Number(count) }, (_, i) => reserve(`${prefix}-${i}`)))
process.stdout.write(JSON.stringify(answers))
