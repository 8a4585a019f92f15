/** Which attempt of a node and model comes next: the generations' starts in their order. */

export interface Anchor {
  /** When the weights are needed: the generation's start; else the end, or the end of time while nobody knows. */
  readonly at: number
  /** When it was first heard of: of two that are open, the older comes first. */
  readonly begin: number
  /** Of the task. */
  readonly task: string
  readonly attempt: number
}

export class Anchors {
  readonly #groups = new Map<string, Anchor[]>()

  add(group: string, anchor: Anchor): void {
    let anchors = this.#groups.get(group)
    if (anchors === undefined) {
      anchors = []
      this.#groups.set(group, anchors)
    }
    anchors.splice(placeOf(anchors, anchor), 0, anchor)
  }

  delete(group: string, anchor: Anchor): void {
    const anchors = this.#groups.get(group)
    if (anchors === undefined) return
    anchors.splice(placeOf(anchors, anchor), 1)
    if (anchors.length === 0) this.#groups.delete(group)
  }

  /** When the attempt before it needed the weights; -Infinity: none did. */
  before(group: string, anchor: Anchor): number {
    const anchors = this.#groups.get(group) ?? []
    return anchors[placeOf(anchors, anchor) - 1]?.at ?? Number.NEGATIVE_INFINITY
  }

  /** The task of the attempt that follows. */
  after(group: string, anchor: Anchor): string | undefined {
    const anchors = this.#groups.get(group) ?? []
    const place = placeOf(anchors, anchor)
    const next = anchors[place]
    return (next !== undefined && order(next, anchor) === 0 ? anchors[place + 1] : next)?.task
  }

  tasksOf(group: string): string[] {
    return (this.#groups.get(group) ?? []).map(({ task }) => task)
  }

  has(group: string): boolean {
    return this.#groups.has(group)
  }
}

function placeOf(anchors: readonly Anchor[], anchor: Anchor): number {
  let low = 0
  let high = anchors.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (order(anchors[middle]!, anchor) < 0) low = middle + 1
    else high = middle
  }
  return low
}

function order(a: Anchor, b: Anchor): number {
  return a.at - b.at || a.begin - b.begin || (a.task < b.task ? -1 : a.task > b.task ? 1 : a.attempt - b.attempt)
}
