/**
 * How full the file systems are. `statfs` of a network file system whose server is away never returns: in this process it would take one
 * of the few threads that serve files, and at the end keep the process from ending. So those are asked by `stat -f` in a process of their
 * own, which can be left alone. One that does not answer has `node_filesystem_device_error` 1, as node_exporter says it.
 */
import { readFile, statfs } from 'node:fs/promises'
import type { Figure } from './figure.ts'
import { figure } from './figure.ts'
import type { Mount } from './mounts.ts'
import { mountsOf } from './mounts.ts'
import type { ToolOptions } from './tool.ts'
import { Tool } from './tool.ts'

/** A remote file system is asked this often at most, however fast the rounds are: each time is a process. */
const REMOTE_EVERY_MS = 10_000
/** Remote file systems that are asked; those beyond are not. */
const REMOTE_MAX = 100

/** Sizes in bytes and numbers of inodes. */
interface Space {
  readonly size: number
  readonly free: number
  readonly avail: number
  readonly files: number
  readonly filesFree: number
}

export class FileSystems {
  readonly #tool: Omit<ToolOptions, 'names'>
  readonly #mounts: () => Promise<string>
  readonly #remote = new Map<string, Tool>()

  /** @param mounts the text of /proc/mounts */
  constructor(tool: Omit<ToolOptions, 'names'>, mounts = (): Promise<string> => readFile('/proc/mounts', 'utf8')) {
    this.#tool = tool
    this.#mounts = mounts
  }

  /** Remote file systems that do not answer. */
  get unanswered(): number {
    return [...this.#remote.values()].filter(({ state }) => state === 'failing' || state === 'silent').length
  }

  /**
   * A round: the figures of local file systems.
   * @param later called with those of each remote one when it has answered
   */
  async figures(later: (figures: readonly Figure[]) => void): Promise<Figure[]> {
    const mounts = mountsOf(await this.#mounts())
    const there = new Set(mounts.map((mount) => mount.mountpoint))
    for (const [point, tool] of this.#remote) if (!there.has(point) && tool.due) this.#remote.delete(point)
    for (const mount of mounts) if (!mount.local) this.#askRemote(mount, later)
    const local = await Promise.all(mounts.filter((mount) => mount.local).map(localFigures))
    return local.flat()
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#remote.values()].map((tool) => tool.stop()))
  }

  #askRemote(mount: Mount, later: (figures: readonly Figure[]) => void): void {
    let tool = this.#remote.get(mount.mountpoint)
    if (tool === undefined) {
      if (this.#remote.size >= REMOTE_MAX) return
      tool = new Tool({ ...this.#tool, names: ['stat'], subject: mount.mountpoint })
      this.#remote.set(mount.mountpoint, tool)
    }
    if (tool.state === 'silent' || tool.state === 'failing') later(figuresOf(mount, undefined))
    if (!tool.due) return
    const asked = tool
    const args = ['-f', '-c', '%S %b %f %a %c %d', '--', mount.mountpoint]
    void asked.ask({ args }).then((answer) => {
      asked.rest(REMOTE_EVERY_MS)
      if (answer.kind !== 'ok') return
      const [size, ...counts] = answer.output.trim().split(' ').map(Number)
      const [blocks, free, avail, files, filesFree] = counts
      if (size === undefined || filesFree === undefined || counts.some(Number.isNaN)) {
        asked.useless(`stat printed no sizes: ${answer.output.slice(0, 100)}`)
        return
      }
      asked.answered()
      later(
        figuresOf(mount, { size: blocks! * size, free: free! * size, avail: avail! * size, files: files!, filesFree }),
      )
    })
  }
}

async function localFigures(mount: Mount): Promise<Figure[]> {
  try {
    const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(mount.mountpoint)
    return figuresOf(mount, {
      size: blocks * bsize,
      free: bfree * bsize,
      avail: bavail * bsize,
      files,
      filesFree: ffree,
    })
  } catch {
    return figuresOf(mount, undefined) // not for us to see, or unmounted just now
  }
}

function figuresOf({ device, mountpoint, fstype, readonly }: Mount, space: Space | undefined): Figure[] {
  const of = (name: string, value: number): Figure =>
    figure(`node_filesystem_${name}`, value, { device, mountpoint, fstype })
  const state = [of('device_error', space === undefined ? 1 : 0), of('readonly', readonly ? 1 : 0)]
  if (space === undefined) return state
  return [
    ...state,
    of('size_bytes', space.size),
    of('free_bytes', space.free),
    of('avail_bytes', space.avail),
    of('files', space.files),
    of('files_free', space.filesFree),
  ]
}
