/** `--print-config`: what is in force, as a file that could be used, with where each value came from behind it. */
import type { Section, Setting } from './config.ts'
import { fileName, keysOf, settingOf, snake } from './config.ts'

/** Origins stand behind the values in this column, where they are not longer. */
const ORIGIN_COLUMN = 44

/**
 * @param values by section
 * @param origins by name in the file
 */
export function printConfig(
  sections: readonly Section<object>[],
  values: readonly Readonly<Record<string, unknown>>[],
  origins: ReadonlyMap<string, string>,
): string {
  return sections
    .flatMap((section, i) => [
      ...(section.name === '' ? [] : [`${section.name}:`]),
      ...keysOf(section).map((key) => {
        const indent = section.name === '' ? '' : '  '
        const line = `${indent}${snake(key)}: ${printed(settingOf(section, key), values[i]![key])}`
        return `${line.padEnd(ORIGIN_COLUMN)} # ${origins.get(fileName(section.name, key)) ?? 'default'}`
      }),
    ])
    .join('\n')
}

/** JSON is YAML. */
function printed({ secret, show, written }: Setting<unknown>, value: unknown): string {
  if (show !== undefined) return JSON.stringify(show(value))
  if (secret && value !== '') return '"(hidden)"'
  const given = written === undefined ? value : written(value)
  return typeof given === 'string' && /^[A-Za-z0-9.][\w.-]*$/.test(given) && written !== undefined
    ? given
    : JSON.stringify(given)
}
