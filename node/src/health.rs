//! `/metrics`, `/livez`, `/readyz` on the metrics address.

use std::{net::TcpListener as StdListener, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;

use crate::{node::Node, readiness::Readiness};

/// How long a scrape waits for the store before it shows the node's own metrics alone.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Shared {
    node: Arc<Node>,
    readiness: Arc<Readiness>,
}

/// Serves until `stop`.
pub async fn serve(
    socket: StdListener,
    node: Arc<Node>,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket)?;
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" })) // the event loop answers: that is all it says
        .route("/readyz", get(readyz))
        .with_state(Shared { node, readiness });
    axum::serve(socket, routes).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

async fn metrics(State(Shared { node, readiness: _ }): State<Shared>) -> impl IntoResponse {
    let store = time::timeout(STORE_PATIENCE, async {
        Ok::<_, posthouse_queue::StoreError>((node.store.accounting().await?, node.store.counts(None).await?))
    });
    let counted = store.await.ok().and_then(Result::ok);
    node.metrics.store_writable.set(i64::from(node.presence.is_writable()));
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], node.metrics.expose(counted))
}

async fn readyz(State(Shared { node, readiness }): State<Shared>) -> (StatusCode, String) {
    match readiness.why_not(&node) {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}
