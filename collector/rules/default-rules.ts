/**
 * The rules that are in force where none are configured, as they would stand in the configuration file: minute figures for
 * each host and each model, of the few metrics that overviews ask for. Inputs are kept.
 */

/** Fields of dcgm-exporter: one host has several GPUs, each with several series. */
const DCGM = {
  name: 'GPUs of a host (DCGM)',
  match: ['DCGM_FI_DEV_GPU_UTIL', 'DCGM_FI_DEV_POWER_USAGE', 'DCGM_FI_DEV_FB_USED', 'DCGM_FI_DEV_GPU_TEMP'],
  interval: '1m',
  by: ['Hostname', 'instance'],
  outputs: ['avg', 'max', 'last'],
}

const NODES = {
  name: 'GPUs of a node',
  match: ['gpu_utilization', 'gpu_memory_used_mb', 'gpu_temperature'],
  interval: '1m',
  by: ['node_id'],
  outputs: ['avg', 'max', 'last'],
}

const MODELS = {
  name: 'models',
  match: ['pending_requests', 'kv_cache_usage', 'prefix_cache_hit_rate'],
  interval: '1m',
  by: ['model_uid'],
  outputs: ['avg', 'max', 'last'],
}

/** To be read by `readRules`. */
export const DEFAULT_RULES: readonly unknown[] = [DCGM, NODES, MODELS]
