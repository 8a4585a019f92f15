/**
 * A chart of lines over time with its legend: names and newest values as text, or those below the pointer. Colours come from the
 * style sheet, so that they follow the theme; lines differ in their dashes too.
 */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import type { Unit } from './format.ts'
import { formatTime, formatValue } from './format.ts'
import { useShownTheme } from './theme.ts'

export interface ChartLine {
  readonly name: string
  /** One for each time; null: nothing. */
  readonly values: readonly (number | null)[]
}

export interface ChartProps {
  readonly title: string
  /** What the lines are, or that there are too many. */
  readonly note?: string
  readonly unit: Unit
  readonly perSecond?: boolean
  /** s since the epoch, ascending. */
  readonly times: readonly number[]
  readonly lines: readonly ChartLine[]
  /** Upper end of the scale, where it is known. */
  readonly max?: number
  readonly height?: number
  /** Charts with the same one show the same moment below the pointer. */
  readonly sync?: string
  /** What stands there when there is no line. */
  readonly empty: string
}

/** Steps without a value that a line goes across: senders may be slower than a step. */
const BRIDGED_STEPS = 5
const DASHES: readonly number[][] = [[], [], [], [], [7, 3], [7, 3], [2, 3], [2, 3]]

export function Chart(props: ChartProps) {
  const { title, note, unit, perSecond = false, times, lines, empty } = props
  const [cursor, setCursor] = useState<number | null>(null)
  const shown = cursor !== null && cursor < times.length ? cursor : null
  return (
    <figure class="chart card">
      <figcaption>
        <h3>{title}</h3>
        <span class="muted">{shown === null ? note : formatTime(times[shown]! * 1000)}</span>
      </figcaption>
      {lines.length === 0 ? (
        <p class="empty" style={{ minHeight: `${props.height ?? 150}px` }}>
          {empty}
        </p>
      ) : (
        <Plot {...props} onCursor={setCursor} />
      )}
      <ul class="legend">
        {lines.map(({ name, values }, i) => (
          <li key={name} title={name}>
            <Swatch index={i} />
            <span class="name">{name}</span>
            <span class="value">{formatValue(shown === null ? newest(values) : values[shown], unit, perSecond)}</span>
          </li>
        ))}
      </ul>
    </figure>
  )
}

/** The look of a line, as it is drawn. */
export function Swatch({ index }: { readonly index: number }) {
  const dash = DASHES[index % DASHES.length]!.join(' ')
  return (
    <svg class="swatch" width="18" height="8" aria-hidden="true">
      <line
        x1="0"
        x2="18"
        y1="4"
        y2="4"
        class={`line-${index % DASHES.length}`}
        stroke-width="2.5"
        stroke-dasharray={dash}
      />
    </svg>
  )
}

function newest(values: readonly (number | null)[]): number | null {
  return values.findLast((value) => value !== null) ?? null
}

interface PlotProps extends ChartProps {
  readonly onCursor: (index: number | null) => void
}

function Plot({ title, unit, perSecond = false, times, lines, max, height = 150, sync, onCursor }: PlotProps) {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  const theme = useShownTheme()
  const data = useMemo(
    () => [times, ...lines.map(({ values }) => bridged(values))] as uPlot.AlignedData,
    [times, lines],
  )
  const shape = JSON.stringify([lines.map(({ name }) => name), max, height, sync, unit, perSecond])

  // `shape` stands for all that the plot is built of; data is set below.
  useEffect(() => {
    const element = place.current
    if (element === null) return
    const colours = coloursOf(element)
    const axis = {
      stroke: colours.text,
      grid: { stroke: colours.grid, width: 1 },
      ticks: { show: false },
      font: '11px system-ui',
    }
    const built = new uPlot(
      {
        width: element.clientWidth,
        height,
        padding: [8, 16, 0, 0],
        legend: { show: false },
        cursor: {
          y: false,
          drag: { x: false, y: false },
          points: { size: 6 },
          ...(sync === undefined ? {} : { sync: { key: sync } }),
        },
        scales: { x: { time: true }, y: { range: (_, low, high) => rangeOf(low, high, max) } },
        axes: [
          { ...axis, space: 64, size: 24, values: (_, ticks) => ticks.map(clockTime(ticks)) },
          {
            ...axis,
            space: 32,
            size: 58,
            values: (_, ticks) => ticks.map((tick) => formatValue(tick, unit, perSecond)),
          },
        ],
        series: [
          {},
          ...lines.map(({ name }, i) => ({
            label: name,
            stroke: colours.lines[i % colours.lines.length]!,
            width: 1.75,
            dash: DASHES[i % DASHES.length]!,
            points: { show: true, size: 5, fill: colours.lines[i % colours.lines.length]!, filter: lonely },
          })),
        ],
        hooks: { setCursor: [(u) => onCursor(u.cursor.idx ?? null)] },
      },
      data,
      element,
    )
    plot.current = built
    const resized = new ResizeObserver(() => built.setSize({ width: element.clientWidth, height }))
    resized.observe(element)
    return () => {
      resized.disconnect()
      built.destroy()
    }
  }, [shape, theme])

  useEffect(() => plot.current?.setData(data), [data])
  const spoken = lines.map(({ name, values }) => `${name} ${formatValue(newest(values), unit, perSecond)}`).join(', ')
  return <div ref={place} class="plot" role="img" aria-label={`Chart of ${title}. Newest values: ${spoken}`} />
}

/** Short gaps are none: uPlot goes across `undefined`, and stops at null. */
function bridged(values: readonly (number | null)[]): (number | null | undefined)[] {
  const out: (number | null | undefined)[] = [...values]
  let before = Number.NEGATIVE_INFINITY
  for (const [i, value] of values.entries()) {
    if (value === null) continue
    if (i - before <= BRIDGED_STEPS) for (let gap = before + 1; gap < i; gap++) out[gap] = undefined
    before = i
  }
  return out
}

/** Values with nothing to either side make no line: they are drawn as points. */
function lonely(plot: uPlot, series: number): number[] {
  const values = plot.data[series] ?? []
  const isThere = (value: number | null | undefined): boolean => typeof value === 'number'
  return Array.from(values, (_, i) => i).filter(
    (i) =>
      isThere(values[i]) && (i === 0 || values[i - 1] === null) && (i === values.length - 1 || values[i + 1] === null),
  )
}

function rangeOf(low: number | null, high: number | null, max: number | undefined): [number, number] {
  if (max !== undefined) return [0, Math.max(max, high ?? 0)]
  if (low === null || high === null) return [0, 1]
  // From zero, as long as that does not make a line of what matters.
  const from = low >= 0 && low <= high * 0.75 ? 0 : low
  const room = (high - from || Math.abs(high) || 1) * 0.08
  return [from === 0 ? 0 : from - room, high + room]
}

/** Times below the axis: with seconds, or with the day, where the ticks ask for it. */
function clockTime(ticks: readonly number[]): (tick: number) => string {
  const step = (ticks[1] ?? 60) - (ticks[0] ?? 0)
  return (tick) => {
    const date = new Date(tick * 1000)
    if (step >= 86_400) return date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })
    return date.toLocaleTimeString('en-GB', {
      hour: '2-digit',
      minute: '2-digit',
      ...(step < 60 ? { second: '2-digit' } : {}),
    })
  }
}

function coloursOf(element: Element): { text: string; grid: string; lines: string[] } {
  const style = getComputedStyle(element)
  const read = (name: string): string => style.getPropertyValue(name).trim()
  return { text: read('--muted'), grid: read('--hairline'), lines: DASHES.map((_, i) => read(`--line-${i}`)) }
}
