//! A proxy before a store, which does to requests what networks and stores do.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::request::Parts;
use axum::http::{Method, Request, Response, Uri};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::common::http_client::http_client;
use crate::s3_store::Endpoint;

type Failure = Box<dyn Error + Send + Sync>;
type Answer = Response<BoxBody<Bytes, Failure>>;
/// Which requests a fault befalls.
pub(crate) type Which = fn(&Method, &Uri) -> bool;

/// Whichever they are.
pub(crate) fn is_any(_: &Method, _: &Uri) -> bool {
    true
}

/// What befalls a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is answered so, and never reaches the store.
    Answer(u16, &'static str),
    /// It is answered as done, and never reaches the store.
    Lose,
    /// Nothing ever comes.
    Hang,
    /// The store does it, and its answer is lost.
    Swallow,
    /// The answer ends in the middle of its body.
    Cut,
    /// One byte of the answer's body is another.
    Flip,
    /// The answer claims to be of so many bytes, and goes on and on.
    Endless(u64),
    /// It reaches the store when nobody waits for it any more: at [`Faults::let_go`].
    Late,
    /// The same, and it is waited for.
    Slow,
    /// The same, but that its answer is from before.
    Held,
}

/// A proxy, until it is dropped.
pub(crate) struct Faults {
    /// The store by way of it.
    pub(crate) endpoint: Endpoint,
    state: Arc<State>,
}

struct State {
    to: SocketAddr,
    client: reqwest::Client,
    rule: Mutex<Option<Rule>>,
    go: Notify,
    gone: Mutex<usize>,
    conditions: AtomicUsize,
}

struct Rule {
    which: Which,
    fault: Fault,
    /// How many more requests it befalls.
    left: usize,
    befallen: usize,
}

impl Faults {
    /// A proxy that carries everything on.
    pub(crate) async fn before(store: &Endpoint) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            to: store.address(),
            client: http_client(),
            rule: Mutex::default(),
            go: Notify::new(),
            gone: Mutex::default(),
            conditions: AtomicUsize::default(),
        });
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    let service = service_fn(|request| state.answer(request));
                    let connection = TokioIo::new(connection);
                    let served = http1::Builder::new().serve_connection(connection, service);
                    // What is cut ends so.
                    let _ = served.await;
                });
            }
        });
        Self {
            endpoint: store.by_way_of(format!("http://{address}")),
            state,
        }
    }

    /// Has this befall the next `times` such requests.
    pub(crate) fn befall(&self, times: usize, which: Which, fault: Fault) {
        *self.state.rule.lock().unwrap() = Some(Rule {
            which,
            fault,
            left: times,
            befallen: 0,
        });
    }

    /// Nothing befalls any request from now on; tells how many it has befallen.
    pub(crate) fn heal(&self) -> usize {
        let rule = self.state.rule.lock().unwrap().take();
        rule.map_or(0, |rule| rule.befallen)
    }

    /// How many requests it has befallen so far.
    pub(crate) fn befallen(&self) -> usize {
        let rule = self.state.rule.lock().unwrap();
        rule.as_ref().map_or(0, |rule| rule.befallen)
    }

    /// How many requests were to be refused where an object is there already, or is another one:
    /// there are stores that do all the same what is asked.
    pub(crate) fn conditions(&self) -> usize {
        self.state.conditions.load(Ordering::Relaxed)
    }

    /// Carries on what is late.
    pub(crate) fn release(&self) {
        self.state.go.notify_waiters();
    }

    /// The same, and waits until the store has answered `requests` of them.
    pub(crate) async fn let_go(&self, requests: usize) {
        self.release();
        while *self.state.gone.lock().unwrap() < requests {
            tokio::task::yield_now().await;
        }
    }
}

