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
  /** Which of the eight colours, of which the last four are dashed; absent: by its place. */
  readonly look?: number
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
  /** A span of time that is looked at, s since the epoch: its ends are marked, and what is outside stands back. */
  readonly span?: { readonly from: number; readonly to: number; readonly open: boolean }
  /** Steps without a value that a line goes across: senders may be slower than a step. */
  readonly bridgedSteps?: number
  /** Charts with the same one show the same moment below the pointer. */
  readonly sync?: string
  /** What stands there when there is no line. */
  readonly empty: string
}

const BRIDGED_STEPS = 5
const DASHES: readonly number[][] = [[], [], [], [], [7, 3], [7, 3], [2, 3], [2, 3]]

export function Chart(props: ChartProps) {
  const { title, note, unit, perSecond = false, times, lines, empty, span } = props
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
        {lines.map(({ name, values, look }, i) => (
          <li key={name} title={name}>
            <Swatch index={look ?? i} />
            <span class="name">{name}</span>
            <span class="value">
              {formatValue(shown === null ? newest(within(values, times, span)) : values[shown], unit, perSecond)}
            </span>
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

/** What comes after the span is not its newest value. */
function within(
  values: ChartLine['values'],
  times: ChartProps['times'],
  span: ChartProps['span'],
): ChartLine['values'] {
  return span === undefined ? values : values.filter((_, i) => times[i]! <= span.to)
}

function newest(values: readonly (number | null)[]): number | null {
  return values.findLast((value) => value !== null) ?? null
}

interface PlotProps extends ChartProps {
  readonly onCursor: (index: number | null) => void
}

function Plot(props: PlotProps) {
  const { title, unit, perSecond = false, times, lines, max, height = 150, sync, onCursor, span } = props
  const { bridgedSteps = BRIDGED_STEPS } = props
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | undefined>(undefined)
  const theme = useShownTheme()
  const data = useMemo(
    () => [times, ...lines.map(({ values }) => bridged(values, bridgedSteps))] as uPlot.AlignedData,
    [times, lines, bridgedSteps],
  )
  const shownSpan = useRef(span)
  shownSpan.current = span
  const shape = JSON.stringify([
    lines.map(({ name, look }) => [name, look]),
    max,
    height,
    sync,
    unit,
    perSecond,
    span === undefined,
  ])

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
          ...lines.map(({ name, look }, i) => {
            const colour = colours.lines[(look ?? i) % colours.lines.length]!
            return {
              label: name,
              stroke: colour,
              width: 1.75,
              dash: DASHES[(look ?? i) % DASHES.length]!,
              points: { show: true, size: 5, fill: colour, filter: lonely },
            }
          }),
        ],
        hooks: {
          setCursor: [(u) => onCursor(u.cursor.idx ?? null)],
          draw: [(u) => drawEnds(u, shownSpan.current, colours.text)],
        },
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
function bridged(values: readonly (number | null)[], steps: number): (number | null | undefined)[] {
  const out: (number | null | undefined)[] = [...values]
  let before = Number.NEGATIVE_INFINITY
  for (const [i, value] of values.entries()) {
    if (value === null) continue
    if (i - before <= steps) for (let gap = before + 1; gap < i; gap++) out[gap] = undefined
    before = i
  }
  return out
}

/** A line at each end of the span, with its name; the time outside is shaded. */
function drawEnds(plot: uPlot, span: ChartProps['span'], colour: string): void {
  if (span === undefined) return
  const { ctx, bbox } = plot
  const right = bbox.left + bbox.width
  const [from, to] = [span.from, span.to].map((time) =>
    Math.min(right, Math.max(bbox.left, plot.valToPos(time, 'x', true))),
  ) as [number, number]
  ctx.save()
  ctx.fillStyle = ctx.strokeStyle = colour
  ctx.globalAlpha = 0.1
  ctx.fillRect(bbox.left, bbox.top, from - bbox.left, bbox.height)
  ctx.fillRect(to, bbox.top, right - to, bbox.height)
  ctx.globalAlpha = 1
  ctx.lineWidth = uPlot.pxRatio
  ctx.setLineDash([4 * uPlot.pxRatio, 3 * uPlot.pxRatio])
  ctx.beginPath()
  for (const x of [from, to]) {
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
  }
  ctx.stroke()
  ctx.restore()
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
