/** How a task is, as a word with a sign; not by colour alone. */
import type { TaskStateAnswer } from '../../tasks/task-answers.ts'

export function StateMark({ state }: { readonly state: TaskStateAnswer }) {
  return (
    <span class={`state ${state}`}>
      <span class="dot" aria-hidden="true" />
      {state}
    </span>
  )
}
