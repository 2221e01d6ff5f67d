//! Real processes of the program under test: a server, its receivers, and commands.
//!
//! All talk JSON. Whatever a test starts ends with it: each process by its own
//! id, when its owner is dropped. Every wait has a limit and says what it waited for.

mod places;
mod program;

mod child;
mod terminal;

mod fleet;

pub use child::{Answer, Child, SLOW, signal};
pub use fleet::{Fleet, Receiver};
pub use places::{noise, skip, tree, workspace};
pub use program::program;
pub use terminal::{CTRL_C, Stdout, Terminal};
