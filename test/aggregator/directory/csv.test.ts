/** CSV as people and spreadsheets write it, and as somebody writes it who means harm. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CsvError, csvLine, readCsv } from '../../../aggregator/directory/csv.ts'

const LIMITS = { lines: 100, columns: 10 }
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const cells = async (text: string): Promise<(readonly string[])[]> =>
  (await readCsv(bytes(text), LIMITS)).map((row) => row.cells)
const refused = (input: Uint8Array, line: number, words: RegExp): Promise<void> =>
  assert.rejects(readCsv(input, LIMITS), (error) => {
    assert.ok(error instanceof CsvError)
    assert.equal(error.line, line)
    assert.match(error.message, words)
    return true
  })

test('readCsv() takes a byte order mark, CRLF, LF, no end of line, empty lines and quotes', async () => {
  assert.deepEqual(await cells('\ufeffa,b\r\n1,2\n\n"x, ""y""","l1\r\nl2"'), [
    ['a', 'b'],
    ['1', '2'],
    ['x, "y"', 'l1\r\nl2'],
  ])
  assert.deepEqual(await cells('a,\n'), [['a', '']])
  assert.deepEqual(await cells(''), [])
})

test('readCsv() says on which line a row begins, behind cells of several lines', async () => {
  const rows = await readCsv(bytes('a\n"x\ny"\nz'), LIMITS)
  assert.deepEqual(
    rows.map(({ line }) => line),
    [1, 2, 4],
  )
})

test('readCsv() names the line that is no CSV', async () => {
  await refused(bytes('a,b\nx"y,1'), 2, /quote within a cell/)
  await refused(bytes('a\n"x"y'), 2, /behind a closing quote/)
  await refused(bytes('a\nb\n"never'), 3, /never closed/)
  await refused(bytes('a\rb\r'), 1, /carriage return/)
})

test('readCsv() refuses other encodings and says which line holds the first bad byte', async () => {
  await refused(Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from('a,b\n', 'utf16le')]), 1, /UTF-16/)
  await refused(Buffer.concat([bytes('a\nb\n'), Buffer.from([0x4d, 0xfc, 0x6c]), bytes('\n')]), 3, /not UTF-8/)
})

test('readCsv() stops at its bounds', async () => {
  await refused(bytes('a\n'.repeat(1_000_000)), 101, /more than 100 lines/)
  await refused(bytes(','.repeat(1_000_000)), 1, /more than 10 columns/)
})

test('csvLine() writes formulas as text, and readCsv() reads what was meant', async () => {
  assert.equal(csvLine(['=1+1', '@x', '-5', '+5', "'=x", 'a']), "'=1+1,'@x,-5,'+5,''=x,a\r\n")
  assert.deepEqual(await cells("'=1+1,'@x,''=x,'plain"), [['=1+1', '@x', "'=x", "'plain"]])
})

test('csvLine() and readCsv() give back any text', async () => {
  const row = fc.array(
    fc.string({ unit: 'binary' }).map((text) => text.replace(/\p{Cs}/gu, '')),
    { minLength: 2, maxLength: 9 },
  )
  await fc.assert(
    fc.asyncProperty(row, async (given) => {
      assert.deepEqual(await cells(csvLine(given)), [given])
    }),
  )
})
