#!/usr/bin/env node
/**
 * Stands in for nvidia-smi: replays a recording of a real H100 (test/fixtures/gpu-h100), with the fields that are asked for, and what
 * that driver's --help-query-gpu says. To be linked as `nvidia-smi` into a folder of its own, which a file `control.json` beside it
 * steers and whose file `calls` gets a line for each start:
 *
 *     row      the recorded second that the first row shows; those of -lms go on from it, one each, and end with the recording
 *     mode     replay; hang: says nothing; lost: no driver; none: no GPU; refuse: knows `refused` but refuses to be asked for it;
 *              rows-then-lost: two rows, then the GPU is lost
 *     hidden   fields that this driver does not know; neither does its help
 *     uuids    the recorded GPU, several times
 */
import { appendFileSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const FIXTURE = fileURLToPath(new URL('../fixtures/gpu-h100/', import.meta.url))
const folder = dirname(process.argv[1])
const control = JSON.parse(readFileSync(join(folder, 'control.json'), 'utf8'))
const { row = 0, mode = 'replay', hidden = [], refused = '', uuids, model } = control
appendFileSync(join(folder, 'calls'), `${process.argv.slice(2).join(' ')}\n`)

const [head, ...lines] = readFileSync(join(FIXTURE, 'samples.csv'), 'utf8').trim().split('\n')
const columns = head.split(', ').map((column) => column.replace(/ \[.*\]$/, ''))
const ALIASES = { 'clocks.sm': 'clocks.current.sm', 'clocks.mem': 'clocks.current.memory' }
const STATIC = { driver_version: '580.159.04', 'pci.bus_id': '00000000:00:06.0' }
const tasks = readFileSync(join(FIXTURE, 'tasks.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line))

const option = (name) => process.argv.find((argument) => argument.startsWith(`${name}=`))?.slice(name.length + 1)
const withUnits = !(option('--format') ?? '').includes('nounits')

function recorded(index) {
  const cells = lines[Math.min(index, lines.length - 1)].split(', ')
  return Object.fromEntries(
    columns.map((column, i) => [column, withUnits ? cells[i] : cells[i].replace(/ [A-Za-z%]+$/, '')]),
  )
}

function help() {
  const text = readFileSync(join(FIXTURE, 'help-query-gpu.txt'), 'utf8')
  return text
    .split('\n')
    .filter((line) => !hidden.some((field) => line.startsWith(`"${field}"`)))
    .join('\n')
}

function fail(code, text) {
  process.stdout.write(`${text}\n`)
  process.exit(code)
}

function rows(fields, index) {
  const row = recorded(index)
  const gpus = uuids ?? [row.uuid]
  return gpus.map((uuid, gpu) =>
    fields
      .map((field) => {
        if (field === 'uuid') return uuid
        if (field === 'index') return String(gpu)
        if (field === 'name') return model ?? row.name
        return STATIC[field] ?? row[ALIASES[field] ?? field] ?? '[N/A]'
      })
      .join(', '),
  )
}

function queryGpu(fields) {
  const known = new Set([...help().matchAll(/"([^"\n]+)"/g)].map((match) => match[1]))
  const unknown = fields.find((field) => !known.has(field) || field === refused)
  if (unknown !== undefined) fail(2, `Field "${unknown}" is not a valid field to query.\n`)
  const every = process.argv.indexOf('-lms')
  let index = row
  const print = () => process.stdout.write(`${rows(fields, index++).join('\n')}\n`)
  print()
  if (every < 0) return
  setInterval(
    () => {
      if (mode === 'rows-then-lost' && index >= row + 2)
        fail(
          15,
          'Unable to determine the device handle for GPU 0000:00:06.0: GPU is lost.  Reboot the system to recover this GPU',
        )
      if (index < lines.length) print()
    },
    Number(process.argv[every + 1]),
  )
}

function queryProcesses(fields) {
  const { timestamp, uuid, 'memory.used': used } = recorded(row)
  const at = Date.parse(`${timestamp.replace(/\//g, '-').replace(' ', 'T')}Z`)
  if (!tasks.some(({ start, end }) => Date.parse(start) <= at && at < Date.parse(end))) return
  const told = {
    gpu_uuid: uuid,
    pid: '4242',
    used_gpu_memory: used,
    process_name: '/usr/bin/python3 train.py --token=secret',
  }
  process.stdout.write(`${fields.map((field) => told[field]).join(', ')}\n`)
}

if (mode === 'hang') setInterval(() => {}, 1000)
else if (process.argv.includes('--help-query-gpu')) process.stdout.write(help())
else if (mode === 'lost')
  fail(
    9,
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.\n",
  )
else if (mode === 'none') fail(6, 'No devices were found')
else if (option('--query-gpu') !== undefined) queryGpu(option('--query-gpu').split(','))
else queryProcesses(option('--query-compute-apps').split(','))
