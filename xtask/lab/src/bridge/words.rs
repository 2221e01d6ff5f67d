//! What is said to a bridge besides orders, and what it answers.

/// Longest order and longest answer.
pub(super) const LONGEST: usize = 4_096;
/// Ends it; is not answered.
pub(super) const STOP: &str = "stop";
/// Is answered, and changes nothing.
pub(super) const HERE: &str = "here?";
/// The answer to what was obeyed; all else is an error.
pub(super) const DONE: &str = "done";
