/**
 * A real Kafka on loopback, for tests: one or three nodes (KRaft), each a Java process of its own; with a listener for SASL_SSL where a
 * login is given.
 *
 * Gone whatever happens: a guard holds a pipe of this process, kills the nodes and removes their files when the pipe closes.
 */
import type { ChildProcess } from 'node:child_process'
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { kafkaJars, noKafkaJars } from './kafka-jars.ts'
import { freePort } from './programs.ts'

const JAVA_MIN = 17
const READY_MS = 90_000
const JVM = ['-Xms64m', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xss512k', '-XX:-UsePerfData']

export interface KafkaBrokerOptions {
  readonly nodes?: 1 | 3
  /** Adds a listener with TLS and SASL PLAIN for this login. */
  readonly login?: { readonly user: string; readonly password: string }
}

interface Node {
  readonly id: number
  readonly directory: string
  readonly port: number
  readonly controllerPort: number
  readonly securePort: number
  process?: ChildProcess
}

/** Why there can be none here; undefined where there can. */
export function noKafka(): string | undefined {
  const { error, stderr } = spawnSync('java', ['-version'], { encoding: 'utf8' })
  const version = Number(/version "(\d+)/.exec(stderr ?? '')?.[1] ?? 0)
  if (error !== undefined || version < JAVA_MIN)
    return `Java ${JAVA_MIN} is not installed (openjdk-17-jre-headless, or a newer one)`
  if (spawnSync('openssl', ['version']).error !== undefined) return 'openssl is not installed'
  return noKafkaJars()
}

export class KafkaBroker {
  /** Where clients begin. */
  readonly bootstrap: readonly string[]
  readonly secureBootstrap: readonly string[]
  /** File of the certificate that the secure listener shows. */
  readonly certificate: string
  readonly #jars: string
  readonly #nodes: readonly Node[]
  readonly #guard: ChildProcess

  private constructor(directory: string, jars: string, nodes: readonly Node[]) {
    this.#jars = jars
    this.#nodes = nodes
    this.bootstrap = nodes.map(({ port }) => `127.0.0.1:${port}`)
    this.secureBootstrap = nodes.map(({ securePort }) => `localhost:${securePort}`)
    this.certificate = join(directory, 'certificate.pem')
    const script = `cat >/dev/null
      for file in "$1"/node-*/pid; do
        pid=$(cat "$file") && grep -qaF "$1/node-" "/proc/$pid/cmdline" && kill -KILL "$pid"
      done 2>/dev/null
      sleep 0.2; rm -rf "$1"`
    this.#guard = spawn('bash', ['-c', script, 'kafka-guard', directory], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    this.#guard.unref()
  }

  /** Resolves when every node takes requests. */
  static async start({ nodes: count = 1, login }: KafkaBrokerOptions = {}): Promise<KafkaBroker> {
    const jars = kafkaJars()
    const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-kafka-'))
    const nodes: Node[] = []
    for (let id = 1; id <= count; id++) {
      const home = join(directory, `node-${id}`)
      mkdirSync(join(home, 'data'), { recursive: true })
      nodes.push({
        id,
        directory: home,
        port: await freePort(),
        controllerPort: await freePort(),
        securePort: await freePort(),
      })
    }
    const broker = new KafkaBroker(directory, jars, nodes)
    try {
      if (login !== undefined) makeCertificate(directory)
      for (const node of nodes) writeFileSync(join(node.directory, 'properties'), propertiesOf(node, nodes, login))
      broker.#format()
      for (const node of nodes) broker.#spawn(node)
      await Promise.all(nodes.map((node) => ready(node)))
      return broker
    } catch (error) {
      await broker.stop()
      throw error
    }
  }

  /** kill -9 of a node, from 1. */
  async kill(id: number): Promise<void> {
    const child = this.#node(id).process!
    child.ref()
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await gone
  }

  /** Starts a killed node again, on its data and address. */
  async up(id: number): Promise<void> {
    const node = this.#node(id)
    this.#spawn(node)
    await ready(node)
  }

  /** A node that hangs: its connections stay open and nothing is answered. */
  pause(id: number): void {
    this.#node(id).process!.kill('SIGSTOP')
  }

  resume(id: number): void {
    this.#node(id).process!.kill('SIGCONT')
  }

  /** Runs a tool of Kafka's own, such as `org.apache.kafka.tools.ConsoleProducer`, with this on its standard input. */
  async tool(mainClass: string, args: readonly string[], input: string): Promise<string> {
    const child = spawn('java', [...this.#java(mainClass), ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stdin.end(input)
    const code = await new Promise((resolve) => child.once('close', resolve))
    if (code !== 0) throw new Error(`${mainClass} ended with ${code}:\n${output}`)
    return output
  }

  /** Kills the nodes and removes what they wrote. */
  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.#guard.once('exit', resolve))
    this.#guard.ref()
    this.#guard.stdin!.end()
    await gone
  }

  #node(id: number): Node {
    const node = this.#nodes[id - 1]
    if (node === undefined) throw new Error(`there is no node ${id}`)
    return node
  }

  #java(mainClass: string): string[] {
    const logs = [
      '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
      '-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info',
    ]
    return [...JVM, ...logs, '-Djava.net.preferIPv4Stack=true', '-cp', join(this.#jars, '*'), mainClass]
  }

  /** One cluster: what a node is given at the beginning differs in its number only, so that one Java makes it for all. */
  #format(): void {
    const [first, ...others] = this.#nodes as [Node, ...Node[]]
    const id = uuid()
    const args = ['format', '-t', id, '-c', join(first.directory, 'properties')]
    const { status, stdout, stderr } = spawnSync('java', [...this.#java('kafka.tools.StorageTool'), ...args], {
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`the storage cannot be made:\n${stdout}${stderr}`)
    const made = join(first.directory, 'data')
    const meta = readFileSync(join(made, 'meta.properties'), 'utf8')
    for (const node of others) {
      const data = join(node.directory, 'data')
      copyFileSync(join(made, 'bootstrap.checkpoint'), join(data, 'bootstrap.checkpoint'))
      const own = meta
        .replace(/^node\.id=.*$/m, `node.id=${node.id}`)
        .replace(/^directory\.id=.*$/m, `directory.id=${uuid()}`)
      writeFileSync(join(data, 'meta.properties'), own)
    }
  }

  #spawn(node: Node): void {
    const log = openSync(join(node.directory, 'log'), 'w')
    const child = spawn('java', [...this.#java('kafka.Kafka'), join(node.directory, 'properties')], {
      detached: true, // Ctrl-C is for the test
      stdio: ['ignore', log, log],
      cwd: node.directory,
    })
    child.unref()
    writeFileSync(join(node.directory, 'pid'), String(child.pid))
    node.process = child
  }
}

/** As Kafka writes one. Kafka's tools take one that begins with a hyphen for an option. */
function uuid(): string {
  return randomBytes(16).toString('base64url').replace(/^-/, 'A')
}

async function ready(node: Node): Promise<void> {
  const log = join(node.directory, 'log')
  for (const until = performance.now() + READY_MS; performance.now() < until; ) {
    const written = existsSync(log) ? readFileSync(log, 'utf8') : ''
    if (written.includes('Kafka Server started')) return
    if (node.process?.exitCode !== null || performance.now() > until - 100)
      throw new Error(`node ${node.id} of Kafka does not start:\n${written.slice(-4000)}`)
    await sleep(50)
  }
}

/** Key and certificate for this machine's own name, for two days. */
function makeCertificate(directory: string): void {
  const certificate = join(directory, 'certificate.pem')
  const key = join(directory, 'key.pem')
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const made = spawnSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, '-keyout', key, '-out', certificate],
    { encoding: 'utf8' },
  )
  if (made.status !== 0) throw new Error(`openssl makes no certificate:\n${made.stderr}`)
  writeFileSync(join(directory, 'server.pem'), readFileSync(key, 'utf8') + readFileSync(certificate, 'utf8'))
}

