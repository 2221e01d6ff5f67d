//! `openapi`: the description of the server's API, made from the table of its routes.

use super::context::{DONE, Outcome};
use super::printer;
use crate::api::description_document;

/// Prints the document; it is JSON with and without `--json`.
pub(super) fn run() -> Outcome {
    // A value always has a JSON form.
    let text = serde_json::to_string_pretty(description_document()).unwrap_or_default();
    printer::raw(&format!("{text}\n"));
    Ok(DONE)
}