impl State {
    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Result<Answer, Failure> {
        let (head, body) = request.into_parts();
        let conditions = [
            "if-match",
            "if-none-match",
            "x-amz-copy-source-if-none-match",
        ];
        if conditions.iter().any(|it| head.headers.contains_key(*it)) {
            self.conditions.fetch_add(1, Ordering::Relaxed);
        }
        let body = body.collect().await?.to_bytes();
        let Some(fault) = self.fault(&head.method, &head.uri) else {
            return Ok(whole(self.ask(head, body).await?));
        };
        match fault {
            Fault::Answer(status, text) => {
                let body = Full::from(text).map_err(|never: Infallible| match never {});
                let answer = Response::builder().status(status);
                Ok(answer.body(BoxBody::new(body))?)
            }
            Fault::Lose => {
                let answer = Response::builder().header("etag", "\"lost\"");
                Ok(whole(answer.body(Bytes::new())?))
            }
            Fault::Hang => std::future::pending().await,
            Fault::Swallow => {
                self.ask(head, body).await?;
                Err("the answer is lost".into())
            }
            Fault::Cut => {
                let answer = self.ask(head, body).await?;
                Ok(cut(answer))
            }
            Fault::Flip => {
                let answer = self.ask(head, body).await?;
                Ok(whole(answer.map(|bytes| {
                    let mut bytes = bytes.to_vec();
                    let middle = bytes.len() / 2;
                    if let Some(byte) = bytes.get_mut(middle) {
                        *byte ^= 1;
                    }
                    bytes.into()
                })))
            }
            Fault::Endless(claimed) => {
                let answer = self.ask(head, body).await?;
                Ok(endless(answer, claimed))
            }
            Fault::Late => {
                let state = Arc::clone(self);
                tokio::spawn(async move {
                    state.go.notified().await;
                    state.ask(head, body).await.unwrap();
                    *state.gone.lock().unwrap() += 1;
                });
                std::future::pending().await
            }
            Fault::Slow => {
                self.go.notified().await;
                self.ask_late(head, body).await
            }
            Fault::Held => {
                let answer = self.ask_late(head, body).await;
                self.go.notified().await;
                answer
            }
        }
    }

    async fn ask_late(&self, head: Parts, body: Bytes) -> Result<Answer, Failure> {
        let answer = self.ask(head, body).await?;
        *self.gone.lock().unwrap() += 1;
        Ok(whole(answer))
    }

    fn fault(&self, method: &Method, uri: &Uri) -> Option<Fault> {
        let mut rule = self.rule.lock().unwrap();
        let rule = rule.as_mut()?;
        if rule.left == 0 || !(rule.which)(method, uri) {
            return None;
        }
        rule.left -= 1;
        rule.befallen += 1;
        Some(rule.fault)
    }

    /// The store's answer. What was signed, the host too, goes there as it came.
    async fn ask(&self, head: Parts, body: Bytes) -> Result<Response<Bytes>, Failure> {
        let url = format!("http://{}{}", self.to, head.uri);
        let request = self.client.request(head.method, url);
        let answer = request.headers(head.headers).body(body).send().await?;
        let mut mapped = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            mapped = mapped.header(name, value);
        }
        Ok(mapped.body(answer.bytes().await?)?)
    }
}

fn cut(answer: Response<Bytes>) -> Answer {
    answer.map(|bytes| {
        let half = bytes.slice(..bytes.len() / 2);
        let frames = [Ok(Frame::data(half)), Err("cut".into())];
        BoxBody::new(StreamBody::new(stream::iter(frames)))
    })
}

/// An answer that claims to be of so many bytes, and goes on and on.
fn endless(mut answer: Response<Bytes>, claimed: u64) -> Answer {
    let headers = answer.headers_mut();
    headers.insert("content-length", claimed.into());
    let piece = Bytes::from(vec![0; 64 << 10]);
    let pieces = stream::repeat(piece).map(|it| Ok(Frame::data(it)));
    answer.map(|_| BoxBody::new(StreamBody::new(pieces)))
}

fn whole(answer: Response<Bytes>) -> Answer {
    answer.map(|bytes| BoxBody::new(Full::new(bytes).map_err(|never| match never {})))
}
