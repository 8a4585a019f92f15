/**
 * Configuration: one table of settings per program, read from four places, the later ones winning:
 *
 *     default  <  YAML file (--config FILE)  <  environment  <  flag
 *
 * One rule names a setting everywhere. `journal_bytes_max` of the collector is
 *
 *     collector:                                        in the file
 *       journal_bytes_max: 4GiB
 *     FLEETMETER_COLLECTOR_JOURNAL_BYTES_MAX=4GiB       in the environment
 *     --collector-journal-bytes-max 4GiB                as a flag
 *
 * and settings that both programs share have no section. A setting may have older names too (`API_BEARER_TOKEN`). All that
 * is wrong is said at once, each with the key, the value and what is allowed; the program then exits with 78 (EX_CONFIG).
 */
import { readFileSync } from 'node:fs'
import * as v from 'valibot'
import { parse as parseYaml } from 'yaml'
import { FleetmeterError, messageOf } from './errors.ts'

/** One setting: how it is read, what it is without being set, and what a person should know. */
export interface Setting<T> {
  readonly schema: v.GenericSchema<unknown, T>
  readonly fallback: T
  /** Shown for the default, where the value itself is not readable. */
  readonly fallbackText: string
  readonly doc: string
  /** Other names in the environment, the first wins. */
  readonly aliases: readonly string[]
  readonly secret: boolean
  /** What --print-config shows of a secret that is more than one text; absent: nothing. */
  readonly show?: (value: T) => unknown
}

/** A setting for each field of a configuration. */
export type SettingsOf<C> = { readonly [K in keyof C]-?: Setting<C[K]> }

interface Options {
  readonly aliases?: readonly string[]
  readonly secret?: boolean
}

interface TextOptions extends Options {
  /** What the text has to look like, and that in words. */
  readonly form?: readonly [pattern: RegExp, expected: string]
}

function setting<T>(
  schema: v.GenericSchema<unknown, T>,
  fallback: T,
  fallbackText: string,
  doc: string,
  options: Options,
): Setting<T> {
  return { schema, fallback, fallbackText, doc, aliases: options.aliases ?? [], secret: options.secret ?? false }
}

/** Any text; YAML numbers are taken as text too. */
export function text(fallback: string, doc: string, options: TextOptions = {}): Setting<string> {
  const [pattern, expected] = options.form ?? [/^/, '']
  return setting(
    v.pipe(v.unknown(), v.check(isScalar, 'expected text'), v.transform(String), v.regex(pattern, expected)),
    fallback,
    fallback === '' ? 'none' : fallback,
    doc,
    options,
  )
}

