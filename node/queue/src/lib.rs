//! The durable queue: the Store contract, over Redis and embedded.
