//! The list, run by one thread, against a plain model and against the rules of its shape.
//!
//! [`model`], [`names`] and [`play`] ask through the public interface only: the fuzz targets use
//! them as well. [`shape`] looks at the nodes.

mod boards;
mod diff;
mod drafts;
mod history;
mod large;
mod lists;
mod model;
mod names;
mod outline;
mod play;
mod shape;

use crate as ranklist;
