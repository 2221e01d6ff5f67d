//! The memory of a receiving session: none of it is its own.

/// What the owner lends to a receiving session.
pub struct Buffers<S, B, W> {
    /// Places for blocks that are received at a time.
    pub slots: S,
    /// The bytes of these blocks: slots × sources × symbol.
    pub blocks: B,
    /// Places for segments, at least one: SEGMENT_WINDOW on hosts.
    pub segments: W,
    /// The headers of these segments: segments × [`longest_header`].
    pub headers: B,
    /// Digests of strict mode: slots × `DIGESTS_OF_SLOT`, or empty where they cannot be
    /// kept. Such a receiver leaves a session in strict mode and gets the rest by catch-up.
    pub digests: B,
    /// The report to the server: as long as the longest message, MAX_MESSAGE on hosts.
    pub report: B,
}
