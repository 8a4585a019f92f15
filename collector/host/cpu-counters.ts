/**
 * Linux lets a processor's counters step back a little (iowait does in every kernel), and a reader takes a step back for a reset: a
 * spike of everything since the boot. So each holds its highest value, as node_exporter does.
 */
import type { Figure } from './figure.ts'

const COUNTER = 'node_cpu_seconds_total'
/** `idle` steps back by more only when the processor was taken away and came again: it then counts anew. */
const RESET_SECONDS = 3

export class CpuCounters {
  /** By processor and mode. */
  readonly #held = new Map<string, Map<string, number>>()

  /** The same figures, with no counter of a processor lower than before. */
  hold(figures: readonly Figure[]): Figure[] {
    for (const { name, labels, value } of figures) {
      if (name !== COUNTER || labels['mode'] !== 'idle') continue
      if (value < (this.#held.get(labels['cpu']!)?.get('idle') ?? 0) - RESET_SECONDS) this.#held.delete(labels['cpu']!)
    }
    return figures.map((figure) => {
      const { cpu, mode } = figure.labels
      if (figure.name !== COUNTER || cpu === undefined || mode === undefined) return figure
      const modes = this.#held.get(cpu) ?? new Map<string, number>()
      this.#held.set(cpu, modes)
      const value = Math.max(figure.value, modes.get(mode) ?? 0)
      modes.set(mode, value)
      return { ...figure, value }
    })
  }
}
