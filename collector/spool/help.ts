/** What `--help` says. */
export type CommandName = 'verify' | 'stat' | 'dump' | 'repair'
export const COMMANDS: readonly CommandName[] = ['verify', 'stat', 'dump', 'repair']

export const HELP = `spool: looks into the journal of a collector, the samples it has accepted and keeps on disk.

  npm run spool -- verify DIRECTORY    is every record whole, and is none missing?
  npm run spool -- stat   DIRECTORY    how much is there, how old, and what still waits to be forwarded
  npm run spool -- dump   DIRECTORY    the accepted items themselves, one JSON object a line
  npm run spool -- repair DIRECTORY    puts damaged bytes aside, as a collector does at its start

DIRECTORY is the data directory (FLEETMETER_DATA_DIR, usually ./data), the "collector" or "journal" directory
in it, or the journal of one shard, such as data/collector/journal/samples-0.

verify, stat and dump change nothing, and may be run beside a collector. repair needs the collector stopped.
Run them as the user that the collector runs as.

  --help after a command says more about it.

Exit codes: 0 well, 1 verify or repair has found damage, 2 wrong use, or something cannot be read.
`

export const COMMAND_HELP: Readonly<Record<CommandName, string>> = {
  verify: `spool verify DIRECTORY [--json]

Reads every record of every segment and checks its checksum, and that positions follow each other. Nothing is
changed. For each journal it says how much is there, and then, where something is wrong:

  damaged   bytes that are no sound record: file, offset, length, and how many items they held. Exact, since
            every record says the position of its first item; only where nothing follows is the number what
            the damaged record says of itself.
  missing   items whose positions no record has, with the files between which they should be.
  torn      a write that was cut short by a kill or a full disk. Its sender was not told that it is kept, so
            nothing is lost: the sender has sent it again.
  repeated  a file that holds what another one holds, such as a copy. Harmless: it is read once.

"Lost" are items behind the cursor, which the aggregator has not stored. What lies before it is stored already.
What a collector or "repair" has put aside already is shown, and counts as sound.

A collector may be running: what it writes meanwhile is looked at next time.

  --json    one JSON object instead

Exit codes: 0 sound, 1 damage or a torn write, 2 something cannot be read.
`,
  stat: `spool stat DIRECTORY [--json]

For each journal: its size and segments, how many items came through which door, the oldest and the newest
arrival, the cursor (up to where the aggregator has stored everything) and what waits behind it, and how many
bytes a sample takes on disk.

What lies before the cursor is kept for windows of rules, and until its segment is full.

  --json    one JSON object instead
`,
  dump: `spool dump DIRECTORY [--from POSITION] [--to POSITION] [--limit N]

Prints accepted items, oldest first, journal by journal, one JSON object a line:

  shard, position   where it is: the first item of a journal has position 1
  arrival           when the collector took it
  door, tenant      how it came, and whose it is
  kind              sample, histogram, exemplar or metadata
  name, labels      its series
  time              of the sample, ms since the epoch
  value             a number that reads back to the same bits, or "stale", "NaN", "+Inf", "-Inf"; of a histogram
                    or an exemplar an object
  start             since when a counter counts, ms since the epoch, where its sender said so
  dropped, overflow true: it went into windows of rules, or into the aggregate of its metric, instead of being
                    stored itself

Repeats and refused items are not in it: they were not accepted. A record that is sound and that this version
cannot decode is one line of kind "unreadable". Damage is passed over; a note on stderr says how much.

  --from POSITION   from this position on
  --to POSITION     up to this position
  --limit N         this many lines at most

Give the directory of one journal where positions are meant: each journal counts its own.

  npm run --silent spool -- dump data/collector/journal/samples-0 --limit 3
`,
  repair: `spool repair DIRECTORY [--dry-run] [--json]

Does what a collector does at its start, by the same code: damaged bytes are copied to "quarantine" in the
journal's directory, a torn write is cut off, and everything sound is kept. Then it says what it did and how many
items are lost. A collector that is started does the same by itself: repair is for looking first, and for
journals that no collector will be started on.

Nothing is deleted. Damaged bytes stay in their segment too, until it is stored and removed as a whole; what is
cut off is copied to quarantine before. The losses it has told of are noted in quarantine/known-gaps.json, so that
verify calls the journal sound afterwards.

No collector may be running on the directory: repair takes its lock, or says who has it.

  --dry-run   changes nothing: the same as verify
  --json      one JSON object instead

Exit codes: 0 there was nothing to repair, 1 there was, and it is done, 2 something stands in the way.
`,
}
