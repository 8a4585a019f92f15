/** A name that somebody else gave: as text, cut, and with its direction of writing kept to itself. */
import { NONE } from './format.ts'

export interface NameProps {
  /** null: not known. */
  readonly text: string | null
  /** Characters; beyond them it is cut. */
  readonly max?: number
}

const TITLE_MAX = 300

export function Name({ text, max = 60 }: NameProps) {
  if (text === null) return <span class="muted">{NONE}</span>
  if (text === '') return <span class="muted">(empty)</span>
  const short = cut(text, max)
  return <bdi title={short === text ? undefined : cut(text, TITLE_MAX)}>{short}</bdi>
}

/** @param max characters, as people count them */
export function cut(text: string, max: number): string {
  if (text.length <= max) return text
  const characters = [...text.slice(0, 2 * max + 2)]
  return characters.length <= max ? text : `${characters.slice(0, max).join('')}…`
}

/** Ids of 36 characters by their first 8, which tell them apart on a page. */
export function shortId(id: string): string {
  return /^[0-9a-f]{8}-[0-9a-f-]{27}$/i.test(id) ? `${id.slice(0, 8)}…` : id
}
