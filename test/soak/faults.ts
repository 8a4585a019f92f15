/** Carries out one fault of a plan on the running programs. Whatever it began is over when it resolves. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { enginePid } from '../support/programs.ts'
import type { Broker, Clock, DiskFull, Fault, Kill, Network, Program, Stop, Target } from './plan.ts'
import type { World } from './world.ts'

export interface Outcome {
  /** False when there was nothing to hit at that moment: the program was just being started. */
  readonly hit: boolean
  /** When everything could begin to recover, by performance.now(): programs are started, disks and roads free. */
  readonly over: number
}

const FILL_EVERY_MS = 50

export async function inflict(world: World, fault: Fault): Promise<Outcome> {
  await sleep(fault.at)
  switch (fault.kind) {
    case 'kill':
      return fault.target === 'engine' ? killEngine(world) : killPrograms(world, fault)
    case 'stop':
      return stop(world, fault)
    case 'disk full':
      return fillDisk(world, fault)
    case 'network':
      return disturb(world, fault)
    case 'clock':
      return setClock(world, fault)
    case 'broker':
      return hitBroker(world, fault)
    default:
      return fault satisfies never
  }
}

async function killPrograms(world: World, { target, pauseMs }: Kill): Promise<Outcome> {
  const programs: Program[] = target === 'all' ? ['aggregator', 'collector'] : [target as Program]
  return world.alone(programs, async () => {
    const engine = target === 'all' ? engineOf(world) : undefined
    if (engine !== undefined) signal(engine, 'SIGKILL')
    await Promise.all(programs.map((program) => world.kill(program)))
    return startAgain(world, programs, pauseMs)
  })
}

async function startAgain(world: World, programs: readonly Program[], pauseMs: number): Promise<Outcome> {
  await sleep(pauseMs)
  const over = performance.now()
  await Promise.all(programs.map((program) => world.start(program)))
  return { hit: true, over }
}

async function setClock(world: World, { target, seconds, pauseMs }: Clock): Promise<Outcome> {
  return world.alone([target], async () => {
    await world.kill(target)
    world.skew(target, seconds)
    return startAgain(world, [target], pauseMs)
  })
}

/** Its aggregator starts another. */
function killEngine(world: World): Outcome {
  const engine = engineOf(world)
  return { hit: engine !== undefined && signal(engine, 'SIGKILL'), over: performance.now() }
}

async function stop(world: World, { target, ms }: Stop): Promise<Outcome> {
  const stopped = processOf(world, target)
  if (stopped === undefined || !signal(stopped, 'SIGSTOP')) return { hit: false, over: performance.now() }
  // Also an engine whose aggregator was killed meanwhile: it must notice that.
  const goOn = (): void => void signal(stopped, 'SIGCONT')
  process.once('exit', goOn)
  await sleep(ms)
  process.removeListener('exit', goOn)
  goOn()
  return { hit: true, over: performance.now() }
}

async function hitBroker(world: World, { how, ms }: Broker): Promise<Outcome> {
  const broker = world.broker!
  return world.alone(['broker'], async () => {
    if (how === 'kill') await broker.kill(1)
    else broker.pause(1)
    try {
      await sleep(ms)
    } finally {
      if (how === 'kill') await broker.up(1)
      else broker.resume(1)
    }
    return { hit: true, over: performance.now() }
  })
}

async function fillDisk(world: World, { ms }: DiskFull): Promise<Outcome> {
  const disk = world.disk!
  try {
    // What the collector removes meanwhile leaves no room either.
    for (const since = performance.now(); performance.now() - since < ms; await sleep(FILL_EVERY_MS)) disk.fill()
  } finally {
    disk.free()
  }
  return { hit: true, over: performance.now() }
}

async function disturb(world: World, fault: Network): Promise<Outcome> {
  const end = world.roads[fault.road].begin(fault)
  await sleep(fault.ms)
  end()
  return { hit: true, over: performance.now() }
}

/** A process that cannot be taken for another one that got its number later. */
interface Process {
  readonly pid: number
  readonly since: string
}

function processOf(world: World, target: Target): Process | undefined {
  if (target === 'engine') return engineOf(world)
  const pid = world.running(target)?.process.pid
  return pid === undefined ? undefined : processWith(pid)
}

function engineOf(world: World): Process | undefined {
  const aggregator = world.running('aggregator')
  const pid = aggregator === undefined ? undefined : enginePid(aggregator)
  return pid === undefined ? undefined : processWith(pid)
}

function processWith(pid: number): Process | undefined {
  try {
    // Field 22: when it began; the name before may hold blanks and brackets.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return { pid, since: stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]! }
  } catch {
    return undefined // gone meanwhile
  }
}

/** @returns false when it is gone */
function signal({ pid, since }: Process, name: NodeJS.Signals): boolean {
  if (processWith(pid)?.since !== since) return false
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}
