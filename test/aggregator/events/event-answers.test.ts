/** Events as CSV: what came from outside opens in a spreadsheet as text, and is read back as it was. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readCsv } from '../../../aggregator/directory/csv.ts'
import { csvOf, eventAnswer, letterAnswer } from '../../../aggregator/events/event-answers.ts'

test('cells that spreadsheets would take for formulas are text, and come back as they were', async () => {
  const hostile = ['=cmd()', '+1', '-x', '@a', 'a,"b"\r\nc', "'quoted"]
  const letters = hostile.map((reason) => letterAnswer.cells({ ...LETTER, reason }))
  const events = hostile.map((type) => eventAnswer.cells({ ...EVENT, type, json: '{"a":"=1"}' }))
  for (const [columns, rows] of [
    [letterAnswer.columns, letters],
    [eventAnswer.columns, events],
  ] as const) {
    const text = csvOf(columns, rows)
    assert.doesNotMatch(text, /(^|,)"?[=+@]/m)
    const [, ...read] = await readCsv(Buffer.from(text), { lines: 100, columns: 10 })
    assert.deepEqual(
      read.map(({ cells }) => cells),
      rows,
    )
  }
})

const LETTER = {
  id: 'i',
  at: 1_700_000_000_000_000,
  road: 'kafka',
  topic: 't',
  code: 'malformed',
  reason: '',
  raw: 'eHg=',
}
const EVENT = { eventId: 'i', type: '', ts: 0, at: 1_700_000_000_000_000, road: 'http', topic: 't', json: '{}' }
