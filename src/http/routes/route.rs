//! A path, and all that stands for it.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::MethodRouter;
use utoipa::openapi::path::PathItem;

use super::operation::{Named, Operation};
use crate::access::Rights;
use crate::http::app::App;
use crate::web::code::Code;

/// A path, and the operations on it.
pub(super) struct Route {
    path: &'static str,
    /// The same, as some spell it.
    other_spelling: Option<&'static str>,
    /// What the document has it under.
    tag: &'static str,
    operations: Vec<Operation>,
    /// Answers methods that none of them takes.
    otherwise: MethodRouter<App>,
    is_limited: bool,
    is_compressed: bool,
}

impl Route {
    /// A path template, under which requests are counted.
    pub(super) fn at(path: &'static str, tag: &'static str) -> Self {
        Self {
            path,
            other_spelling: None,
            tag,
            operations: Vec::new(),
            otherwise: MethodRouter::new(),
            is_limited: false,
            is_compressed: false,
        }
    }

    /// What else can be done here.
    pub(super) fn on(mut self, operation: Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// Another path that means the same, and is counted by itself.
    pub(super) fn also_at(mut self, path: &'static str) -> Self {
        self.other_spelling = Some(path);
        self
    }

    /// What answers methods that are not taken here.
    pub(super) fn otherwise<T: 'static>(mut self, handler: impl Handler<T, App>) -> Self {
        self.otherwise = self.otherwise.fallback(handler);
        self
    }

    /// So many requests a second are taken from one address, and no more: whoever sends them
    /// needs no token.
    pub(super) fn limited(mut self) -> Self {
        self.is_limited = true;
        self
    }

    /// Answers are compressed for clients that take that: they are texts of this node's own, and
    /// nobody asks for ranges of them.
    pub(super) fn compressed(mut self) -> Self {
        self.is_compressed = true;
        self
    }

    /// The path templates.
    pub(super) fn paths(&self) -> impl Iterator<Item = &'static str> + use<> {
        [self.path].into_iter().chain(self.other_spelling)
    }

    /// Whether there is a limit to how many requests are taken from one address.
    pub(super) fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// Whether answers are compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// The methods that it takes, with the rights that each needs.
    pub(super) fn rules(&self) -> Vec<(Method, Option<Rights>)> {
        self.operations.iter().map(Operation::rule).collect()
    }

    /// What answers requests.
    pub(super) fn methods(&self) -> MethodRouter<App> {
        let operations = self.operations.iter().map(Operation::methods);
        operations.fold(self.otherwise.clone(), MethodRouter::merge)
    }

    /// What the document has of it, with the schemas that this refers to.
    pub(super) fn described(&self) -> impl Iterator<Item = (String, PathItem, Vec<Named>)> {
        let always: &[Code] = if self.is_limited {
            &[Code::TooManyRequests]
        } else {
            &[]
        };
        // HEAD is answered by what answers GET, where nothing else does.
        let has_head = self.rules().iter().any(|(it, _)| it == Method::HEAD);
        let described = self.operations.iter().flat_map(move |it| {
            let head = it.described_head(self.tag, always).filter(|_| !has_head);
            [it.described(self.tag, always)].into_iter().chain(head)
        });
        described.map(|(method, operation, schemas)| {
            // A segment with slashes in it is written like any other there.
            let path = self.path.replace("{*", "{");
            (path, PathItem::new(method, operation), schemas)
        })
    }
}
