//! Writes a node's heartbeat with the public client and reads it back as router and scheduler do.
//! Usage: xtrace-client-peer URL TOKEN; prints one line of JSON.
use std::{collections::HashMap, env, time::Duration};

use chrono::{TimeDelta, Utc};
use serde_json::json;
use xtrace_client::{Client, MetricPoint, MetricsQueryParams};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().collect();
    let client = Client::new(&format!("{}/", args[1]), &args[2])?;
    client.healthz().await?;

    let now = Utc::now();
    let mut metrics = Vec::new();
    for gpu in 0..8 {
        let labels = HashMap::from([
            ("node_id".to_string(), "node-1".to_string()),
            ("model_uid".to_string(), "qwen-72b".to_string()),
            ("replica_id".to_string(), gpu.to_string()),
        ]);
        for (name, value) in [("pending_requests", gpu as f64), ("kv_cache_usage", 0.125 * gpu as f64)] {
            metrics.push(MetricPoint { name: name.to_string(), labels: labels.clone(), value, timestamp: now });
        }
    }
    let pushed = client.push_metrics(&metrics).await?;

    let mut answers = Vec::new();
    for attempt in 0.. {
        answers.clear();
        for (seconds, step, name) in [(60, "60s", "pending_requests"), (120, "120s", "kv_cache_usage")] {
            let to = Utc::now();
            let answer = client
                .query_metrics(&MetricsQueryParams {
                    name: name.to_string(),
                    from: Some(to - TimeDelta::seconds(seconds)),
                    to: Some(to),
                    step: Some(step.to_string()),
                    agg: Some("last".to_string()),
                    labels: Some(HashMap::from([("node_id".to_string(), "node-1".to_string())])),
                    ..Default::default()
                })
                .await?;
            answers.push(json!({
                "series": answer.data.iter().map(|s| json!({ "labels": s.labels, "last": s.values.last().map(|v| v.value) })).collect::<Vec<_>>(),
                "latest_ts": answer.meta.latest_ts,
                "series_count": answer.meta.series_count,
                "truncated": answer.meta.truncated,
            }));
        }
        if answers.iter().all(|a| a["series_count"] == 8) || attempt == 100 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let names = client.list_metric_names().await?;
    println!("{}", json!({ "pushed": pushed.message, "sent_at": now.to_rfc3339(), "answers": answers, "names": names }));
    Ok(())
}
