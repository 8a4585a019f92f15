import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Label } from '../../../proto/wire/labels.ts'
import { compilePattern, PatternError } from '../../../proto/wire/re2.ts'
import { parseSelector, SelectorError } from '../../../proto/wire/selector.ts'

const labels: Label[] = [
  ['host', 'a'],
  ['gpu', '3'],
]

test('parseSelector() reads every form of Prometheus, and its matchers can be asked for', () => {
  const forms: [string, string][] = [
    ['up', '__name__=up'],
    [' up { } # of all', '__name__=up'],
    ['a:b_1{x="1",}', '__name__=a:b_1 x=1'],
    ['up{a="1",b!=\'2\',c=~`3\\d`,d!~"4"}', '__name__=up a=1 b!=2 c=~3\\d d!~4'],
    ['{__name__=~"a|b", __name__!="b"}', '__name__=~a|b __name__!=b'],
    ['{"metric.name", l="v"}', '__name__=metric.name l=v'],
    ['{l="v", \'läbel name\'="w", "metric.name"}', 'l=v läbel name=w __name__=metric.name'],
    ['{a="\\x41\\102\\u00e9\\U0001F600\\xc3\\xa9\\n\\\\\\""}', 'a=ABé😀é\n\\"'],
    ["{a='\"\\''}", 'a="\''],
    ['{a=`\n\\`}', 'a=\n\\'],
  ]
  for (const [text, expected] of forms) {
    const { matchers } = parseSelector(text)
    assert.equal(matchers.map(({ name, op, value }) => name + op + value).join(' '), expected, text)
  }
})

test('parseSelector() says what is wrong and where', () => {
  const bad: [string, number, RegExp][] = [
    ['', 0, /expected a metric name or \{/],
    ['up{', 3, /expected a label name, got the end/],
    ['up{,}', 3, /expected a label name/],
    ['up{a}', 4, /expected one of = != =~ !~, got "\}"/],
    ['up{a=b}', 5, /expected a quoted text/],
    ['up{a="b}', 5, /has no end/],
    ['up{a="b\n"}', 5, /has no end/],
    ['up{a=`b}', 5, /has no end/],
    ['up{a="b" c="d"}', 9, /expected , or \}/],
    ['up[5m]', 2, /unexpected "\[5m\]"/],
    ['up{a="\\q"}', 6, /escape \\q is unknown/],
    ['up{a="\\\'"}', 6, /escape \\' is unknown/],
    ['up{a="\\xff"}', 6, /not valid UTF-8/],
    ['up{a="\\ud800"}', 6, /escape \\u is unknown/],
    ['up{__name__="down"}', 0, /set twice/],
    ['{"up","down"}', 0, /set twice/],
    ['{}', 0, /must not match the empty text/],
    ['{a=""}', 0, /must not match the empty text/],
    ['{a=~".*",b!="x"}', 0, /must not match the empty text/],
    ['{""="x"}', 1, /label name is empty/],
    ['{a=~"(?=x)"}', 4, /unsupported Perl syntax/],
    ['{a=~"(x)\\\\1"}', 4, /invalid escape sequence/],
  ]
  for (const [text, position, message] of bad) {
    assert.throws(
      () => parseSelector(text),
      (e: unknown) => e instanceof SelectorError && e.position === position && message.test(e.message),
      text,
    )
  }
})

test('Selector.matches() anchors patterns, and takes an absent label as an empty one', () => {
  const cases: [string, boolean][] = [
    ['up', true],
    ['down', false],
    ['{__name__=~"u."}', true],
    ['{__name__=~"u"}', false],
    ['up{host="a",gpu!="4"}', true],
    ['up{host=~"b|a"}', true],
    ['up{host=~"b|ab"}', false],
    ['up{host!~"a"}', false],
    ['up{zone=""}', true],
    ['up{zone!="x"}', true],
    ['up{zone=~".+"}', false],
    ['up{zone!~".+"}', true],
    ['up{host=""}', false],
  ]
  for (const [text, expected] of cases) assert.equal(parseSelector(text).matches('up', labels), expected, text)
})

test('parseSelector() throws nothing but its own error, whatever the text', () => {
  const piece = fc.constantFrom('up', '{', '}', '"', "'", '`', '\\', 'a', '=', '~', '!', ',', '[', '(', '?', '\\x', '#')
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece).map((p) => p.join('')),
  )
  fc.assert(
    fc.property(text, (t) => {
      for (const candidate of [t, `{a=~\`${t}\`}`, `{a="${t}"}`]) {
        try {
          parseSelector(candidate)
        } catch (error) {
          assert.ok(error instanceof SelectorError, String(error))
          assert.ok(error.position >= 0 && error.position <= candidate.length)
        }
      }
    }),
    { numRuns: 2000 },
  )
})

