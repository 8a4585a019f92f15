/**
 * The programs under test, from the build, as a supervisor of an operating system runs them: each has its port and directory for
 * good, is started again when a start fails, and may not end by itself.
 *
 *     senders ──▶ road ──▶ collector (small disk) ──▶ road ──▶ aggregator ──▶ embedded engine
 *                                                 └─▶ Kafka ─┘, instead of the road, where that is asked for
 */
import { rmSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KafkaBroker } from '../support/kafka-broker.ts'
import type { Env, Running } from '../support/programs.ts'
import { freePort, kill, start, terminate } from '../support/programs.ts'
import type { FaultKind, Program } from './plan.ts'
import { Road } from './road.ts'
import { SkewedClock } from './skewed-clock.ts'
import { SmallDisk } from './small-disk.ts'

const DISK_BYTES = 64 << 20
const START_AGAIN_MS = 60_000
const TERMINATE_MS = 30_000

export class World {
  readonly directory: string
  readonly roads: { readonly senders: Road; readonly forward: Road }
  /** What senders write to. */
  readonly sendersUrl: string
  readonly collectorUrl: string
  readonly aggregatorUrl: string
  readonly disk: SmallDisk | undefined
  /** Of one node, where samples go by Kafka. */
  readonly broker: KafkaBroker | undefined
  /** Fault kinds that this machine cannot do, with the reason. */
  readonly missing: ReadonlyMap<FaultKind, string>
  /** Starts that failed and were tried again. */
  failedStarts = 0
  /** Programs that ended though nobody killed them. */
  readonly endedThemselves: string[] = []
  readonly #clock: SkewedClock | undefined
  readonly #env: Readonly<Record<Program, Env>>
  readonly #skew: Record<Program, number> = { collector: 0, aggregator: 0 }
  readonly #running = new Map<Program, Running>()
  readonly #turns = new Map<Program | 'broker', Promise<unknown>>()
  readonly #ending = new Set<Running>()
  #started = 0
  #closed = false

