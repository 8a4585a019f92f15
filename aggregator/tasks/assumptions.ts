/** What was assumed of an attempt, for a person. */
import type { TaskFlag } from './attempts.ts'
import type { CalculationFlag } from './calculation.ts'
import type { AssumptionAnswer } from './task-answers.ts'

const SENTENCES: Readonly<Record<TaskFlag | CalculationFlag, string>> = {
  start_from_end: 'No event told its start; its end says when it was.',
  start_unknown: 'Nothing says when it began, so its window is empty.',
  clocks_disagree:
    'Two services told times that contradict each other; the earliest start and the last end were taken.',
  verdicts_disagree: 'One service says that it went well and another that it did not; the workflow was believed.',
  lost: 'No event told its end; it was closed at the last sample of its node.',
  superseded: 'No event told its end; it was closed when its next attempt began on another node.',
  signals_dropped: 'There were more events than are kept of a task: the first and the last were.',
  load_failed: 'Weights were not loaded, at least once.',
  pod_ambiguous: 'Several pods of its node may have been its own, so none was taken.',
  shared_equally: 'Others were on its GPUs and nothing says who used how much: each moment was divided equally.',
  gpus_of_node: 'Neither events nor labels say which GPUs it had: all of its node were taken.',
  node_shared: 'CPU, memory, disk and network are those of its node, divided among the tasks that were on it.',
  no_samples: 'There are no samples of its node in its window.',
  open: 'It has not ended: its figures are up to the newest calculation.',
}

/** @param flags of the record and of the calculation */
export function assumptionsOf(flags: readonly (TaskFlag | CalculationFlag)[]): AssumptionAnswer[] {
  return flags.map((flag) => ({ flag, sentence: SENTENCES[flag] ?? flag }))
}
