/** Settings of every table whose rows are answered for: an insert that was answered survives a power cut. */
export const DURABLE = 'fsync_after_insert = 1, fsync_part_directory = 1'
