//! Documents signed by admin keys.

use fleetcast_core::crypto::sign::{Context, SigningKey};
use fleetcast_core::limits::MAX_ROOT;
use fleetcast_core::trust::document::{add_signature, assemble, signed_len};
use fleetcast_core::wire::control::encode;
use serde::Serialize;

use crate::error::Failure;

/// Signs a statement.
///
/// # Errors
/// `not-signable` when it is larger than any document may be.
pub(super) fn signed(
    statement: &impl Serialize,
    context: Context,
    key: &SigningKey,
) -> Result<Vec<u8>, Failure> {
    signed_with(statement, context, &[key])
}

/// Signs a statement with several keys.
///
/// # Errors
/// As [`signed`]; also for more keys than a document takes signatures.
pub(super) fn signed_with(
    statement: &impl Serialize,
    context: Context,
    keys: &[&SigningKey],
) -> Result<Vec<u8>, Failure> {
    let mut body = [0; MAX_ROOT];
    let body = encode(statement, &mut body).map_err(unsignable)?;
    signed_by(body, context, keys)
}

/// Signs a body.
///
/// # Errors
/// As [`signed`].
pub(super) fn signed_body(
    body: &[u8],
    context: Context,
    key: &SigningKey,
) -> Result<Vec<u8>, Failure> {
    signed_by(body, context, &[key])
}

/// Signs a body with several keys.
///
/// # Errors
/// As [`signed`]; also for more keys than a document takes signatures.
pub(super) fn signed_by(
    body: &[u8],
    context: Context,
    keys: &[&SigningKey],
) -> Result<Vec<u8>, Failure> {
    let mut document = vec![0; signed_len(body.len(), keys.len())];
    let mut length = assemble(body, &mut document).map_err(unsignable)?;
    for key in keys {
        length = add_signature(&mut document, length, context, key).map_err(unsignable)?;
    }
    document.truncate(length);
    Ok(document)
}

/// What cannot be written as a document.
#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn unsignable(fault: impl std::fmt::Debug) -> Failure {
    let hint = "name fewer groups, or shorter names";
    Failure::failed("not-signable", format!("this cannot be signed: {fault:?}"), hint)
}
