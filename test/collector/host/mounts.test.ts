import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mountsOf } from '../../../collector/host/mounts.ts'

test('mountsOf: what node_exporter shows, once each, with escaped names', () => {
  const mounts = mountsOf(
    [
      '/dev/sda1 / ext4 rw,relatime 0 0',
      'proc /proc proc rw 0 0',
      'tmpfs /run tmpfs rw 0 0',
      'tmpfs /dev/shm tmpfs rw 0 0',
      'overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0',
      '/dev/sdb1 /my\\040data xfs ro,noatime 0 0',
      '/dev/sdb1 /my\\040data xfs rw 0 0',
      'server:/export /home nfs4 rw,hard 0 0',
      'torn',
      '',
    ].join('\n'),
  )
  assert.deepEqual(mounts.slice(0, 4), [
    { device: '/dev/sda1', mountpoint: '/', fstype: 'ext4', readonly: false, local: true },
    { device: 'tmpfs', mountpoint: '/run', fstype: 'tmpfs', readonly: false, local: true },
    { device: '/dev/sdb1', mountpoint: '/my data', fstype: 'xfs', readonly: true, local: true },
    { device: 'server:/export', mountpoint: '/home', fstype: 'nfs4', readonly: false, local: false },
  ])
  assert.equal(mountsOf('overlay / overlay rw 0 0\n').length, 1, "a container's root")
})

test('mountsOf: a file system that it has never heard of is not asked in this process', () => {
  for (const fstype of ['nfs', 'cifs', 'fuse.sshfs', 'lustre', 'ceph', 'newfs9'])
    assert.equal(mountsOf(`x /mnt ${fstype} rw 0 0`)[0]?.local, false, fstype)
})

test('mountsOf: a host that mounts without end is bounded', () => {
  const text = Array.from({ length: 5000 }, (_, i) => `/dev/sd /m${i} ext4 rw 0 0`).join('\n')
  assert.equal(mountsOf(text).length, 1000)
})
