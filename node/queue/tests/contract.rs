//! What every store is held to: one suite of sentences, a plain model as the reference, random operations on a store beside the model, and
//! crashes. A test target names its stores and runs the trials of [`sentences`], [`property`] and [`crash`].

pub(crate) mod compare;
pub(crate) mod crash;
pub(crate) mod model;
pub(crate) mod operation;
pub(crate) mod property;
pub(crate) mod sentences;
pub(crate) mod world;
