/** What samples of its window say: per GPU in one line each, then every figure, each with how much of the window stands behind it. */
import type {
  FigureAnswer,
  GpuFiguresAnswer,
  QuantitiesAnswer,
  QuantityAnswer,
  TaskAttemptAnswer,
} from '../../tasks/task-answers.ts'
import type { Unit } from './format.ts'
import { formatCount, formatDuration, formatValue, NONE } from './format.ts'
import { Name } from './name.tsx'
import { unitShown } from './task-chart-question.ts'

const FIGURES: Readonly<Record<string, string>> = {
  gpu_utilization_ratio: 'GPU utilisation',
  gpu_memory_used_bytes: 'GPU memory',
  gpu_power_watts: 'GPU power',
  cpu_cores: 'CPU cores busy',
  gpu_energy_watts: 'GPU power, by its energy counter',
  memory_used_bytes: 'Memory',
  memory_available_bytes: 'Memory left',
  disk_bytes_per_second: 'Disk',
  network_bytes_per_second: 'Network',
}

/** A figure as people call it. */
export function figureName(name: string): string {
  return FIGURES[name] ?? name.replaceAll('_', ' ')
}

const QUANTITIES: readonly (readonly [keyof QuantitiesAnswer, string, Unit | 'duration'])[] = [
  ['gpu_held_seconds', 'GPU time held', 'duration'],
  ['gpu_busy_seconds', 'GPU time busy', 'duration'],
  ['gpu_idle_ratio', 'Idle share', 'ratio'],
  ['gpu_memory_peak_bytes', 'GPU memory, peak', 'bytes'],
  ['energy_wh', 'Energy', 'watt_hours'],
  ['cpu_core_seconds', 'CPU core time', 'duration'],
  ['memory_peak_bytes', 'Memory, peak', 'bytes'],
  ['disk_bytes', 'Disk', 'bytes'],
  ['network_bytes', 'Network', 'bytes'],
  ['tokens_in', 'Tokens in', 'number'],
  ['tokens_out', 'Tokens out', 'number'],
  ['load_seconds', 'Loading', 'duration'],
  ['queue_seconds', 'Queueing', 'duration'],
]

export function TaskFigures({ task }: { readonly task: TaskAttemptAnswer }) {
  const { gpus, node_figures, window } = task
  const all = [
    ...gpus.flatMap(({ gpu, figures }) => figures.map((figure) => ({ of: gpu, figure }))),
    ...node_figures.map((figure) => ({ of: undefined, figure })),
  ]
  return (
    <>
      <Quantities quantities={task.quantities} />
      <section class="card" aria-labelledby="gpus-title">
        <header class="section">
          <h2 id="gpus-title">GPUs</h2>
          <span class="muted">
            {window === null ? 'it has not begun' : `figures of its window of ${formatDuration(window.seconds)}`}
          </span>
        </header>
        {gpus.length === 0 ? (
          <p class="empty">
            No samples of a GPU of its are known: what it used is not known, which is not the same as nothing.
          </p>
        ) : (
          <GpuTable gpus={gpus} />
        )}
        {all.length > 0 && (
          <details>
            <summary>Every figure ({all.length})</summary>
            <FigureTable all={all} />
          </details>
        )}
      </section>
    </>
  )
}

