/** The journal of what was decided by slices: whole, torn, damaged. */
import assert from 'node:assert/strict'
import { appendFileSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { JournaledAdmission } from '../../../collector/leases/lease-journal.ts'
import { LeaseJournals, readJournal } from '../../../collector/leases/lease-journal.ts'
import { temporaryDirectory } from '../../support/programs.ts'

const EPOCH = '1.aaaaaaaa'
const IDENTITY = { collector: 'c', epoch: EPOCH, boot: 'b' }

function entry(index: number): JournaledAdmission {
  const amounts = [{ resource: 'tokens', amount: 1 }]
  const admission = { index, id: `r${index}`, amounts, task: null, from: 1, expires: 2, hash: 'h' }
  return { tenant: 't', lease: 7, admission }
}

/** @returns the bytes of one with three entries */
async function written(): Promise<{ readonly directory: string; readonly bytes: Buffer }> {
  const directory = join(temporaryDirectory(), 'leases')
  const journals = new LeaseJournals(directory)
  assert.equal(journals.starts, 0)
  const journal = await journals.begin(IDENTITY)
  await Promise.all([1, 2, 3].map((index) => journal.append(entry(index))))
  await journal.close()
  return { directory, bytes: readFileSync(join(directory, `${EPOCH}.log`)) }
}

test('what was appended is there after a kill, and starts are counted though files are removed', async () => {
  const { directory } = await written()
  const journals = new LeaseJournals(directory)
  const [earlier] = journals.earlier()
  assert.deepEqual([earlier!.epoch, earlier!.isWhole, earlier!.admissions.length], [EPOCH, true, 3])
  journals.remove(EPOCH)
  assert.deepEqual([journals.starts, journals.earlier(), readdirSync(directory)], [1, [], ['starts']])
})

test('what is void is not there; what has its number in another slice is', async () => {
  const journals = new LeaseJournals(temporaryDirectory())
  const journal = await journals.begin(IDENTITY)
  for (const index of [1, 2, 3]) await journal.append(entry(index))
  await journal.append({ ...entry(2), lease: 8 })
  await journal.append({ tenant: 't', lease: 7, void: 2 })
  await journal.close()
  const [earlier] = journals.earlier()
  const found = earlier!.admissions.map(({ lease, admission }) => [lease, admission.index])
  assert.deepEqual(
    [earlier!.isWhole, found],
    [
      true,
      [
        [7, 1],
        [7, 3],
        [8, 2],
      ],
    ],
  )
})

test('a torn end was told to nobody; at whatever byte it is torn, the rest is there', async () => {
  const { bytes } = await written()
  const ends = [...bytes.keys()].filter((i) => bytes[i] === 10)
  for (let length = ends[0]! + 1; length <= bytes.length; length++) {
    const { admissions, isWhole } = readJournal(EPOCH, bytes.subarray(0, length))
    assert.deepEqual([isWhole, admissions.length], [true, ends.filter((end) => end < length).length - 1], `${length}`)
  }
  assert.equal(readJournal(EPOCH, bytes.subarray(0, 10)).isWhole, false, 'without its head it says nothing')
})

test('damage before the end is seen wherever it is, and what is whole is told', async () => {
  const { bytes } = await written()
  for (let at = 0; at < bytes.length - 1; at++) {
    const damaged = Buffer.from(bytes)
    damaged[at]! ^= 1
    const { admissions, isWhole } = readJournal(EPOCH, damaged)
    assert.equal(isWhole, false, `${at}`)
    assert.ok(admissions.length <= 3)
  }
})

test('a file that is not ours is left alone', async () => {
  const { directory } = await written()
  appendFileSync(join(directory, 'notes.txt'), 'x')
  assert.equal(new LeaseJournals(directory).earlier().length, 1)
})
