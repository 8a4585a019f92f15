/**
 * The path of a worker or child program beside a module, whether that runs from source (`.ts`: tsx, Node 24, Deno) or built
 * (`.js`): the build rewrites the endings of imports, not those of strings.
 */
import { fileURLToPath } from 'node:url'

/** @param base path without ending, relative to the module: './shard.worker' */
export function workerPath(base: string, moduleUrl: string): string {
  return fileURLToPath(new URL(`${base}${moduleUrl.endsWith('.ts') ? '.ts' : '.js'}`, moduleUrl))
}
