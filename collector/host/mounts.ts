/** Which file systems there are, from the text of /proc/mounts. */
import { linesOf } from './proc.ts'

export interface Mount {
  readonly device: string
  readonly mountpoint: string
  readonly fstype: string
  readonly readonly: boolean
  /** Its answer can come from nowhere but this kernel, so that it comes. */
  readonly local: boolean
}

/** What node_exporter leaves out by default. */
const IGNORED_FILE_SYSTEMS =
  /^(?:autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tracefs)$/
const IGNORED_MOUNTS =
  /^\/(?:dev|proc|run\/credentials\/.+|sys|var\/lib\/docker\/.+|var\/lib\/containers\/storage\/.+)(?:$|\/)/
const LOCAL_FILE_SYSTEMS =
  /^(?:ext[234]|xfs|btrfs|bcachefs|zfs|f2fs|jfs|nilfs2|reiserfs|tmpfs|ramfs|vfat|exfat|ntfs3?|hfsplus|udf|erofs|overlay)$/
/** A host has some dozens; each is a handful of series. */
const MOUNTS_MAX = 1000

/** Each mount point once; of several file systems on one, the first. */
export function mountsOf(text: string): Mount[] {
  const mounts = new Map<string, Mount>()
  for (const line of linesOf(text)) {
    const [device = '', point = '', fstype = '', options = ''] = line.split(' ').map(unescaped)
    // A container's root is an overlay; it is the one that its user asks about.
    const ignored = IGNORED_FILE_SYSTEMS.test(fstype) && !(fstype === 'overlay' && point === '/')
    if (ignored || IGNORED_MOUNTS.test(point) || mounts.has(point) || mounts.size >= MOUNTS_MAX) continue
    const readonly = options.split(',').includes('ro')
    mounts.set(point, { device, mountpoint: point, fstype, readonly, local: LOCAL_FILE_SYSTEMS.test(fstype) })
  }
  return [...mounts.values()]
}

/** Blanks, tabs, line ends and backslashes stand as octal bytes. */
function unescaped(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}