function propertiesOf(node: Node, nodes: readonly Node[], login: KafkaBrokerOptions['login']): string {
  const secure = login === undefined ? '' : `,SASL_SSL://localhost:${node.securePort}`
  const plain = `PLAINTEXT://127.0.0.1:${node.port}`
  const settings: Record<string, string | number> = {
    'process.roles': 'broker,controller',
    'node.id': node.id,
    'controller.quorum.voters': nodes.map((n) => `${n.id}@127.0.0.1:${n.controllerPort}`).join(','),
    'controller.listener.names': 'CONTROLLER',
    listeners: `${plain}${secure},CONTROLLER://127.0.0.1:${node.controllerPort}`,
    'advertised.listeners': `${plain}${secure}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL',
    'inter.broker.listener.name': 'PLAINTEXT',
    'log.dirs': join(node.directory, 'data'),
    'auto.create.topics.enable': 'false',
    'num.partitions': 4,
    'default.replication.factor': nodes.length,
    'min.insync.replicas': nodes.length === 3 ? 2 : 1,
    'offsets.topic.replication.factor': nodes.length,
    'offsets.topic.num.partitions': 2,
    'transaction.state.log.replication.factor': nodes.length,
    'share.coordinator.state.topic.replication.factor': nodes.length,
    'group.initial.rebalance.delay.ms': 0,
    'group.min.session.timeout.ms': 1000,
    'broker.session.timeout.ms': 6000,
    'broker.heartbeat.interval.ms': 1000,
    'num.network.threads': 2,
    'num.io.threads': 4,
    'background.threads': 2,
    'log.cleaner.dedupe.buffer.size': 2097152, // by default half of this heap
    'log.index.size.max.bytes': 1048576,
  }
  if (login !== undefined) {
    settings['listener.name.sasl_ssl.sasl.enabled.mechanisms'] = 'PLAIN'
    settings['listener.name.sasl_ssl.plain.sasl.jaas.config'] =
      `org.apache.kafka.common.security.plain.PlainLoginModule required user_${login.user}="${login.password}";`
    settings['listener.name.sasl_ssl.ssl.keystore.type'] = 'PEM'
    settings['listener.name.sasl_ssl.ssl.keystore.location'] = join(node.directory, '..', 'server.pem')
  }
  return Object.entries(settings)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('')
}
