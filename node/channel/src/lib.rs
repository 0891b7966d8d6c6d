//! How a snapshot travels from the operator to the nodes and what they answer.
