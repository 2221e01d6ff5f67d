//! What is told of the transfers: one row for each tool in each condition.

use serde_json::{Map, Value, json};

use super::meter::Peaks;
use super::run::Transfer;
use super::tools::Tool;

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Condition {
    /// Hosts that receive.
    pub(crate) receivers: usize,
    /// Share of packets lost on their way to each.
    pub(crate) loss: f64,
    /// Bytes of the file.
    pub(crate) size: u64,
}

/// One transfer, measured.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// What came out, or why nothing did.
    pub(crate) transfer: Result<Transfer, String>,
    /// Processor seconds of all its processes, from their start to their end.
    pub(crate) cpu: f64,
    /// Most memory of any process.
    pub(crate) peaks: Peaks,
    /// Load of the machine when it began.
    pub(crate) load: f64,
}

/// Medians over the transfers of one tool in one condition.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The tool.
    pub(crate) tool: Tool,
    /// The condition.
    pub(crate) condition: Condition,
    samples: Vec<Sample>,
}

impl Row {
    /// A row without transfers.
    pub(crate) const fn new(tool: Tool, condition: Condition) -> Self {
        Self { tool, condition, samples: Vec::new() }
    }

    /// Adds a transfer.
    pub(crate) fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Whether all transfers were right, and there was one.
    pub(crate) fn is_ok(&self) -> bool {
        !self.samples.is_empty() && self.samples.iter().all(|sample| sample.transfer.is_ok())
    }

    /// The median over the transfers that were right; `None` when there are none.
    fn median(&self, figure: impl Fn(&Sample, &Transfer) -> f64) -> Option<f64> {
        let right = |sample: &Sample| Some(figure(sample, sample.transfer.as_ref().ok()?));
        median(self.samples.iter().filter_map(right).collect())
    }

    /// All figures; null where no transfer was right.
    pub(crate) fn json(&self) -> Value {
        let Condition { receivers, loss, size } = self.condition;
        let bytes = size as f64;
        let speed = |seconds: Option<f64>| seconds.map(|seconds| (bytes / seconds).round());
        let whole = |figure: Option<f64>| figure.map(|figure| figure.round() as u64);
        let seconds = self.median(|_, t| last(t));
        let middle = self.median(|_, t| median_receiver(t));
        let durable = self.median(|_, t| t.durable.as_secs_f64());
        let cpu = self.median(|sample, _| sample.cpu);
        let delivered = bytes * receivers as f64 / 1e9;
        let failures: Vec<&String> =
            self.samples.iter().filter_map(|sample| sample.transfer.as_ref().err()).collect();
        json!({
            "tool": self.tool.name(),
            "receivers": receivers,
            "loss": loss,
            "size": size,
            "ok": self.is_ok(),
            "seconds": seconds,
            "goodput": speed(seconds),
            "goodput_median_receiver": speed(middle),
            "durable_seconds": durable,
            "durable_goodput": speed(durable),
            "wire_ratio": self.median(|_, t| t.crossed.sent as f64 / bytes),
            "wire_bytes": whole(self.median(|_, t| t.crossed.sent as f64)),
            "back_bytes": whole(self.median(|_, t| t.crossed.received as f64)),
            "cpu_s": cpu,
            "cpu_s_per_delivered_gb": cpu.map(|cpu| cpu / delivered),
            "rss_max": whole(self.median(|s, _| s.peaks.sender.max(s.peaks.receiver) as f64)),
            "rss_sender": whole(self.median(|s, _| s.peaks.sender as f64)),
            "rss_receiver": whole(self.median(|s, _| s.peaks.receiver as f64)),
            "overflows": whole(self.median(|_, t| t.crossed.overflows as f64)),
            "load": median(self.samples.iter().map(|sample| sample.load).collect()),
            "rounds": self.samples.len(),
            "options": self.tool.options(),
            "notes": self.notes(),
            "failures": failures,
        })
    }

    /// Medians of what the tool tells of itself.
    fn notes(&self) -> Map<String, Value> {
        let names = self.samples.iter().filter_map(|sample| sample.transfer.as_ref().ok());
        let names: Vec<&String> = names.flat_map(|transfer| transfer.notes.keys()).collect();
        let note = |name: &&String| {
            let value = |_: &Sample, t: &Transfer| t.notes.get(*name).and_then(Value::as_f64);
            let found = self.median(|s, t| value(s, t).unwrap_or(f64::NAN));
            ((*name).clone(), json!(found))
        };
        names.iter().map(note).collect()
    }
}

