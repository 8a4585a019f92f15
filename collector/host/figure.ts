/** What is known of the host at a moment. */

/** A figure: name, labels without `__name__`, value. */
export interface Figure {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

/** A figure and when it was true, ms since the epoch. */
export interface Sample extends Figure {
  readonly timestamp: number
}

export const figure = (name: string, value: number, labels: Readonly<Record<string, string>> = {}): Figure => ({
  name,
  labels,
  value,
})
