/**
 * A configuration file with every setting at its default, out of the schemas. Words stand behind `#` and one blank, settings
 * behind `#` alone: who uncomments the latter has a file that changes nothing.
 */
import { stringify } from 'yaml'
import type { Section, Setting } from './config.ts'
import { envName, settingOf, snake } from './config.ts'
import { groupsOf, wrap } from './config-help.ts'

const WIDTH = 110

/** @param head what stands above all, in lines */
export function sampleFile(head: readonly string[], sections: readonly Section<object>[]): string {
  const lines = head.map((line) => `# ${line}`.trimEnd())
  for (const section of sections) {
    const indent = section.name === '' ? '' : '  '
    if (section.name !== '') lines.push('', `${section.name}:`)
    for (const { topic, keys } of groupsOf(section)) {
      lines.push('', `${indent}# ${'-'.repeat(8)} ${topic[1]}`)
      for (const key of keys) lines.push('', ...about(section, key, indent), ...commentedOut(section, key, indent))
    }
  }
  return `${lines.join('\n')}\n`
}

function about(section: Section<object>, key: string, indent: string): string[] {
  const { doc, aliases } = settingOf(section, key)
  const names = [envName(section.name, key), ...aliases].join(', ')
  const how = section.reloads?.includes(key) ? 'SIGHUP' : 'restart'
  return wrap(`${doc} (${names}; ${how})`, WIDTH - indent.length - 2).map((line) => `${indent}# ${line}`)
}

function commentedOut(section: Section<object>, key: string, indent: string): string[] {
  const text = stringify({ [snake(key)]: writtenDefault(settingOf(section, key)) }, { lineWidth: 0, indentSeq: true })
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `${indent}#${line}`)
}

function writtenDefault({ fallback, written }: Setting<unknown>): unknown {
  return written === undefined ? fallback : written(fallback)
}