/// Seconds until the last receiver had it all.
pub(crate) fn last(transfer: &Transfer) -> f64 {
    transfer.complete.iter().max().map_or(f64::NAN, |last| last.as_secs_f64())
}

fn median_receiver(transfer: &Transfer) -> f64 {
    let all = transfer.complete.iter().map(|complete| complete.as_secs_f64()).collect();
    median(all).unwrap_or(f64::NAN)
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures.len().checked_sub(1)? / 2, figures.len() / 2);
    Some((figures[low] + figures[high]) / 2.0)
}

/// The rows as a table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = "| tool | receivers | loss | ok | seconds | MB/s each | MB/s durable | wire/size \
        | CPU s | CPU s per GB each | RSS sender, receiver MiB | overflows | load |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    let lines = rows.iter().map(|row| {
        let row = row.json();
        let number = |name: &str, factor: f64, digits: usize| match row[name].as_f64() {
            Some(figure) => format!("{:.digits$}", figure * factor),
            None => "–".to_owned(),
        };
        let mib = 1.0 / f64::from(1 << 20);
        let cells = [
            row["tool"].as_str().unwrap_or_default().to_owned(),
            row["receivers"].to_string(),
            format!("{} %", row["loss"].as_f64().unwrap_or(0.0) * 100.0),
            if row["ok"] == true { "yes" } else { "NO" }.to_owned(),
            number("seconds", 1.0, 2),
            number("goodput", 1e-6, 1),
            number("durable_goodput", 1e-6, 1),
            number("wire_ratio", 1.0, 3),
            number("cpu_s", 1.0, 2),
            number("cpu_s_per_delivered_gb", 1.0, 2),
            format!("{}, {}", number("rss_sender", mib, 0), number("rss_receiver", mib, 0)),
            number("overflows", 1.0, 0),
            number("load", 1.0, 1),
        ];
        format!("| {} |\n", cells.join(" | "))
    });
    head.to_owned() + &lines.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const CONDITION: Condition = Condition { receivers: 2, loss: 0.01, size: 10_000_000 };

    fn sample(seconds: [u64; 2], sent: u64) -> Sample {
        let complete = seconds.map(Duration::from_secs).to_vec();
        let durable = Duration::from_secs(10);
        let mut transfer = Transfer { complete, durable, ..Transfer::default() };
        transfer.crossed.sent = sent;
        transfer.notes.insert("lost".into(), json!(seconds[0]));
        let peaks = Peaks { sender: 5, receiver: 7 };
        Sample { transfer: Ok(transfer), cpu: 4.0, peaks, load: 1.0 }
    }

    #[test]
    fn medians_are_of_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_row_tells_medians_over_rounds_of_the_last_receiver() {
        let mut row = Row::new(Tool::Udpcast, CONDITION);
        row.add(sample([1, 2], 11_000_000));
        row.add(sample([3, 5], 12_000_000));
        row.add(sample([1, 4], 30_000_000));
        let json = row.json();
        assert_eq!(json["ok"], true);
        assert_eq!(json["seconds"], 4.0);
        assert_eq!(json["goodput"], 2_500_000.0);
        assert_eq!(json["durable_goodput"], 1_000_000.0);
        assert_eq!(json["wire_ratio"], 1.2);
        // 20 MB were delivered for 4 s of processor.
        assert_eq!(json["cpu_s_per_delivered_gb"], 200.0);
        assert_eq!(json["rss_max"], 7);
        assert_eq!(json["notes"]["lost"], 1.0);
    }

    #[test]
    fn one_failure_makes_a_row_wrong_and_does_not_count_in_its_medians() {
        let mut row = Row::new(Tool::Uftp, CONDITION);
        row.add(sample([1, 2], 11_000_000));
        let failed = Sample { transfer: Err("hung".into()), ..sample([9, 9], 1) };
        row.add(failed);
        let json = row.json();
        assert_eq!((&json["ok"], &json["seconds"]), (&json!(false), &json!(2.0)));
        assert_eq!(json["failures"], json!(["hung"]));
        assert!(table(&[row]).contains("| uftp | 2 | 1 % | NO | 2.00 |"));
    }
}
