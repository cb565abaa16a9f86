//! `/api/p2p/revocations`: what a member of a network knows of those who are members no longer.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::node::Node;
use crate::peer::membership::Revocation;
use crate::web::list;

/// The answer of `GET /api/p2p/revocations`.
#[derive(Serialize, ToSchema)]
pub(super) struct RevocationsAnswer {
    status: &'static str,
    /// Each as the network's key has signed it; none where the node is a member of no network.
    revocations: Vec<String>,
}

/// `GET /api/p2p/revocations`
pub(super) async fn revocations(State(node): State<Arc<Node>>) -> Response {
    let around = |_| RevocationsAnswer {
        status: "success",
        revocations: Vec::new(),
    };
    let mut after = None;
    let some = move |limit| {
        let members = node.network().client.reach().members.as_ref();
        let revoked = members.map(|it| it.revoked().behind(after, limit));
        let revoked = revoked.unwrap_or_default();
        after = revoked.last().map(|it| it.member).or(after);
        revoked
            .iter()
            .map(Revocation::to_string)
            .collect::<Vec<_>>()
    };
    list::answer(list::pieces(around, some)).await
}
