/** The configuration file: YAML, with the line of every key, so that what is wrong can be found. */
import { readFileSync } from 'node:fs'
import { isMap, isScalar, LineCounter, parseDocument, YAMLParseError } from 'yaml'
import { messageOf } from './errors.ts'

/** What stands in a file. */
export interface ConfigFile {
  /** As it was named; '' when there is none. */
  readonly path: string
  readonly values: Readonly<Record<string, unknown>>
  /** `fleetmeter.yaml:12`, of a key or of one below it; the file alone where the key is not there. */
  readonly placeOf: (...keys: readonly string[]) => string
}

export const NO_FILE: ConfigFile = { path: '', values: {}, placeOf: () => '' }

/** Larger is no configuration of ours: refused before it is read as YAML. */
const FILE_BYTES_MAX = 16 * 1024 * 1024

/** @param problems what is wrong with the file as a whole; it is empty then */
export function readConfigFile(path: string, problems: string[]): ConfigFile {
  try {
    const bytes = readFileSync(path)
    if (bytes.length > FILE_BYTES_MAX) throw new Error(`it has ${bytes.length} bytes of at most ${FILE_BYTES_MAX}`)
    // What an editor leaves for a moment that empties a file before it writes it: taken over, it would be all defaults.
    if (bytes.toString('latin1').trim() === '')
      throw new Error(
        'it is empty: write the settings into another file and rename it to this one; for none at all, {}',
      )
    const lines = new LineCounter()
    const document = parseDocument(bytes.toString('utf8'), { lineCounter: lines })
    if (document.errors.length > 0) throw document.errors[0]!
    const values: unknown = document.toJS() ?? {}
    if (typeof values !== 'object' || values === null || Array.isArray(values)) {
      problems.push(`${path}: expected sections and settings, got ${Array.isArray(values) ? 'a list' : typeof values}`)
      return { ...NO_FILE, path }
    }
    const placeOf = (...keys: readonly string[]): string => {
      const offset = offsetOf(document.contents, keys)
      return offset === undefined ? path : `${path}:${lines.linePos(offset).line}`
    }
    return { path, values: values as Record<string, unknown>, placeOf }
  } catch (error) {
    // Below the first line the parser shows the place, with whatever secret stands there.
    const how = error instanceof YAMLParseError ? 'cannot be read as YAML' : 'cannot be read'
    problems.push(`${path}: ${how}: ${messageOf(error).split('\n', 1)[0]}`)
    return { ...NO_FILE, path }
  }
}

/** Where the last of the keys begins, each below the one before it. */
function offsetOf(root: unknown, keys: readonly string[]): number | undefined {
  let node = root
  let offset: number | undefined
  for (const key of keys) {
    const pair = isMap(node) ? node.items.find((item) => isScalar(item.key) && item.key.value === key) : undefined
    if (pair === undefined) return undefined
    offset = (pair.key as { range?: readonly number[] }).range?.[0]
    node = pair.value
  }
  return offset
}
