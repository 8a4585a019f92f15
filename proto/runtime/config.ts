/**
 * The vocabulary of configuration: settings, their kinds, and the one rule that names a setting everywhere. `journal_bytes_max`
 * of the collector is
 *
 *     collector:                                        in the file
 *       journal_bytes_max: 4GiB
 *     FLEETMETER_COLLECTOR_JOURNAL_BYTES_MAX=4GiB       in the environment
 *     --collector-journal-bytes-max 4GiB                as a flag
 *
 * and settings that both programs share have no section. A setting may have older names too (`API_BEARER_TOKEN`). Which of the
 * places wins, and what is said of a wrong value: load-config.ts.
 */
import * as v from 'valibot'

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
  /** Stands for a value in --help: SIZE, LIST; absent: TEXT. */
  readonly placeholder?: string
  /** How a value is written in a file; absent: as it is. */
  readonly written?: (value: T) => unknown
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
  shape: Pick<Setting<T>, 'placeholder' | 'written'> = {},
): Setting<T> {
  const { aliases = [], secret = false } = options
  return { schema, fallback, fallbackText, doc, aliases, secret, ...shape }
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
    { placeholder: 'URL,URL,…' },
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
    { placeholder: 'NUMBER' },
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
    { placeholder: 'SIZE', written: formatBytes },
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
    { placeholder: 'true|false' },
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
    { placeholder: words.join('|') },
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
    { placeholder: 'A,B,…' },
  )
}

/** Settings that are about one thing: one word for `--help`, and what they are about. */
export type Topic = readonly [word: string, title: string]

/** Settings under one section of the file; '' for those that stand at the top. */
export interface Section<C> {
  readonly name: string
  readonly settings: SettingsOf<C>
  /** By the key of the setting that it begins with: a topic goes on until the next one. */
  readonly topics?: Readonly<Record<string, Topic>>
  /** Keys of settings that a running program takes over when its file is read again (SIGHUP); others need a restart. */
  readonly reloads?: readonly string[]
}

/** The keys of a section's settings, in order. */
export function keysOf(section: Section<object>): string[] {
  return Object.keys(section.settings)
}

export function settingOf(section: Section<object>, key: string): Setting<unknown> {
  return (section.settings as Record<string, Setting<unknown>>)[key]!
}

/** journalBytesMax → journal_bytes_max. */
export function snake(key: string): string {
  return key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
}

/** `data-dir`, `collector-listen`: without the two hyphens. */
export function flagName(section: string, key: string): string {
  return `${section === '' ? '' : `${section}-`}${snake(key).replaceAll('_', '-')}`
}

export function envName(section: string, key: string): string {
  return `FLEETMETER_${section === '' ? '' : `${section}_`}${snake(key)}`.toUpperCase()
}

/** `data_dir`, `collector.listen`. */
export function fileName(section: string, key: string): string {
  return `${section === '' ? '' : `${section}.`}${snake(key)}`
}

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
