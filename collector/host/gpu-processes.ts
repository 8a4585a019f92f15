/** What `nvidia-smi --query-compute-apps=gpu_uuid,pid,used_gpu_memory,process_name` prints. */
import { numberIn, textIn } from './nvidia-fields.ts'

export interface GpuProcess {
  readonly uuid: string
  readonly pid: string
  /** '' where it is not told. */
  readonly name: string
  /** undefined where the driver does not tell it, as on parts of a divided GPU. */
  readonly bytes: number | undefined
}

const MIB = 1024 * 1024
/** A host has some hundred at most; each is a series. */
const PROCESSES_MAX = 1000
const NAME_CHARACTERS_MAX = 256

/** One line a process; what is no such line ("No running processes found") is passed over. */
export function processesIn(output: string): GpuProcess[] {
  const processes: GpuProcess[] = []
  for (const line of output.split('\n')) {
    const [uuid = '', pid = '', used = '', ...name] = line.split(',').map((cell) => cell.trim())
    if (!/^(?:GPU|MIG)-/.test(uuid) || !/^\d+$/.test(pid)) continue
    const mebibytes = textIn(used) === '' ? undefined : numberIn(used)
    processes.push({
      uuid,
      pid,
      name: programOf(name.join(',')),
      bytes: mebibytes === undefined ? undefined : mebibytes * MIB,
    })
    if (processes.length === PROCESSES_MAX) break
  }
  return processes
}

/** Without its arguments: they may hold secrets. */
function programOf(name: string): string {
  if (textIn(name) === '') return ''
  return name.split(' ', 1)[0]!.slice(0, NAME_CHARACTERS_MAX)
}
