/**
 * NVIDIA's XIDs: the error numbers of its driver, what each means for a run, and what to do. Numbers, meanings and remedies are those of
 * the public catalogue; the class is ours and decides the category. Numbers that the catalogue calls unused are left out.
 * @see https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html
 */
import type { Category } from './categories.ts'
import type { Strength } from './strengths.ts'

/** The catalogue's state that this table was made from. */
export const XID_VERSION = '2025-10-29'

/**
 * `hardware`, `fabric`, `driver`, `power`: the cause of a failure. `app`: the run's own kernel was stopped.
 * `record`: written down by the driver beside or after another fault; never a cause by itself.
 */
type XidClass = 'hardware' | 'fabric' | 'driver' | 'power' | 'app' | 'record'

/** The catalogue's immediate remedy; `follow_workflow` where it gives a decision tree. */
type XidAction =
  | 'restart_app'
  | 'reset_gpu'
  | 'restart_node'
  | 'restart_vm'
  | 'follow_workflow'
  | 'check_power'
  | 'update_software'
  | 'contact_support'
  | 'none'

export interface Xid {
  readonly number: number
  readonly name: string
  readonly class: XidClass
  readonly action: XidAction
}

/** What each class makes of a run, and how strong it is as evidence; null: it decides nothing. */
export const XID_CLASSES: Readonly<
  Record<XidClass, { readonly category: Category; readonly strength: Strength } | null>
> = {
  hardware: { category: 'gpu.hardware', strength: 'hardware' },
  fabric: { category: 'net.fabric', strength: 'hardware' },
  driver: { category: 'software.driver', strength: 'hardware' },
  power: { category: 'gpu.thermal_power', strength: 'hardware' },
  app: { category: 'gpu.app_fault', strength: 'fault' },
  record: null,
}

