/** Real error texts and their categories; texts that only look like errors; the order of the tables; long and hostile texts. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { CATEGORIES } from '../../../proto/errors/categories.ts'
import { categorize, createCategorizer, HEAD_UNITS, TAIL_UNITS } from '../../../proto/errors/categorize.ts'
import { STRENGTHS } from '../../../proto/errors/strengths.ts'
import { TEXT_RULES } from '../../../proto/errors/text-rules.ts'

interface Sample {
  readonly category: string
  readonly text: string
  readonly source: string
  /** Of a held-out text: what the rules said before they had seen it. */
  readonly first?: string
  /** Why it is left unrecognised. */
  readonly left?: string
}

const gathered = read('gathered')
const heldOut = read('held-out')
const nearMisses = read('near-misses')
const OUT_OF_MEMORY = 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.'

test('categorize() gives every gathered text its category, with the words that decided', () => {
  const wrong = gathered.filter(({ category, text }) => {
    const { matched, category: found } = categorize({ text, evidence: [] })
    return found !== category || matched === null || text.slice(matched.start, matched.end) !== matched.words
  })
  assert.deepEqual(wrong, [])
})

test('gathered texts: at least ten for each category that a text rule can give', () => {
  const counts = new Map<string, number>()
  for (const { category } of gathered) counts.set(category, (counts.get(category) ?? 0) + 1)
  for (const { category } of TEXT_RULES) assert.ok((counts.get(category) ?? 0) >= 10, category)
})

test('categorize() gives each held-out text its category, but for those that say too little', () => {
  const wrong = heldOut.filter(({ category, text, left }) => {
    const found = categorize({ text, evidence: [] }).category
    return found !== (left === undefined ? category : 'unknown')
  })
  assert.deepEqual(wrong, [])
})

test('README: the table is that of the categories, and the first rate is that of the held-out texts', () => {
  const readme = readFileSync(new URL('../../../proto/errors/README.md', import.meta.url), 'utf8')
  const fromText = new Set(TEXT_RULES.map(({ category }) => category))
  const rows = Object.entries(CATEGORIES).map(
    ([category, { means, retry, chargeable }]) =>
      `| \`${category}\` | ${means} | ${retry} | ${chargeable} | ${[...fromText].some((one) => one === category) ? 'yes' : 'no'} |\n`,
  )
  assert.ok(readme.includes(rows.join('')))
  const right = heldOut.filter(({ category, first }) => category === first).length
  const unknown = heldOut.filter(({ first }) => first === 'unknown').length
  const other = heldOut.length - right - unknown
  assert.ok(
    readme.includes(`${right} of ${heldOut.length} got their category, ${unknown} were unknown, ${other} got another`),
  )
})

test('categorize() is not misled by words in URLs, quotations, names and ordinary talk', () => {
  const wrong = nearMisses
    .map(({ category, text }) => ({ text, category, found: categorize({ text, evidence: [] }).category }))
    .filter(({ category, found }) => found !== category)
  assert.deepEqual(wrong, [])
})

test('categorize() says unknown, and who pays, for an empty text without evidence', () => {
  const { version, ...verdict } = categorize({ text: '', evidence: [] })
  assert.deepEqual(verdict, {
    category: 'unknown',
    type: 'unknown',
    rule: 'none',
    retry: CATEGORIES.unknown.retry,
    chargeable: CATEGORIES.unknown.chargeable,
    matched: null,
    evidence: [],
  })
  assert.match(version, /^\d{4}-\d\d-\d\d(\.\d+)?\/\d{4}-\d\d-\d\d$/)
})

test('categorize() gives the same verdict whatever the order of the rules and of their patterns', () => {
  const texts = gathered.map(({ text }) => text)
  fc.assert(
    fc.property(
      fc.shuffledSubarray([...TEXT_RULES], { minLength: TEXT_RULES.length }),
      fc.array(fc.constantFrom(...texts), { minLength: 1, maxLength: 4 }),
      (shuffled, parts) => {
        const other = createCategorizer(shuffled.map((rule) => ({ ...rule, any: rule.any.toReversed() })))
        const failure = { text: parts.join('\n'), evidence: [] }
        assert.deepEqual(other(failure), categorize(failure))
      },
    ),
    { numRuns: 150 },
  )
})

