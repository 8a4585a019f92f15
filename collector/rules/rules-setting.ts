/** The rules of the configuration: read and checked where the configuration is, and handed on as they were written. */
import * as v from 'valibot'
import type { Setting } from '../../proto/runtime/config.ts'
import { DEFAULT_RULES } from './default-rules.ts'
import { readRules } from './read-rules.ts'

/** A list of rules; JSON in the environment. */
export function rules(doc: string): Setting<readonly unknown[]> {
  const schema = v.pipe(
    v.unknown(),
    v.rawTransform<unknown, readonly unknown[]>(({ dataset, addIssue, NEVER }) => {
      const list = typeof dataset.value === 'string' ? parseJson(dataset.value) : dataset.value
      const { problems } = readRules(list)
      for (const message of problems) addIssue({ message })
      return problems.length === 0 ? (list as readonly unknown[]) : NEVER
    }),
  )
  const fallbackText = `${DEFAULT_RULES.length} rules, see *Aggregation rules*`
  return { schema, fallback: DEFAULT_RULES, fallbackText, doc, aliases: [], secret: false }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
