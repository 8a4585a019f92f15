/** What a person does about an error of the file system, by its code. */

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full: free space on it',
  EDQUOT: 'the quota of this disk is used up: free space, or raise it',
  EROFS: 'the file system is mounted read-only: see in the log of the kernel why, and mount it read-write',
  EMFILE: 'the process has as many files open as it may: raise its limit of open files (ulimit -n, LimitNOFILE)',
  ENFILE: 'the system has as many files open as it may: raise fs.file-max',
  EACCES: 'this user may not write there: give it the directory',
  EPERM: 'this user may not write there: give it the directory',
  EIO: 'the disk fails: see the log of the kernel',
}

/** Cause and remedy as the end of a sentence; empty where the code says nothing that helps. */
export function remedyOf(error: unknown): string {
  const remedy = REMEDIES[(error as NodeJS.ErrnoException | undefined)?.code ?? '']
  return remedy === undefined ? '' : `; ${remedy}. No restart is needed`
}
