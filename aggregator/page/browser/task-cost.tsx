/** What a task costs, line by line, with the price that was taken or why there is none; and what was counted, by quarters of an hour. */
import type { CostLineAnswer, TaskAttemptAnswer, UsageLineAnswer } from '../../tasks/task-answers.ts'
import { formatMoney, formatTime, formatValue, NONE } from './format.ts'
import { cut, Name } from './name.tsx'

export function TaskCost({ task }: { readonly task: TaskAttemptAnswer }) {
  const { cost, usage } = task
  return (
    <section class="card" aria-labelledby="cost-title">
      <header class="section">
        <h2 id="cost-title">Cost</h2>
        <span class={cost.micros === null ? 'warn' : ''}>
          {cost.micros === null ? `${NONE} not known` : <strong>{formatMoney(cost.micros, cost.currency)}</strong>}
        </span>
      </header>
      <p class={cost.micros === null ? 'why warn' : 'why muted'}>{cut(cost.why, 400)}</p>
      {cost.lines.length > 0 && <CostTable lines={cost.lines} currency={cost.currency} />}
      {usage.length > 0 && (
        <details>
          <summary>What was counted, by quarters of an hour ({usage.length})</summary>
          <UsageTable usage={usage} />
        </details>
      )}
    </section>
  )
}

const PHASES: Readonly<Record<CostLineAnswer['phase'], string>> = { queue: 'queueing', load: 'loading', run: 'running' }

function CostTable({ lines, currency }: { lines: readonly CostLineAnswer[]; currency: string | null }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached from the keyboard
    <section class="scroll" tabIndex={0} aria-label="Lines of the cost">
      <table>
        <thead>
          <tr>
            <th scope="col">Resource</th>
            <th scope="col">While</th>
            <th scope="col">From</th>
            <th scope="col">To</th>
            <th scope="col" class="figure">
              Amount
            </th>
            <th scope="col" class="figure">
              Cost
            </th>
            <th scope="col">Prices that held</th>
          </tr>
        </thead>
        <tbody>
          {lines.map((line) => (
            <tr key={`${line.phase} ${line.resource} ${line.from}`}>
              <th scope="row">{resourceName(line.resource)}</th>
              <td>{PHASES[line.phase]}</td>
              <td>{formatTime(Date.parse(line.from))}</td>
              <td>{formatTime(Date.parse(line.to))}</td>
              <td class="figure">{amountText(line)}</td>
              <td class="figure">{formatMoney(line.cost_micros, currency)}</td>
              <td>
                {line.price_ids.map((id) => (
                  <code key={id}>
                    <Name text={id} />{' '}
                  </code>
                ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

function UsageTable({ usage }: { readonly usage: readonly UsageLineAnswer[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached from the keyboard
    <section class="scroll" tabIndex={0} aria-label="What was counted">
      <table>
        <thead>
          <tr>
            <th scope="col">From</th>
            <th scope="col">To</th>
            <th scope="col">Resource</th>
            <th scope="col" class="figure">
              Amount
            </th>
            <th scope="col" class="figure">
              Cost
            </th>
          </tr>
        </thead>
        <tbody>
          {usage.map((line) => (
            <tr key={`${line.resource} ${line.from}`}>
              <td>{formatTime(Date.parse(line.from))}</td>
              <td>{formatTime(Date.parse(line.to))}</td>
              <th scope="row">{resourceName(line.resource)}</th>
              <td class="figure">{amountText(line)}</td>
              <td class="figure">{formatMoney(line.cost_micros, line.currency)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

function resourceName(resource: string): string {
  return cut(resource.replaceAll('_', ' ').replace('gpu', 'GPU').replace('cpu', 'CPU'), 40)
}

/** Amounts come as decimal texts, exact: bytes are shown as people read them, all else digit by digit. */
function amountText({ amount, unit }: Pick<UsageLineAnswer, 'amount' | 'unit'>): string {
  if (unit === 'B') return formatValue(Number(amount), 'bytes')
  const exact = cut(amount.replace(/(\.\d*?)0+$/, '$1').replace(/\.$/, ''), 40)
  return unit === '1' ? exact : `${exact}\u202f${cut(unit, 10)}`
}