test('A selector made of any names and values matches exactly the series that has them', () => {
  const word = fc.string({ unit: 'grapheme', minLength: 1 })
  const quoted = (t: string) => `"${t.replace(/[\\"\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`))}"`
  fc.assert(
    fc.property(word, word, word, word, (name, label, value, other) => {
      fc.pre(label !== '__name__')
      const selector = parseSelector(`{${quoted(name)},${quoted(label)}=${quoted(value)}}`)
      assert.ok(selector.matches(name, [[label, value]]))
      assert.equal(selector.matches(name, [[label, other]]), other === value)
      assert.ok(parseSelector(`{${quoted(label)}=~${quoted(`\\Q${value.replaceAll('\\', '')}\\E`)}}`))
    }),
  )
})

test('compilePattern() gives a pattern the meaning that RE2 gives it', () => {
  const cases: [pattern: string, matching: string[], not: string[]][] = [
    ['a|b', ['a', 'b'], ['ab', '']],
    ['.', ['\n', 'é', '😀'], ['', 'ab']],
    ['(?i)gpu', ['GPU', 'gpu'], ['gpus']],
    ['(?is)a.c', ['A\nC'], []],
    ['\\s', [' ', '\n', '\f'], ['\v', '\u00a0']],
    ['[\\S]', ['\v', '\u00a0', 'a'], [' ']],
    ['[[:alpha:]_]+', ['ab_'], ['1', 'é']],
    ['[[:^digit:]x]', ['x', 'a'], ['1']],
    ['[]a]+', [']a'], ['b']],
    ['[^]a]', ['b'], [']', 'a']],
    ['[a-]', ['a', '-'], ['b']],
    ['[a&&b]+', ['a&b'], ['c']],
    ['[(|)]', ['(', '|', ')'], ['a']],
    ['a{2}', ['aa'], ['a', 'a{2}']],
    ['a{,2}', ['a{,2}'], ['aa']],
    ['{x}', ['{x}'], ['x']],
    ['a\\-\\_\\/b', ['a-_/b'], []],
    ['\\Qa.b(\\E+', ['a.b(((', 'a.b('], ['axb(']],
    ['\\x41\\x{1F600}\\101\\07', ['A😀A\x07'], []],
    ['\\pL\\p{Greek}\\PL', ['éα1'], ['111']],
    ['\\p{^Lu}', ['a'], ['A']],
    ['(?P<x>a)(?<y>b)(?:c)', ['abc'], []],
    ['^*a$', ['a'], []],
    ['\\Aa\\z', ['a'], []],
    ['a|', ['a', ''], ['b']],
    ['a+?b*?', ['aab'], []],
    ['', [''], ['a']],
  ]
  for (const [pattern, matching, not] of cases) {
    for (const text of matching) assert.ok(compilePattern(pattern).test(text), `${pattern} must match ${text}`)
    for (const text of not) assert.ok(!compilePattern(pattern).test(text), `${pattern} must not match ${text}`)
  }
})

test('compilePattern() refuses what RE2 does not have', () => {
  const bad = [
    '(?=a)',
    '(?!a)',
    '(?<=a)',
    '(?<!a)',
    '(a)\\1',
    '\\k<a>',
    '(?>a)',
    'a**',
    '*a',
    '[z-a]',
    '[a',
    '(a',
    'a)',
  ]
  bad.push('\\q', '\\', '\\Z', '\\C', 'a{1001}', '[[:nope:]]', '\\p{Nope}', 'a{2,1}', '\\u0041', '[\\1]')
  for (const pattern of bad) assert.throws(() => compilePattern(pattern), PatternError, pattern)
})

test('compilePattern() needs time in proportion to the text, whatever the pattern', () => {
  const pattern = compilePattern('(a|aa)+(b|c)*(a+)+')
  assert.ok(!pattern.test(`${'a'.repeat(10_000)}!`))
})
