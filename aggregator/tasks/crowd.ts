/**
 * More tasks on a node at one moment than can have shared it: ends that nobody told of. Each of them would be divided among all, and make
 * all others dirty, which grows with the square of their number; so none of them is given figures while it is so, and that is said.
 */
import type { TaskSpan } from './fold.ts'
import type { Span } from './step-function.ts'
import type { TaskKey } from './task-record.ts'

/** Tasks on one node at one moment. */
export const NODE_TASKS_MAX = 256

export interface OnNode {
  readonly crowded: boolean
  /** Where it is crowded, at least as many as that takes. */
  readonly spans: readonly TaskSpan[]
}

/** @param all who was there at some time in the span; of those that go on, no more are looked at than it takes */
export function onNode(all: Iterable<TaskSpan>, { from, to }: Span, max: number): OnNode {
  const spans: TaskSpan[] = []
  let open = 0
  for (const span of all) {
    spans.push(span)
    // Who goes on is there at the end of the span, with all others that do.
    if (span.to >= to && ++open > max) return { crowded: true, spans }
  }
  return { crowded: spans.length > max && mostAtOnce(spans, from) > max, spans }
}

function mostAtOnce(spans: readonly Span[], from: number): number {
  const begins = spans.map((span) => Math.max(from, span.from)).sort((a, b) => a - b)
  const ends = spans.map((span) => span.to).sort((a, b) => a - b)
  let most = 0
  for (let begun = 0, ended = 0; begun < begins.length; begun++) {
    while (ends[ended]! <= begins[begun]!) ended++
    most = Math.max(most, begun + 1 - ended)
  }
  return most
}

interface Crowd {
  /** Those longest not looked at first. */
  readonly keys: Map<string, TaskKey>
  /** How many of the first are to be looked at. */
  unchecked: number
}

/** Attempts without figures because their node was crowded, by node: they have some when it turns out that it was not. */
export class Crowds {
  readonly #crowds = new Map<string, Crowd>()

  add(node: string, name: string, key: TaskKey): void {
    const crowd = this.#crowds.get(node) ?? { keys: new Map(), unchecked: 0 }
    this.#crowds.set(node, crowd)
    crowd.keys.set(name, key)
  }

  delete(node: string, name: string): void {
    const crowd = this.#crowds.get(node)
    if (crowd?.keys.delete(name) === true && crowd.keys.size === 0) this.#crowds.delete(node)
  }

  /** Something on the node changed. */
  moved(node: string): void {
    const crowd = this.#crowds.get(node)
    if (crowd !== undefined) crowd.unchecked = crowd.keys.size
  }

  /** Whether something on the node changed that not all there were looked at for. */
  isMoved(node: string): boolean {
    return (this.#crowds.get(node)?.unchecked ?? 0) > 0
  }

  allMoved(): void {
    for (const node of this.#crowds.keys()) this.moved(node)
  }

  /** Attempts of nodes that have changed since they were given last. */
  take(max: number): TaskKey[] {
    const taken: TaskKey[] = []
    for (const crowd of this.#crowds.values()) {
      for (const [name, key] of [...crowd.keys].slice(0, Math.min(crowd.unchecked, max - taken.length))) {
        crowd.keys.delete(name)
        crowd.keys.set(name, key)
        crowd.unchecked--
        taken.push(key)
      }
      if (taken.length >= max) break
    }
    return taken
  }
}
