//! What `cargo xtask bench` is asked for.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::tools::Tool;

/// What to compare.
#[derive(Args)]
pub(crate) struct Options {
    /// New versions of a file that receivers have, instead of new files
    #[arg(value_enum)]
    pub(crate) what: Option<What>,
    /// The other tools
    #[arg(long, value_delimiter = ',', default_value = "uftp,udpcast,rsync")]
    pub(crate) vs: Vec<Tool>,
    /// Only fleetcast
    #[arg(long, conflicts_with = "others_only")]
    pub(crate) alone: bool,
    /// Only the other tools
    #[arg(long)]
    pub(crate) others_only: bool,
    /// The rate of uftp, which has none of its own, in kbit/s
    #[arg(long, value_name = "KBPS", default_value_t = 900_000)]
    pub(crate) uftp_rate: u32,
    /// How many receivers
    #[arg(long, value_delimiter = ',', value_name = "N", default_value = "8")]
    pub(crate) receivers: Vec<usize>,
    /// Loss towards each receiver: 5, 5% and 0.05 are the same
    #[arg(long, value_delimiter = ',', value_name = "P", default_value = "0,1,5",
          value_parser = fleetcast_lab::fault::parse_share)]
    pub(crate) loss: Vec<f64>,
    /// The file's bytes, such as 256MiB
    #[arg(long, value_name = "B", default_value = "256MiB", value_parser = parse_size)]
    pub(crate) size: u64,
    /// How often
    #[arg(long, value_name = "R", default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Where all files are, for a moment [default: target/xtask]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Seconds after which a transfer is given up [default: 60, and 1 for each 2 MB]
    #[arg(long, value_name = "S")]
    pub(crate) limit: Option<u64>,
    /// One JSON document instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// The tools that are compared, ours first.
    pub(crate) fn tools(&self) -> Vec<Tool> {
        let ours = (!self.others_only).then_some(Tool::Fleetcast);
        let others = if self.alone { &[][..] } else { &self.vs };
        ours.into_iter().chain(others.iter().copied()).collect()
    }
}

/// What there is to compare besides new files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// New versions of a file.
    Delta,
}

fn parse_size(text: &str) -> Result<u64, String> {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];
    let parse = || {
        let (unit, factor) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
        text[..text.len() - unit.len()].parse::<u64>().ok()?.checked_mul(*factor)
    };
    parse().filter(|&bytes| bytes > 0).ok_or_else(|| format!("`{text}` is no size such as 256MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit() {
        assert_eq!(parse_size("256MiB"), Ok(268_435_456));
        assert_eq!(parse_size("1000"), Ok(1_000));
        assert!(parse_size("0").is_err() && parse_size("x").is_err() && parse_size("MiB").is_err());
    }
}