  private constructor(
    directory: string,
    ports: Readonly<Record<Program, number>>,
    roads: { readonly senders: Road; readonly forward: Road },
    roadPorts: { readonly senders: number; readonly forward: number },
    broker: KafkaBroker | undefined,
  ) {
    this.directory = directory
    this.broker = broker
    this.roads = roads
    this.sendersUrl = `http://127.0.0.1:${roadPorts.senders}`
    this.collectorUrl = `http://127.0.0.1:${ports.collector}`
    this.aggregatorUrl = `http://127.0.0.1:${ports.aggregator}`
    const missing = new Map<FaultKind, string>()
    const disk = SmallDisk.mount(this.dataOf('collector'), DISK_BYTES)
    if (typeof disk === 'string') missing.set('disk full', disk)
    else this.disk = disk
    const clock = SkewedClock.find()
    if (typeof clock === 'string') missing.set('clock', clock)
    else this.#clock = clock
    this.missing = missing
    const kafka: Env =
      broker === undefined
        ? {}
        : {
            KAFKA_BROKERS: broker.bootstrap.join(','),
            KAFKA_TOPICS: 'soak-events',
            FLEETMETER_KAFKA_OWN_TOPIC: 'soak-own-events',
            FLEETMETER_KAFKA_SAMPLES: 'true',
          }
    this.#env = {
      collector: {
        ...kafka,
        FLEETMETER_DATA_DIR: this.dataOf('collector'),
        FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${ports.collector}`,
        FLEETMETER_AGGREGATOR_URL: `http://127.0.0.1:${roadPorts.forward}`,
        FLEETMETER_COLLECTOR_SHARDS: '2',
        FLEETMETER_COLLECTOR_HOST: 'false',
        FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '100',
        FLEETMETER_COLLECTOR_BACKOFF_MAX_MS: '500',
        FLEETMETER_COLLECTOR_FORWARD_TIMEOUT_MS: '5000',
        FLEETMETER_COLLECTOR_JOURNAL_SEGMENT_BYTES: '256KiB',
        FLEETMETER_COLLECTOR_JOURNAL_BYTES_MAX: '16MiB',
      },
      aggregator: {
        ...kafka,
        FLEETMETER_DATA_DIR: this.dataOf('aggregator'),
        FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${ports.aggregator}`,
        FLEETMETER_AGGREGATOR_INSERT_FEW_AFTER_MS: '300',
        FLEETMETER_AGGREGATOR_INSERT_AFTER_MS: '300',
        FLEETMETER_AGGREGATOR_ENGINE_MEMORY_BYTES: '1GiB',
        RATE_LIMIT_QPS: '1000',
        RATE_LIMIT_BURST: '1000',
      },
    }
  }

  /**
   * Everything is started.
   * @param directory for all data; made, and only kept when asked for
   * @param kafka whether samples go by it
   */
  static async open(directory: string, kafka: boolean): Promise<World> {
    const ports = { collector: await freePort(), aggregator: await freePort() }
    const roads = { senders: new Road(ports.collector), forward: new Road(ports.aggregator) }
    const roadPorts = { senders: await roads.senders.listen(), forward: await roads.forward.listen() }
    await mkdir(join(directory, 'output'), { recursive: true })
    const broker = kafka ? await KafkaBroker.start() : undefined
    const world = new World(directory, ports, roads, roadPorts, broker)
    try {
      await world.start('aggregator')
      await world.start('collector')
    } catch (error) {
      await world.close(true)
      throw error
    }
    return world
  }

  dataOf(program: Program): string {
    return join(this.directory, program)
  }

  /** The process that runs now; undefined while there is none. */
  running(program: Program): Running | undefined {
    return this.#running.get(program)
  }

  /** One change of a program at a time: who kills it also starts it, before the next. */
  async alone<T>(programs: readonly (Program | 'broker')[], change: () => Promise<T>): Promise<T> {
    const before = programs.map((program) => this.#turns.get(program))
    const turn = Promise.allSettled(before).then(change)
    for (const program of programs) this.#turns.set(program, turn)
    return turn
  }

  /** Its clock from the next start on. */
  skew(program: Program, seconds: number): void {
    this.#skew[program] = seconds
  }

  /** Starts it, again and again where it ends at once. */
  async start(program: Program): Promise<void> {
    const clock = this.#clock?.env(this.#skew[program]) ?? {}
    for (const since = performance.now(); ; ) {
      try {
        this.#watch(program, await start(program, { ...this.#env[program], ...clock }))
        return
      } catch (error) {
        this.failedStarts++
        this.#write(`${program}-failed`, String(error))
        if (this.#closed || performance.now() - since > START_AGAIN_MS) throw error
        await sleep(200)
      }
    }
  }

  async kill(program: Program): Promise<void> {
    const running = this.#running.get(program)
    if (running === undefined) return
    this.#ending.add(running)
    await kill(running)
  }

  /** SIGTERM, as at the end of a day. @throws when it does not end with 0 */
  async terminate(program: Program): Promise<void> {
    const running = this.#running.get(program)!
    this.#ending.add(running)
    const late = sleep(TERMINATE_MS, { how: 'nothing' }, { ref: false })
    const { how } = await Promise.race([terminate(running), late])
    if (how !== 0) throw new Error(`${program} ended with ${how} at SIGTERM:\n${running.output()}`)
  }

  /** Kills what runs. @param keep whether the data stays */
  async close(keep: boolean): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#turns.values())
    await Promise.all([this.kill('collector'), this.kill('aggregator')])
    this.roads.senders.close()
    this.roads.forward.close()
    await this.broker?.stop()
    if (keep) this.disk?.keep(`${this.dataOf('collector')}-kept`)
    this.disk?.unmount()
    // The engine may take a moment to notice that its aggregator is gone.
    if (!keep) rmSync(this.directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 })
  }

  #watch(program: Program, running: Running): void {
    this.#running.set(program, running)
    void running.exited.then((how) => {
      if (this.#running.get(program) === running) this.#running.delete(program)
      this.#write(program, running.output())
      if (!this.#ending.delete(running))
        this.endedThemselves.push(`${program} (${how}): ${running.output().slice(-2000)}`)
    })
  }

  #write(name: string, output: string): void {
    this.#started++
    if (output === '') return
    writeFileSync(join(this.directory, 'output', `${String(this.#started).padStart(4, '0')}-${name}.log`), output)
  }
}