const ROWS: readonly (readonly [number, string, XidClass, XidAction])[] = [
  [8, 'GPU stopped processing', 'app', 'restart_app'],
  [11, 'invalid push buffer stream', 'app', 'restart_app'],
  [13, 'graphics engine exception', 'app', 'restart_app'],
  [25, 'illegal push buffer stream', 'app', 'restart_app'],
  [31, 'GPU memory page fault', 'app', 'restart_app'],
  [32, 'corrupted push buffer stream', 'app', 'restart_app'],
  [37, 'driver firmware error', 'record', 'none'],
  [38, 'driver firmware watchdog', 'record', 'none'],
  [39, 'copy engine 0 exception', 'app', 'restart_app'],
  [40, 'copy engine 1 exception', 'app', 'restart_app'],
  [41, 'copy engine 2 exception', 'app', 'restart_app'],
  // The catalogue's immediate remedy is none: the channel is gone with its process, and the fault was the process's own.
  [43, 'GPU stopped processing a channel', 'app', 'none'],
  [44, 'fault during context switch', 'record', 'none'],
  [45, 'preemptive cleanup after earlier errors', 'record', 'follow_workflow'],
  [46, 'GPU stopped processing', 'hardware', 'reset_gpu'],
  [48, 'double-bit ECC error', 'hardware', 'follow_workflow'],
  [54, 'auxiliary power not connected', 'power', 'check_power'],
  [60, 'video processor exception', 'app', 'restart_app'],
  [62, 'internal micro-controller halt', 'hardware', 'reset_gpu'],
  [63, 'memory row remapped or page retired', 'record', 'none'],
  [64, 'remapping or retirement failed', 'hardware', 'reset_gpu'],
  [66, 'illegal register access by driver', 'record', 'none'],
  [67, 'illegal access by driver', 'record', 'none'],
  [68, 'video decoder 0 exception', 'app', 'restart_app'],
  [69, 'graphics engine class error', 'app', 'restart_app'],
  [70, 'copy engine 3 error', 'app', 'restart_app'],
  [71, 'copy engine 4 error', 'app', 'restart_app'],
  [72, 'copy engine 5 error', 'app', 'restart_app'],
  [74, 'NVLink error', 'fabric', 'follow_workflow'],
  [75, 'copy engine 6 error', 'app', 'restart_app'],
  [76, 'copy engine 7 error', 'app', 'restart_app'],
  [77, 'copy engine 8 error', 'app', 'restart_app'],
  [78, 'vGPU did not start', 'driver', 'update_software'],
  [79, 'GPU has fallen off the bus', 'hardware', 'restart_node'],
  [80, 'corrupted data sent to the GPU', 'app', 'restart_app'],
  [82, 'JPEG engine 0 error', 'app', 'restart_app'],
  [83, 'video decoder 1 error', 'app', 'restart_app'],
  [84, 'video decoder 2 error', 'app', 'restart_app'],
  [85, 'copy engine 9 error', 'app', 'restart_app'],
  [86, 'optical flow engine exception', 'app', 'restart_app'],
  [88, 'video decoder 3 error', 'app', 'restart_app'],
  [89, 'video decoder 4 error', 'app', 'restart_app'],
  [92, 'high rate of single-bit ECC errors', 'record', 'none'],
  [93, 'InfoROM wear limit', 'record', 'none'],
  // The remedy is to restart the application, but the memory failed and not the application.
  [94, 'contained memory error', 'hardware', 'restart_app'],
  [95, 'uncontained memory error', 'hardware', 'reset_gpu'],
  [96, 'video decoder 5 error', 'app', 'restart_app'],
  [97, 'video decoder 6 error', 'app', 'restart_app'],
  [98, 'video decoder 7 error', 'app', 'restart_app'],
  [99, 'JPEG engine 1 error', 'app', 'restart_app'],
  [100, 'JPEG engine 2 error', 'app', 'restart_app'],
  [101, 'JPEG engine 3 error', 'app', 'restart_app'],
  [102, 'JPEG engine 4 error', 'app', 'restart_app'],
  [103, 'JPEG engine 5 error', 'app', 'restart_app'],
  [104, 'JPEG engine 6 error', 'app', 'restart_app'],
  [105, 'JPEG engine 7 error', 'app', 'restart_app'],
  [106, 'SMBPBI test message', 'record', 'none'],
  [107, 'SMBPBI silent test message', 'record', 'none'],
  [109, 'context switch timeout', 'hardware', 'reset_gpu'],
  [110, 'security fault', 'hardware', 'reset_gpu'],
  [119, 'GSP RPC timeout', 'hardware', 'reset_gpu'],
  [120, 'GSP error', 'hardware', 'reset_gpu'],
  [121, 'C2C link error', 'record', 'none'],
  [126, 'copy engine 10 error', 'app', 'restart_app'],
  [127, 'copy engine 11 error', 'app', 'restart_app'],
  [128, 'copy engine 12 error', 'app', 'restart_app'],
  [129, 'copy engine 13 error', 'app', 'restart_app'],
  [130, 'copy engine 14 error', 'app', 'restart_app'],
  [131, 'copy engine 15 error', 'app', 'restart_app'],
  [132, 'copy engine 16 error', 'app', 'restart_app'],
  [133, 'copy engine 17 error', 'app', 'restart_app'],
  [134, 'copy engine 18 error', 'app', 'restart_app'],
  [135, 'copy engine 19 error', 'app', 'restart_app'],
  [136, 'link training failed', 'fabric', 'reset_gpu'],
  [137, 'NVLink privilege error', 'record', 'none'],
  [139, 'optical flow engine 1 error', 'app', 'restart_app'],
  [140, 'unrecovered ECC error', 'hardware', 'reset_gpu'],
  [141, 'CUDA fast path error', 'record', 'none'],
  [142, 'video encoder 3 error', 'record', 'contact_support'],
  [143, 'GPU initialisation error', 'hardware', 'reset_gpu'],
  [144, 'NVLink: SAW error', 'fabric', 'follow_workflow'],
  [145, 'NVLink: RLW error', 'fabric', 'follow_workflow'],
  [146, 'NVLink: TLW error', 'fabric', 'follow_workflow'],
  [147, 'NVLink: TREX error', 'fabric', 'follow_workflow'],
  [148, 'NVLink: NVLPW_CTRL error', 'fabric', 'follow_workflow'],
  [149, 'NVLink: NETIR error', 'fabric', 'follow_workflow'],
  [150, 'NVLink: MSE error', 'fabric', 'follow_workflow'],
  [151, 'key rotation error', 'driver', 'restart_vm'],
  [152, 'DLA SMMU error', 'record', 'none'],
  [153, 'DLA timeout', 'record', 'none'],
  [154, 'recovery action changed', 'record', 'follow_workflow'],
  [155, 'NVLink: software-defined error', 'fabric', 'reset_gpu'],
  [156, 'resource retired', 'hardware', 'reset_gpu'],
  [157, 'resource retirement failed', 'record', 'none'],
  [158, 'GPU fatal timeout', 'hardware', 'reset_gpu'],
  [159, 'CHI error without data', 'driver', 'follow_workflow'],
  [160, 'channel retired', 'record', 'none'],
  [161, 'channel retirement failed', 'record', 'none'],
  // From here on the catalogue gives no remedy yet: contact_support is ours.
  [162, 'power smoothing engaged again', 'record', 'none'],
  [163, 'power smoothing disengaged', 'record', 'none'],
  [164, 'power smoothing: little life left', 'record', 'none'],
  [165, 'power smoothing: worn out', 'record', 'contact_support'],
  [166, 'NVLink: traffic before encryption was set up', 'fabric', 'contact_support'],
  [167, 'PCIe fatal timeout', 'hardware', 'contact_support'],
  [168, 'reduced GPU memory capacity', 'hardware', 'contact_support'],
  [169, 'security processor halt', 'hardware', 'contact_support'],
  [170, 'NVLink: interrupt in confidential mode', 'fabric', 'contact_support'],
  [171, 'uncorrectable DRAM error', 'hardware', 'follow_workflow'],
  [172, 'uncorrectable SRAM error', 'hardware', 'follow_workflow'],
]

/** By number. What is not here is unknown or unused: a record, and no cause. */
export const XIDS: ReadonlyMap<number, Xid> = new Map(
  ROWS.map(([number, name, kind, action]) => [number, { number, name, class: kind, action }]),
)