/** `http://host:port`; '' where it may be absent. A password in it would stand in logs: there are settings for that. */
export const URL_FORM: readonly [RegExp, string] = [
  /^$|^https?:\/\/[^\s/@?#]+\/?$/i,
  'expected an address such as http://host:8123, without user, password or path',
]

/** A list of addresses, comma separated in the environment. */
export function urls(fallback: readonly string[], doc: string, options: Options = {}): Setting<readonly string[]> {
  const one = v.pipe(v.string(), v.regex(URL_FORM[0], URL_FORM[1]), v.nonEmpty(URL_FORM[1]))
  return setting(
    v.pipe(
      v.unknown(),
      v.transform(toList),
      v.array(one, URL_FORM[1]),
      v.minLength(1, 'expected at least one address'),
    ),
    fallback,
    fallback.join(','),
    doc,
    options,
  )
}

/** A whole number within bounds. */
export function integer(
  fallback: number,
  min: number,
  max: number,
  doc: string,
  options: Options = {},
): Setting<number> {
  const allowed = `expected a whole number from ${min} to ${max}`
  return setting(
    v.pipe(
      v.unknown(),
      v.transform(toNumber),
      v.check((n) => Number.isInteger(n) && n >= min && n <= max, allowed),
    ),
    fallback,
    String(fallback),
    doc,
    options,
  )
}

/** A number of bytes: 1048576, 64KiB, 4GiB. */
export function bytes(fallback: number, min: number, doc: string, options: Options = {}): Setting<number> {
  return setting(
    v.pipe(
      v.unknown(),
      v.transform(toBytes),
      v.check(
        (n) => Number.isInteger(n) && n >= min,
        `expected a size of at least ${formatBytes(min)}, such as 64KiB, 32MiB or 4GiB`,
      ),
    ),
    fallback,
    formatBytes(fallback),
    doc,
    options,
  )
}

/** true or false; 1, 0, yes, no, on and off are understood. */
export function flag(fallback: boolean, doc: string, options: Options = {}): Setting<boolean> {
  return setting(
    v.pipe(v.unknown(), v.transform(toBoolean), v.boolean('expected true or false')),
    fallback,
    String(fallback),
    doc,
    options,
  )
}

/** One of a few words. */
export function oneOf<const T extends string>(
  words: readonly T[],
  fallback: NoInfer<T>,
  doc: string,
  options: Options = {},
): Setting<T> {
  return setting(
    v.pipe(v.unknown(), v.picklist(words, `expected one of ${words.join(', ')}`)),
    fallback,
    fallback,
    doc,
    options,
  )
}

/** A list, comma separated in the environment. */
export function list(fallback: readonly string[], doc: string, options: TextOptions = {}): Setting<readonly string[]> {
  const [pattern, expected] = options.form ?? [/^/, '']
  const one = v.pipe(v.string('expected a list of texts, comma separated'), v.regex(pattern, expected))
  return setting(
    v.pipe(v.unknown(), v.transform(toList), v.array(one, 'expected a list, comma separated')),
    fallback,
    fallback.length === 0 ? 'none' : fallback.join(','),
    doc,
    options,
  )
}

/** Settings under one section of the file; '' for those that stand at the top. */
export interface Section<C> {
  readonly name: string
  readonly settings: SettingsOf<C>
}

/** What {@link loadConfig} reads besides the sections; made of a process by main.ts only. */
export interface ConfigSources {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

export interface LoadedConfig<A, B> {
  readonly shared: Readonly<A>
  readonly own: Readonly<B>
  /** --help or --print-config was asked for: print this and exit 0. */
  readonly print: string | undefined
}

/**
 * Reads the shared section and the program's own.
 * @param others names of the sections of other programs, whose settings are passed over
 * @throws FleetmeterError `FM_CONFIG` with every problem in its message
 */
export function loadConfig<A extends object, B extends object>(
  program: string,
  shared: Section<A>,
  own: Section<B>,
  others: readonly string[],
  sources: ConfigSources,
): LoadedConfig<A, B> {
  const problems: string[] = []
  const flags = readFlags(sources.argv, problems)
  const file = readFile(flags.values.get('config') ?? sources.env['FLEETMETER_CONFIG'], problems)
  const known = new Set(['config', ...[shared, own].flatMap((s) => keysOf(s).map((key) => flagName(s.name, key)))])
  for (const name of flags.values.keys()) {
    if (!known.has(name) && !others.some((other) => name.startsWith(`${other}-`)))
      problems.push(`--${name}: there is no such flag${nearest(name, known)}`)
  }
  checkFile(file, shared, own, others, problems)
  checkEnvironment(sources.env, shared, own, others, problems)
  const read = <C extends object>(section: Section<C>): Readonly<C> =>
    readSection(section, file, sources.env, flags.values, problems)
  const loaded = { shared: read(shared), own: read(own) }
  const asked = flags.switches.has('help')
    ? helpText(program, [shared, own])
    : flags.switches.has('print-config')
      ? printConfig([
          [shared, loaded.shared],
          [own, loaded.own],
        ])
      : undefined
  if (problems.length > 0 && !flags.switches.has('help')) {
    throw new FleetmeterError(
      'FM_CONFIG',
      `The configuration has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:\n  ${problems.join('\n  ')}`,
    )
  }
  return { ...loaded, print: asked }
}

function readSection<C extends object>(
  section: Section<C>,
  file: Record<string, unknown>,
  env: ConfigSources['env'],
  flags: ReadonlyMap<string, string>,
  problems: string[],
): Readonly<C> {
  const inFile = (section.name === '' ? file : file[section.name]) as Record<string, unknown> | undefined
  const out: Record<string, unknown> = {}
  for (const key of keysOf(section)) {
    const { schema, fallback, aliases, secret } = section.settings[key as keyof C]
    const candidates: [where: string, value: unknown][] = [
      [`--${flagName(section.name, key)}`, flags.get(flagName(section.name, key))],
      ...[envName(section.name, key), ...aliases].map((name): [string, unknown] => [
        name,
        env[name] === '' ? undefined : env[name],
      ]),
      [fileName(section.name, key), inFile?.[snake(key)]],
    ]
    const set = candidates.find(([, value]) => value !== undefined && value !== null)
    if (set === undefined) {
      out[key] = fallback
      continue
    }
    const result = v.safeParse(schema, set[1])
    if (result.success) out[key] = result.output
    else {
      const shown = secret ? 'the value' : `"${String(set[1])}"`
      for (const message of new Set(result.issues.map((issue) => issue.message)))
        problems.push(`${set[0]}: ${shown} is not allowed: ${message}`)
    }
  }
  return Object.freeze(out) as Readonly<C>
}

function readFlags(
  argv: readonly string[],
  problems: string[],
): { values: Map<string, string>; switches: Set<string> } {
  const values = new Map<string, string>()
  const switches = new Set<string>()
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!
    if (arg === '--help' || arg === '-h' || arg === '--print-config') {
      switches.add(arg === '-h' ? 'help' : arg.slice(2))
      continue
    }
    const match = /^--([a-z][a-z0-9-]*)(?:=(.*))?$/s.exec(arg)
    const value = match?.[2] ?? (argv[i + 1]?.startsWith('--') ? undefined : argv[i + 1])
    if (match === null) problems.push(`"${arg}": expected a flag such as --data-dir DIR; --help lists them`)
    else if (value === undefined) problems.push(`${arg}: a value is missing`)
    else {
      values.set(match[1]!, value)
      if (match[2] === undefined) i++
    }
  }
  return { values, switches }
}

function readFile(path: string | undefined, problems: string[]): Record<string, unknown> {
  if (path === undefined) return {}
  try {
    const parsed: unknown = parseYaml(readFileSync(path, 'utf8')) ?? {}
    if (typeof parsed === 'object' && !Array.isArray(parsed)) return parsed as Record<string, unknown>
    problems.push(`${path}: expected sections and settings, got ${Array.isArray(parsed) ? 'a list' : typeof parsed}`)
  } catch (error) {
    // Below the first line the parser shows the place, with whatever secret stands there.
    problems.push(`${path}: cannot be read as YAML: ${messageOf(error).split('\n', 1)[0]}`)
  }
  return {}
}

function checkFile(
  file: Record<string, unknown>,
  shared: Section<object>,
  own: Section<object>,
  others: readonly string[],
  problems: string[],
): void {
  const top = new Set(keysOf(shared).map(snake))
  for (const key of Object.keys(file)) {
    if (!top.has(key) && key !== own.name && !others.includes(key))
      problems.push(`${key}: there is no such setting${nearest(key, [...top, own.name, ...others])}`)
  }
  const section = file[own.name]
  if (section === undefined || section === null) return
  if (typeof section !== 'object' || Array.isArray(section)) {
    problems.push(`${own.name}: expected settings below it`)
    return
  }
  const keys = keysOf(own).map(snake)
  for (const key of Object.keys(section))
    if (!keys.includes(key)) problems.push(`${own.name}.${key}: there is no such setting${nearest(key, keys)}`)
}

function checkEnvironment(
  env: ConfigSources['env'],
  shared: Section<object>,
  own: Section<object>,
  others: readonly string[],
  problems: string[],
): void {
  const known = new Set([
    'FLEETMETER_CONFIG',
    ...[shared, own].flatMap((s) => keysOf(s).map((key) => envName(s.name, key))),
  ])
  for (const name of Object.keys(env)) {
    if (!name.startsWith('FLEETMETER_') || known.has(name)) continue
    if (others.some((other) => name.startsWith(`FLEETMETER_${other.toUpperCase()}_`))) continue
    problems.push(`${name}: there is no such setting${nearest(name, known)}`)
  }
}

/** A table of all settings in Markdown, for the README: the test of the README compares the two. */
export function settingsTable(sections: readonly Section<object>[]): string {
  const rows = sections.flatMap((section) =>
    keysOf(section).map((key) => {
      const s = settingOf(section, key)
      const names = [envName(section.name, key), ...s.aliases].map((name) => `\`${name}\``).join(', ')
      return `| \`${fileName(section.name, key)}\` | ${names} | ${s.secret ? '' : `\`${s.fallbackText}\``} | ${s.doc} |`
    }),
  )
  return ['| in the file | in the environment | default | what |', '|---|---|---|---|', ...rows].join('\n')
}

function helpText(program: string, sections: readonly Section<object>[]): string {
  const lines = [
    `${program}: settings, from the least to the most important place: default, --config FILE (YAML), environment, flag.`,
    '',
    '  --help              this text',
    '  --print-config      the settings in force, secrets hidden',
    '  --config FILE       YAML (FLEETMETER_CONFIG)',
  ]
  for (const section of sections) {
    for (const key of keysOf(section)) {
      const s = settingOf(section, key)
      lines.push(
        '',
        `  --${flagName(section.name, key)} (${[envName(section.name, key), ...s.aliases].join(', ')})`,
        `      ${s.doc} Default: ${s.fallbackText}.`,
      )
    }
  }
  return lines.join('\n')
}

function printConfig(sections: readonly (readonly [Section<object>, object])[]): string {
  const lines: string[] = []
  for (const [section, values] of sections) {
    if (section.name !== '') lines.push(`${section.name}:`)
    for (const key of keysOf(section)) {
      const value = (values as Record<string, unknown>)[key]
      lines.push(`${section.name === '' ? '' : '  '}${snake(key)}: ${printed(settingOf(section, key), value)}`)
    }
  }
  return lines.join('\n')
}

function printed(setting: Setting<unknown>, value: unknown): string {
  if (setting.show !== undefined) return JSON.stringify(setting.show(value))
  return setting.secret && value !== '' ? '"(hidden)"' : JSON.stringify(value)
}

function keysOf(section: Section<object>): string[] {
  return Object.keys(section.settings)
}

function settingOf(section: Section<object>, key: string): Setting<unknown> {
  return (section.settings as Record<string, Setting<unknown>>)[key]!
}

const snake = (key: string): string => key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
const flagName = (section: string, key: string): string =>
  `${section === '' ? '' : `${section}-`}${snake(key).replaceAll('_', '-')}`
const envName = (section: string, key: string): string =>
  `FLEETMETER_${section === '' ? '' : `${section}_`}${snake(key)}`.toUpperCase()
const fileName = (section: string, key: string): string => `${section === '' ? '' : `${section}.`}${snake(key)}`

function isScalar(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

function toNumber(value: unknown): number {
  return typeof value === 'number'
    ? value
    : typeof value === 'string' && value.trim() !== ''
      ? Number(value)
      : Number.NaN
}

function toBytes(value: unknown): number {
  if (typeof value === 'number') return value
  const match = /^\s*(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?|B)?\s*$/i.exec(String(value))
  if (match === null) return Number.NaN
  const power = match[2] === undefined ? 0 : 'KMGT'.indexOf(match[2].toUpperCase()) + 1
  return Math.round(Number(match[1]) * 1024 ** power)
}

/** 1048576 → 1MiB. */
export function formatBytes(value: number): string {
  let power = 0
  let rest = value
  while (power < 4 && rest >= 1024 && rest % 1024 === 0) {
    rest /= 1024
    power++
  }
  return `${rest}${['', 'KiB', 'MiB', 'GiB', 'TiB'][power]}`
}

function toBoolean(value: unknown): unknown {
  const word = String(value).toLowerCase()
  if (['true', '1', 'yes', 'on'].includes(word)) return true
  return ['false', '0', 'no', 'off'].includes(word) ? false : value
}

function toList(value: unknown): unknown {
  if (Array.isArray(value)) return value
  return String(value)
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

/** ' (did you mean …?)' for a name that is two or three letters off. */
function nearest(name: string, candidates: Iterable<string>): string {
  let best: string | undefined
  let bestDistance = 4
  for (const candidate of candidates) {
    const distance = editDistance(name, candidate)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best === undefined ? '; --help lists them all' : ` (did you mean ${best}?)`
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}
