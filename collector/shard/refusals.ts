/**
 * Why an item is not taken. The list is closed: each reason is the label of a counter and has a sentence for the sender.
 * It is the sender's fault each time; what is ours is answered 503 and refuses nothing.
 */
export const REFUSALS = {
  no_metric_name: 'the series has no metric name (label __name__)',
  empty_label_name: 'a label has an empty name',
  duplicate_label: 'a label name stands twice',
  too_many_labels: 'the series has more labels than limits allow (label_count_max)',
  label_too_long: 'a label name or value is longer than limits allow (label_name_bytes_max, label_value_bytes_max)',
  malformed_labels: 'the labels are not readable, not UTF-8, or references that lead nowhere',
  series_limit:
    'the series is beyond the bounds (series_max, series_per_tenant_max, series_per_sender_max), and what is aggregated instead has no room for it',
  too_old: 'the timestamp is older than late samples may be (points_days, less one)',
  too_new: 'the timestamp is further in the future than clocks may differ (future_max_ms)',
  bad_histogram: 'the native histogram contradicts itself or is larger than any real one',
  bad_exemplar: 'the labels of the exemplar are too many, too long, not UTF-8, or references that lead nowhere',
  bad_metadata: 'the metadata names no metric, is too long, not UTF-8, or has references that lead nowhere',
  metadata_limit: 'the shard keeps as much metadata as it may (metadata_bytes_max)',
  bad_point: 'the point is not of the form that is expected',
} as const

export type Refusal = keyof typeof REFUSALS

export const REFUSAL_CODES = Object.keys(REFUSALS) as Refusal[]
