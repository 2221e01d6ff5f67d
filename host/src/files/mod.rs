//! What a person sends, as it lies on disk: [`walk`] lists it in the order of the tree,
//! [`Entry::open`] reads it, and both refuse what would not arrive as it is here.
//!
//! No symbolic link is ever followed below a path that the person named: every
//! access is relative to a held directory descriptor, component by component.

mod entry;
mod error;
mod name;
mod walk;

pub use entry::{Entry, Kind, Reader};
pub use error::FileError;
pub use name::{NameFault, check as check_name, check_given, folded, unsafe_name};
pub use walk::{Walk, walk};
