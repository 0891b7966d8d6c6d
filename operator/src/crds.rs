//! `crds`: the custom resource definitions, as they are applied to a cluster. It writes standard output.

use std::io::{self, Write as _};

use posthouse_crds::{Kind, definition};

use crate::{Ending, failure::Failure};

/// Prints every definition as one stream of YAML documents.
pub(crate) fn run() -> Result<Ending, Failure> {
    let mut output = io::stdout().lock();
    for kind in Kind::ALL {
        output.write_all(definition::yaml(kind).as_bytes()).map_err(Failure::Output)?;
    }
    Ok(Ending::Good)
}
