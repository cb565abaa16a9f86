//! Uploads in parts, of which any may be cut off, and which any client goes on with later.

use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Method, RequestBuilder, Response};

use crate::client::Client;
use crate::common::tus::TUS;
use crate::model::Begun;
use crate::world::World;

impl Client {
    /// Begins an upload, or goes on with one that somebody has begun, for a few parts.
    pub(crate) async fn upload_in_parts(&mut self, node: usize) -> Option<()> {
        let waiting = self.world.files[node].lock().begun.pop();
        let mut begun = match waiting {
            Some(begun) if self.random.below(2) == 0 => begun,
            waiting => {
                self.world.files[node].lock().begun.extend(waiting);
                self.begin(node).await?
            }
        };
        for _ in 0..3 {
            match self.send_part(node, &mut begun).await {
                Some(true) => return Some(()),
                Some(false) => {}
                None => break,
            }
        }
        self.world.files[node].lock().begun.push(begun);
        Some(())
    }

    async fn begin(&mut self, node: usize) -> Option<Begun> {
        self.world.url(node, TUS)?;
        let (name, content) = self.asks(node, "parts", true);
        let metadata = format!("filename {}", BASE64_STANDARD.encode(&name));
        let create = self.world.tus(node, Method::POST, TUS)?;
        let create = create.header("Upload-Length", content.size);
        let create = create.header("Upload-Metadata", metadata);
        let created = self.world.ask(create).await?;
        let path = header(&created, "location")?;
        let path = format!("{TUS}/{}", path.rsplit('/').next().unwrap());
        self.world.count("uploads in parts begun");
        let told = 0;
        Some(Begun {
            path,
            name,
            content,
            told,
        })
    }

    /// Sends a part of what is missing, perhaps not to its end. Whether the upload is over; None
    /// where there is no answer.
    async fn send_part(&mut self, node: usize, begun: &mut Begun) -> Option<bool> {
        let Some(offset) = self.world.look(node, begun).await? else {
            return Some(true);
        };
        let rest = begun.content.size - offset;
        let end = match self.random.below(3) {
            0 => begun.content.size,
            _ => offset + self.random.below(rest + 1),
        };
        let is_cut = self.random.below(4) == 0;
        self.world.send(node, begun, offset, end, is_cut).await
    }
}

impl World {
    /// A request of tus; None while the node is off.
    pub(crate) fn tus(&self, node: usize, method: Method, path: &str) -> Option<RequestBuilder> {
        let request = self.http.request(method, self.url(node, path)?);
        Some(request.header("Tus-Resumable", "1.0.0"))
    }

    /// How far an upload is: Some(None) once it is over. Nothing that was acknowledged may be lost.
    pub(crate) async fn look(&self, node: usize, begun: &Begun) -> Option<Option<u64>> {
        let look = self.ask(self.tus(node, Method::HEAD, &begun.path)?).await?;
        if matches!(look.status().as_u16(), 404 | 410) {
            assert!(self.has_flips(node), "an upload is lost: {begun:?}");
            return Some(None);
        }
        if !look.status().is_success() {
            return None;
        }
        if self.ended(node, begun, &look) {
            return Some(None);
        }
        let offset: u64 = header(&look, "upload-offset").unwrap().parse().unwrap();
        let is_kept = offset >= begun.told || self.has_flips(node);
        assert!(is_kept, "{offset} bytes are left of {begun:?}");
        assert!(offset <= begun.content.size, "{offset} of {begun:?}");
        Some(Some(offset))
    }

    /// Sends bytes `offset` to `end`, or the first half of them. Whether the upload is over.
    pub(crate) async fn send(
        &self,
        node: usize,
        begun: &mut Begun,
        offset: u64,
        end: u64,
        is_cut: bool,
    ) -> Option<bool> {
        let [from, to] = [offset, end].map(|it| usize::try_from(it).unwrap());
        let part = Bytes::from(begun.content.bytes()).slice(from..to);
        let patch = self.tus(node, Method::PATCH, &begun.path)?;
        let patch = patch.header("Upload-Offset", offset);
        let patch = patch.header("Content-Type", "application/offset+octet-stream");
        let body = if is_cut {
            let pieces = [
                Ok(part.slice(..part.len() / 2)),
                Err(io::Error::other("cut")),
            ];
            Body::wrap_stream(stream::iter(pieces))
        } else {
            Body::from(part)
        };
        let answer = self.ask(patch.body(body)).await?;
        if !answer.status().is_success() {
            return None;
        }
        self.count("parts acknowledged");
        begun.told = header(&answer, "upload-offset")?.parse().unwrap();
        assert_eq!(begun.told, end, "{begun:?}");
        Some(self.ended(node, begun, &answer))
    }

    /// Notes the file that has come of an upload, if one has.
    fn ended(&self, node: usize, begun: &Begun, answer: &Response) -> bool {
        let Some(id) = header(answer, "larder-file-id") else {
            return false;
        };
        let hash = header(answer, "larder-file-hash").unwrap();
        assert_eq!(hash, begun.content.hash.to_string(), "{begun:?}");
        self.files[node].lock().came(&begun.name, &id);
        self.count("uploads in parts acknowledged");
        true
    }
}

fn header(answer: &Response, name: &str) -> Option<String> {
    let value = answer.headers().get(name)?;
    Some(value.to_str().unwrap().to_owned())
}
