/** Samples as the body of a remote write, which the host's door takes. */
import { compareUtf8 } from '../../proto/wire/labels.ts'
import { encodeWriteRequest } from '../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../proto/wire/snappy.ts'
import type { Sample } from './figure.ts'

export function bodyOf(samples: readonly Sample[]): Uint8Array<ArrayBuffer> {
  const series = samples.map(({ name, labels, value, timestamp }) => ({
    labels: Object.entries({ __name__: name, ...labels }).sort((a, b) => compareUtf8(a[0], b[0])),
    samples: [{ timestamp, value }],
  }))
  return Uint8Array.from(portableSnappy.compress(encodeWriteRequest(series)))
}
