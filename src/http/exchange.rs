//! `POST /api/p2p/exchange`: a peer compares whom it knows with this node.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::files::prover;
use crate::node::Node;
use crate::peer::exchange::{MAX_QUESTION, MAX_TOLD_BYTES, Question};
use crate::peer::prefix::narrow_of;
use crate::peer::registry::Introducer;
use crate::room::Room;
use crate::web::body::RequestBody;
use crate::web::clients::ClientAddress;
use crate::web::error::ApiError;
use crate::web::json::{self, Key, Others};
use crate::web::list;

/// The keys of a question.
const KEYS: &[Key] = &[
    Key::text("peer_id"),
    Key::text("salt"),
    Key::text("root"),
    Key::object("holdings").or_null(),
    Key::number("buckets").or_null(),
    Key::list("differing").or_absent(),
    Key::text("there").or_absent(),
    Key::text("untried").or_absent(),
    Key::list("peers").or_absent(),
    Key::text("silent").or_absent(),
];

/// Tells what differs; with a proof, if one is asked for.
pub(super) async fn exchange(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Response, ApiError> {
    let from = request.extensions().get::<ClientAddress>();
    // What is in the same process has no address.
    let near = from.is_none_or(|it| it.ip.is_loopback());
    // Whoever tells of others is an introducer, and not the peer that it says to be.
    let by = from.map_or(Introducer::Itself(None), |it| {
        Introducer::Other(narrow_of(it.ip))
    });
    let prover = prover(request.uri(), request.headers());
    let body = RequestBody::of_json(request, MAX_QUESTION as u64)?
        .read_all()
        .await?;
    let question: Question =
        json::read(&body, KEYS, Others::Allowed).map_err(ApiError::Exchange)?;
    let room = Room::take(MAX_TOLD_BYTES as u64);
    let answer = node.network().compare(question, by, near);
    let answer = answer.map_err(|error| ApiError::Exchange(error.to_string()))?;
    let mut text = serde_json::to_vec(&answer).unwrap_or_default();
    if let Some(mut prover) = prover {
        text.pop();
        prover.push(&text);
        text.extend_from_slice(node.network().prove(prover).as_bytes());
    }
    Ok(list::written(room, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::holdings::{Holdings, Version};
    use crate::peer::identity::Identity;
    use crate::peer::registration::samples;
    use crate::web::json::assert_all;

    #[test]
    fn a_question_has_the_keys_that_people_are_told_of() {
        let identity = Identity::generate().unwrap();
        let told = samples::signed_by(&identity, "http://10.0.0.1");
        let number = "0123456789abcdef".to_owned();
        let question = Question {
            peer_id: told.peer_id.clone(),
            salt: number.clone(),
            root: number.clone(),
            holdings: Some(Holdings::of(&identity, Version::default())),
            buckets: Some(1),
            differing: vec![0],
            there: number.clone(),
            untried: number.clone(),
            peers: vec![told],
            silent: number,
        };
        assert_all(KEYS, &question);
    }
}