function Quantities({ quantities }: { readonly quantities: QuantitiesAnswer }) {
  return (
    <section class="card" aria-labelledby="used-title">
      <header class="section">
        <h2 id="used-title">What it used</h2>
        <span class="muted">{NONE} is not known, never zero</span>
      </header>
      <dl class="quantities">
        {QUANTITIES.map(([key, name, unit]) => (
          <div key={key}>
            <dt>{name}</dt>
            <dd>
              {unit === 'duration' ? formatDuration(quantities[key].value) : formatValue(quantities[key].value, unit)}
              <small class="muted">{methodText(quantities[key])}</small>
              <Doubt {...quantities[key]} isKnown={quantities[key].value !== null} />
            </dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

function methodText({ method, value }: QuantityAnswer): string {
  return value === null && method === 'none' ? 'nothing tells' : method.replaceAll('_', ' ')
}

interface DoubtProps {
  readonly coverage: number
  readonly confidence: FigureAnswer['confidence']
  readonly samples: number | null
  readonly isKnown: boolean
}

/** Nothing, where there is no reason to doubt. */
function Doubt({ coverage, confidence, samples, isKnown }: DoubtProps) {
  if (!isKnown) return coverage > 0 ? <small class="warn">only {share(coverage)} of the window has data</small> : null
  if (confidence === 'full' && coverage >= 0.995) return null
  const few = samples === null ? 'few samples' : samples === 1 ? '1 sample' : `${formatCount(samples)} samples`
  return (
    <small class="warn">
      {[coverage < 0.995 ? `${share(coverage)} covered` : '', confidence === 'low' ? `low confidence, ${few}` : '']
        .filter((part) => part !== '')
        .join(', ')}
    </small>
  )
}

function share(ratio: number): string {
  return formatValue(Math.round(ratio * 1000) / 1000, 'ratio')
}

const COLUMNS: readonly (readonly [figure: string, statistic: 'mean' | 'max' | 'p95', head: string])[] = [
  ['gpu_utilization_ratio', 'mean', 'Busy, mean'],
  ['gpu_utilization_ratio', 'p95', 'p95'],
  ['gpu_memory_used_bytes', 'max', 'Memory, peak'],
  ['gpu_memory_used_bytes', 'mean', 'mean'],
  ['gpu_power_watts', 'mean', 'Power, mean'],
  ['gpu_power_watts', 'max', 'peak'],
]

function GpuTable({ gpus }: { readonly gpus: readonly GpuFiguresAnswer[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached from the keyboard
    <section class="scroll" tabIndex={0} aria-label="Figures per GPU">
      <table>
        <thead>
          <tr>
            <th scope="col">GPU</th>
            {COLUMNS.map(([figure, statistic, head]) => (
              <th key={figure + statistic} scope="col" class="figure">
                {head}
              </th>
            ))}
            <th scope="col" class="figure">
              Covered
            </th>
            <th scope="col">Confidence</th>
          </tr>
        </thead>
        <tbody>
          {gpus.map(({ gpu, figures }) => {
            const coverage = figures.length === 0 ? null : Math.min(...figures.map((figure) => figure.coverage))
            const low = figures.filter(({ confidence }) => confidence === 'low')
            return (
              <tr key={gpu}>
                <th scope="row">
                  <Name text={gpu} max={44} />
                </th>
                {COLUMNS.map(([name, statistic]) => (
                  <td key={name + statistic} class="figure">
                    {shownFigure(
                      figures.find((figure) => figure.name === name),
                      statistic,
                    )}
                  </td>
                ))}
                <td class={`figure ${coverage !== null && coverage < 0.95 ? 'warn' : ''}`}>
                  {coverage === null ? NONE : share(coverage)}
                </td>
                <td class={low.length > 0 ? 'warn' : ''}>
                  {low.length === 0 ? 'full' : `low: ${low.map(({ name }) => figureName(name)).join(', ')}`}
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </section>
  )
}

const STATISTICS = ['mean', 'p95', 'min', 'max', 'last'] as const

function shownFigure(figure: FigureAnswer | undefined, statistic: (typeof STATISTICS)[number]): string {
  if (figure === undefined) return NONE
  const { unit, perSecond } = unitShown(figure.unit)
  return formatValue(figure[statistic], unit, perSecond)
}

function FigureTable({ all }: { all: readonly { of: string | undefined; figure: FigureAnswer }[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached from the keyboard
    <section class="scroll" tabIndex={0} aria-label="Every figure">
      <table>
        <thead>
          <tr>
            <th scope="col">Of</th>
            <th scope="col">Figure</th>
            {STATISTICS.map((statistic) => (
              <th key={statistic} scope="col" class="figure">
                {statistic}
              </th>
            ))}
            <th scope="col" class="figure">
              Total
            </th>
            <th scope="col" class="figure">
              Samples
            </th>
            <th scope="col" class="figure">
              Covered
            </th>
            <th scope="col">Confidence</th>
          </tr>
        </thead>
        <tbody>
          {all.map(({ of, figure }) => (
            <tr key={`${of} ${figure.name}`}>
              <th scope="row">{of === undefined ? 'node' : <Name text={of} max={16} />}</th>
              <td>{figureName(figure.name)}</td>
              {STATISTICS.map((statistic) => (
                <td key={statistic} class="figure">
                  {shownFigure(figure, statistic)}
                </td>
              ))}
              <td class="figure">
                {formatValue(figure.integral)} {figure.integral !== null && figure.integral_unit.replaceAll('_', ' ')}
              </td>
              <td class="figure">{formatCount(figure.samples)}</td>
              <td class={`figure ${figure.coverage < 0.95 ? 'warn' : ''}`}>{share(figure.coverage)}</td>
              <td class={figure.confidence === 'low' ? 'warn' : ''}>{figure.confidence}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
