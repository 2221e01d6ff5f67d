//! Which of a group's releases may follow which.

use crate::digest::Digest;
use crate::ids::ReleaseOrder;

/// How a release relates to the highest accepted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// The first of its group, or newer.
    Newer,
    /// The same once more: a retry after a crash.
    Same,
}

/// Why a release may not follow the highest accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfOrder {
    /// It is older: a rollback, by whoever sent it.
    Older {
        /// The order that it would have to exceed.
        highest: ReleaseOrder,
    },
    /// Another release was accepted under this order: the signers signed two.
    Fork {
        /// The digest accepted under this order.
        accepted: Digest,
    },
}

/// Compares a release's order and digest with the highest accepted.
///
/// # Errors
/// [`OutOfOrder`] when it is neither newer nor the same.
pub fn succession(
    highest: Option<(ReleaseOrder, Digest)>,
    order: ReleaseOrder,
    digest: Digest,
) -> Result<Succession, OutOfOrder> {
    // PROTOCOL T3: greater, or equal with an equal digest.
    match highest {
        None => Ok(Succession::Newer),
        Some((highest, _)) if order > highest => Ok(Succession::Newer),
        Some((highest, _)) if order < highest => Err(OutOfOrder::Older { highest }),
        Some((_, accepted)) if accepted != digest => Err(OutOfOrder::Fork { accepted }),
        Some(_) => Ok(Succession::Same),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greater_orders_and_exact_repetitions_are_accepted_only() {
        // PROTOCOL T3
        let order = |reset_epoch, sequence| ReleaseOrder { reset_epoch, sequence };
        let (a, b) = (Digest([1; 32]), Digest([2; 32]));
        let highest = order(1, 5);
        for (next, digest, expected) in [
            (order(1, 6), b, Ok(Succession::Newer)),
            (order(2, 0), b, Ok(Succession::Newer)),
            (order(1, 5), a, Ok(Succession::Same)),
            (order(1, 5), b, Err(OutOfOrder::Fork { accepted: a })),
            (order(1, 4), a, Err(OutOfOrder::Older { highest })),
            (order(0, 9), b, Err(OutOfOrder::Older { highest })),
        ] {
            assert_eq!(succession(Some((highest, a)), next, digest), expected);
        }
        assert_eq!(succession(None, order(0, 0), a), Ok(Succession::Newer));
    }
}
