//! Deliveries as people see them.

use super::table::Table;
use crate::model::DeliveryState;
use crate::status::DeliveryItem;
use crate::units::{format_size, format_time};

/// Deliveries, as lists show them.
pub(super) fn table(deliveries: &[DeliveryItem]) -> Table {
    let titles = [">ID", "RECEIVER", "RELEASE", "STATE", "?>BYTES", "REASON"];
    let mut table = Table::new(&titles, "nothing is pending");
    for delivery in deliveries {
        let reason = match (delivery.code.as_str(), delivery.reason.as_str()) {
            ("", reason) => reason.to_owned(),
            (code, "") => code.to_owned(),
            (code, reason) => format!("{code}: {reason}"),
        };
        table.row([
            delivery.id.to_string(),
            delivery.receiver.clone(),
            format!("{}#{}", delivery.group, delivery.sequence),
            state(delivery),
            format_size(delivery.bytes),
            reason,
        ]);
    }
    table
}

/// Whether nothing can come of it any more; a state that is unknown here may wait.
fn is_final(state: &str) -> bool {
    DeliveryState::parse(state).is_some_and(DeliveryState::is_final)
}

/// How far a delivery is, and what it waits for.
fn state(delivery: &DeliveryItem) -> String {
    let state = &delivery.state;
    let when = || delivery.at.map_or_else(|| "enough receivers".to_owned(), format_time);
    match delivery.waits.as_str() {
        _ if is_final(state) => state.clone(),
        "" => state.clone(),
        "send" => format!("{state}, until sent"),
        "resume" => format!("{state}, paused"),
        "activation" => format!("{state}, for {}", when()),
        "staged" => format!("staged, for {}", when()),
        other => format!("{state}, for {other}"),
    }
}
