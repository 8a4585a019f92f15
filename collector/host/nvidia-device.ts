/** The number of a GPU's device file, which need not be its index: a container is given some of a host's GPUs, and counts those. */
import { readFileSync } from 'node:fs'

/**
 * Read once for each GPU that has just answered, so that the driver answers too.
 * @param pciBusId as nvidia-smi prints it, `00000000:3B:00.0`
 * @param folder of the driver; the kernel's names have four digits of the domain and small letters
 * @returns `nvidia3`; where the driver does not tell, by the index
 */
export function deviceOf(pciBusId: string, index: string, folder = '/proc/driver/nvidia/gpus'): string {
  const place = /^[0-9a-f]*([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f])$/i.exec(pciBusId)?.[1]?.toLowerCase()
  try {
    const information = place === undefined ? '' : readFileSync(`${folder}/${place}/information`, 'utf8')
    return `nvidia${/^Device Minor:\s*(\d+)$/m.exec(information)?.[1] ?? index}`
  } catch {
    return `nvidia${index}` // a driver that tells nothing here, as on WSL
  }
}
