/** Fields of a list's filters: what is chosen in them stands in the address. */
import { useState } from 'preact/hooks'
import { cut } from './name.tsx'

interface ChoiceProps<T extends string> {
  readonly title: string
  /** Empty: any. */
  readonly value: T | ''
  readonly among: readonly T[]
  readonly change: (value: T | '') => void
}

/** One of a few, or any. */
export function Choice<T extends string>({ title, value, among, change }: ChoiceProps<T>) {
  return (
    <label>
      {title}
      <select value={value} onChange={(event) => change(event.currentTarget.value as T | '')}>
        <option value="">any</option>
        {among.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  )
}

interface DraftProps {
  readonly value: string
  readonly onInput: (event: Typed) => void
  readonly onChange: (event: Typed) => void
  readonly onBlur: () => void
}

interface Typed {
  readonly currentTarget: HTMLInputElement
}

/** Of a field whose value is elsewhere: what is being typed stays while the list comes anew, until it is entered or left. */
export function useDraft(value: string, change: (value: string) => void): DraftProps {
  const [draft, setDraft] = useState<string>()
  return {
    value: draft ?? value,
    onInput: ({ currentTarget }) => setDraft(currentTarget.value),
    onChange: ({ currentTarget }) => {
      setDraft(undefined)
      change(currentTarget.value.trim())
    },
    onBlur: () => setDraft(undefined),
  }
}

interface TextChoiceProps {
  /** Names its list of suggestions. */
  readonly name: string
  readonly title: string
  readonly value: string
  /** What is on the page may be chosen. */
  readonly known: readonly (string | null)[] | undefined
  /** Characters of a suggestion that are shown; all by default. */
  readonly shownMax?: number
  readonly change: (value: string) => void
}

/** Any text. */
export function TextChoice({ name, title, value, known, shownMax, change }: TextChoiceProps) {
  const list = `${name}-known`
  return (
    <label>
      {title}
      <input
        type="search"
        list={list}
        placeholder="any"
        autocomplete="off"
        spellcheck={false}
        {...useDraft(value, change)}
      />
      <datalist id={list}>
        {[...new Set(known)].map(
          (one) =>
            one !== null &&
            one.length < 200 && (
              <option key={one} value={one} label={shownMax === undefined ? undefined : cut(one, shownMax)} />
            ),
        )}
      </datalist>
    </label>
  )
}
