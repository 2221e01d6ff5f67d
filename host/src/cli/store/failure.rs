//! What a store's errors are to a person.

use fleetcast_core::store::StoreError;

use crate::error::Failure;

/// A store's error as it is told to a person.
pub(super) fn failure(error: StoreError) -> Failure {
    let (code, message, hint) = match error {
        StoreError::Blank => {
            ("store-blank", "there is nothing on this card".to_owned(), "let a board format it")
        }
        StoreError::Foreign => {
            let hint = "name an image of a board's card, or of its partition";
            ("store-foreign", "this is no chunk store".to_owned(), hint)
        }
        StoreError::Newer { found } => {
            let message =
                format!("the store has version {found}, which is newer than this program");
            ("store-newer", message, "use the newest fleetcast")
        }
        StoreError::Truncated { needed, found } => {
            let message = format!("the store needs {needed} sectors, the image has {found}");
            ("store-truncated", message, "copy the whole card again")
        }
        StoreError::Lost { object, ordinal } => {
            let message = format!("a chunk is damaged: {object:?} {ordinal}");
            ("store-damaged", message, "the board asks for it again when it scrubs its card")
        }
        other => {
            let hint = "`fleetcast store check IMAGE` tells what is whole";
            ("store-damaged", format!("the store cannot be read: {other:?}"), hint)
        }
    };
    Failure::failed(code, message, hint)
}
