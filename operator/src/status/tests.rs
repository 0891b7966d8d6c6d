//! What is said of resources, from manifests to files and tables.

mod figures;
mod judging;
mod keeping;
mod printing;
mod scene;