test('a rule that is stronger wins over one that stands earlier in the text, and among equals the earlier one', () => {
  const hung = '[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1) ran for 600004 milliseconds'
  const limit = 'slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***'
  const full = 'OSError: [Errno 28] No space left on device'
  const of = (...lines: string[]) => categorize({ text: lines.join('\n'), evidence: [] }).category
  assert.equal(of(hung, OUT_OF_MEMORY), 'resource.oom_gpu')
  assert.equal(of(OUT_OF_MEMORY, limit), 'resource.timeout')
  assert.equal(of(full, OUT_OF_MEMORY), 'resource.disk')
  assert.equal(of(OUT_OF_MEMORY, full), 'resource.oom_gpu')
})

test('rules: ids are unique, every pattern compiles, every category and strength is known', () => {
  assert.equal(new Set(TEXT_RULES.map(({ id }) => id)).size, TEXT_RULES.length)
  for (const { category, strength, any, type } of TEXT_RULES) {
    assert.ok(Object.hasOwn(CATEGORIES, category) && Object.hasOwn(STRENGTHS, strength) && any.length > 0)
    assert.match(type, /^[a-z][a-z0-9_]*$/)
  }
  const patterns = TEXT_RULES.flatMap(({ any }) => any.map((pattern) => pattern.toLowerCase()))
  assert.equal(new Set(patterns).size, patterns.length)
})

test('a long text is read at its head and its tail, with the place in the original', () => {
  const filler = 'step 1 loss 2.5\n'.repeat(16 * 1024)
  const head = categorize({ text: OUT_OF_MEMORY + filler, evidence: [] })
  const tail = categorize({ text: filler + OUT_OF_MEMORY, evidence: [] })
  const middle = categorize({ text: filler + OUT_OF_MEMORY + filler, evidence: [] })
  assert.ok(filler.length > HEAD_UNITS + TAIL_UNITS)
  assert.deepEqual([head.category, tail.category, middle.category], ['resource.oom_gpu', 'resource.oom_gpu', 'unknown'])
  assert.equal(tail.matched?.start, filler.length + OUT_OF_MEMORY.indexOf('CUDA out'))
})

test('any text at all gives a verdict whose words are in the text, and letters of other scripts shift nothing', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), fc.constantFrom(...gathered), (noise, { text }) => {
      const whole = `${noise}\n${text}`
      const { matched } = categorize({ text: whole, evidence: [] })
      assert.ok(matched !== null)
      assert.equal(whole.slice(matched.start, matched.end), matched.words)
    }),
  )
  const matched = categorize({ text: `İİİİ\n${OUT_OF_MEMORY}`, evidence: [] }).matched
  assert.equal(matched?.words, 'CUDA out of memory')
})

test('hostile texts of 1 MiB are answered, each pattern looking at a bounded number of places', () => {
  const MIB = 1024 * 1024
  const starts = TEXT_RULES.flatMap(({ any }) => any.map((pattern) => pattern.split('*')[0] ?? ''))
  const hostile = [
    'a'.repeat(MIB),
    'xid ('.repeat(MIB / 5),
    'cancelled at '.repeat(MIB / 13),
    '"cuda out of memory" is no label '.repeat(MIB / 33),
    `://${'cuda out of memory'.replaceAll(' ', '-')}/`.repeat(MIB / 20),
    starts.join(' ').repeat(Math.ceil(MIB / starts.join(' ').length)),
    '\u0000\ud800'.repeat(MIB / 2),
  ]
  for (const text of hostile) assert.ok(Object.hasOwn(CATEGORIES, categorize({ text, evidence: [] }).category))
})

function read(name: string): Sample[] {
  const file = new URL(`../../fixtures/error-texts/${name}.jsonl`, import.meta.url)
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Sample)
}
