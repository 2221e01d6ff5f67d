//! The cap of all that is sent, by hour of the day.

use axum::Json;
use axum::extract::State;

use super::answer::Answer;
use super::caller::Actor;
use super::model::NewSchedule;
use super::state::Api;
use crate::error::Failure;
use crate::localtime::Zone;
use crate::schedule::Schedule;
use crate::status::{Item, RateItem};
use crate::units::quoted;

pub(super) async fn show(State(api): State<Api>) -> Answer<Item<RateItem>> {
    let item = api.run(|node, _| Ok(node.rate_item())).await?;
    Ok(Json(Item::new("rate", item)))
}

/// Sets windows in hours of a zone that the server knows; none takes back what was set.
pub(super) async fn set(
    State(api): State<Api>,
    actor: Actor,
    Json(new): Json<NewSchedule>,
) -> Answer<Item<RateItem>> {
    let item = api.run(move |node, _| {
        let schedule = Schedule::parse(&new.windows).map_err(|fault| {
            let hint = "fleetcast rate set 'mon-fri 08:00-18:00=50Mbit/s'";
            Failure::failed("schedule-malformed", fault.to_string(), hint)
        })?;
        let zone = Zone::named(&new.zone).ok_or_else(|| {
            let message = format!("the server knows no time zone {}", quoted(&new.zone));
            let hint = "name one such as Europe/Berlin, UTC, or local for the server's own";
            Failure::failed("zone-unknown", message, hint)
        })?;
        let none = schedule.windows().is_empty();
        node.set_schedule(&actor, (!none).then_some((schedule, new.zone.as_str(), zone)));
        Ok(node.rate_item())
    });
    Ok(Json(Item::new("rate", item.await?)))
}
