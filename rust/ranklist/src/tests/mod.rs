//! Tests of the list against a plain model, and of its nodes against the rules of their shape.

mod history;
mod large;
mod list;
mod model;
mod shape;
mod shared;
mod tables;
