/**
 * A process that reserves: `quota-client.mjs URLS TOKEN PREFIX COUNT BODY [AT_ONCE]`, ids PREFIX-0, PREFIX-1, …, all of them at once, or so
 * many. Each is sent again, with its id, until it is answered, to the next of the addresses (separated by commas) where one did not
 * answer; what was answered is printed as JSON: [id, statuses, body] of each.
 */
import { setTimeout as sleep } from 'node:timers/promises'

const [addresses, token, prefix, count, body, atOnce = count] = process.argv.slice(2)
const urls = addresses.split(',')
const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }
const ANSWER_MS = 20_000
const LIFE_MS = 240_000
/** Where there is another address to ask. */
const NEXT_MS = 5000

async function reserve(id, first) {
  const statuses = []
  for (let turn = first; ; turn++) {
    try {
      const answer = await fetch(`${urls[turn % urls.length]}/v1/quota/reservations`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ ...JSON.parse(body), id }),
        signal: AbortSignal.timeout(urls.length > 1 ? NEXT_MS : ANSWER_MS), // Node 20's fetch may wait for ever for a server that was killed
      })
      statuses.push(answer.status)
      const said = await answer.json()
      if (answer.status !== 503) return [id, statuses, said]
    } catch {
      statuses.push(0) // no answer: whether it was done is not known
    }
    await sleep((20 + Math.random() * 80) * urls.length ** 2)
  }
}

// What waits for a server that was killed keeps no process alive by itself; and a test that failed waits for nobody.
const life = setTimeout(() => process.exit(1), LIFE_MS)
const answers = new Array(Number(count))
let next = 0
await Promise.all(
  Array.from({ length: Number(atOnce) }, async () => {
    for (let i = next++; i < answers.length; i = next++) answers[i] = await reserve(`${prefix}-${i}`, i)
  }),
)
clearTimeout(life)
process.stdout.write(JSON.stringify(answers))
