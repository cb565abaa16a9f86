//! The table of routes: of each its path, its methods, who may use them, how they are described
//! and what answers them, all in one place.
//!
//! The router, the check of rights, the counters of requests and the `OpenAPI` document are made
//! from it, so a route without one of them cannot be written.

mod copies;
mod files;
mod held;
mod network;
mod node;
mod operation;
mod route;
mod schema;
mod trash;
mod uploads;
mod zip;

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::MethodRouter;
use tower::util::MapResponseLayer;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use utoipa::openapi::path::PathsBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Info, OpenApi, OpenApiBuilder, Server};

use super::access::Rules;
use super::app::App;
use crate::web::limited::limit_rate;
use crate::web::rate_limit::RateLimit;

use route::Route;

/// How many bytes an answer has at least that is compressed.
const LEAST_COMPRESSED: u64 = 1024;

/// All routes.
pub(super) struct Table(Vec<Route>);

impl Table {
    pub(super) fn new() -> Self {
        let mut all = Vec::new();
        all.extend(files::all());
        all.extend(zip::all());
        all.extend(trash::all());
        all.extend(copies::all());
        all.extend(uploads::all());
        all.extend(network::all());
        all.extend(held::all());
        all.extend(node::all());
        Self(all)
    }

    /// The path templates, under which requests are counted.
    pub(super) fn templates(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().flat_map(Route::paths)
    }

    /// Who may send which request.
    pub(super) fn rules(&self) -> Rules {
        let of_route = |route: &Route| {
            let rules = route.rules();
            route.paths().map(move |path| (path, rules.clone()))
        };
        Rules::new(self.0.iter().flat_map(of_route))
    }

    /// What answers requests, of which so many a second are taken from one address where there
    /// is a limit.
    pub(super) fn router(&self, rate: Option<NonZeroU32>) -> Router<App> {
        let limit = from_fn_with_state(Arc::new(RateLimit::new(rate)), limit_rate);
        self.0.iter().fold(Router::new(), |router, route| {
            let mut methods = route.methods();
            if route.is_limited() {
                methods = methods.route_layer(limit.clone());
            }
            if route.is_compressed() {
                methods = compressed(methods);
            }
            let paths = route.paths();
            paths.fold(router, |router, path| router.route(path, methods.clone()))
        })
    }

    /// The document, which says where the node is by where it was got itself: so it is right under
    /// whatever path of a site a proxy has it.
    pub(super) fn described(&self) -> OpenApi {
        let mut paths = PathsBuilder::new();
        let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).build();
        let mut components =
            ComponentsBuilder::new().security_scheme("token", SecurityScheme::Http(bearer));
        for (path, item, schemas) in self.0.iter().flat_map(Route::described) {
            paths = paths.path(path, item);
            components = components.schemas_from_iter(schemas);
        }
        let mut info = Info::new("larder", env!("CARGO_PKG_VERSION"));
        info.description = Some(env!("CARGO_PKG_DESCRIPTION").to_owned());
        OpenApiBuilder::new()
            .info(info)
            .servers(Some([Server::new("..")]))
            .paths(paths)
            .components(Some(components.build()))
            .build()
    }
}

/// The status of an answer before it is compressed.
#[derive(Clone)]
struct Answered(StatusCode);

/// Compresses answers that are long enough to be worth it. Who takes none of the codings there are,
/// and not even the answer as it is, gets it as it is (RFC 9110, section 12.5.3, leaves that to the
/// server), as from the routes that compress nothing; tower-http makes a 406 of it, with the answer
/// in it all the same, and of a refusal, too.
fn compressed(methods: MethodRouter<App>) -> MethodRouter<App> {
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(LEAST_COMPRESSED));
    let note = MapResponseLayer::new(|mut response: Response| {
        let answered = Answered(response.status());
        response.extensions_mut().insert(answered);
        response
    });
    let restore = MapResponseLayer::new(|mut response: Response| {
        if let Some(Answered(status)) = response.extensions_mut().remove() {
            *response.status_mut() = status;
        }
        response
    });
    methods
        .route_layer(note)
        .route_layer(compression)
        .route_layer(restore)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::http::Method;
    use serde_json::Value;

    use super::*;
    use crate::access::Rights;
    use crate::http::access::{ANYBODY, WRITERS};

    /// The paths of all operations that fulfil this.
    fn paths(which: impl Fn(&Method, Option<Rights>) -> bool) -> BTreeSet<&'static str> {
        let Table(routes) = Table::new();
        let rules = routes.iter().flat_map(|route| {
            let path = route.paths().next().unwrap();
            route.rules().into_iter().map(move |rule| (path, rule))
        });
        let with = rules.filter(|(_, (method, needs))| which(method, *needs));
        with.map(|(path, _)| path).collect()
    }

    #[test]
    fn only_what_tells_nothing_of_files_is_for_anybody() {
        let open = [
            "/",
            "/api/docs",
            "/api/openapi.json",
            "/health",
            "/page/{*name}",
            "/ready",
        ];
        assert_eq!(paths(|_, needs| needs == ANYBODY), BTreeSet::from(open));
    }

    #[test]
    fn only_what_peers_sign_changes_something_without_the_right_to_write() {
        let signed = [
            "/api/p2p/announce",
            "/api/p2p/announcements",
            "/api/p2p/exchange",
            "/api/peers",
        ];
        let changes = |method: &Method, needs| !method.is_safe() && needs != WRITERS;
        assert_eq!(paths(changes), BTreeSet::from(signed));
    }

    #[test]
    fn whoever_needs_no_right_to_write_is_limited_in_what_it_tells() {
        for route in Table::new().0 {
            let mut rules = route.rules().into_iter();
            let tells = rules.any(|(method, needs)| !method.is_safe() && needs < WRITERS);
            assert!(route.is_limited() || !tells, "{:?}", route.paths().next());
        }
    }

    #[test]
    fn readme_has_every_route() {
        let readme = include_str!("../../../README.md");
        for path in Table::new().described().paths.paths.keys() {
            assert!(readme.contains(&format!("{path}`")), "{path}");
        }
    }

    /// The document as whoever reads it has it.
    fn document() -> Value {
        serde_json::to_value(Table::new().described()).unwrap()
    }

    #[test]
    fn the_document_has_every_method_of_every_route() {
        let document = document();
        for route in Table::new().0 {
            let path = route.paths().next().unwrap().replace("{*", "{");
            let described = document["paths"][&path].as_object().unwrap();
            let described: BTreeSet<_> = described.keys().map(String::as_str).collect();
            let rules = route.rules();
            let methods = rules
                .iter()
                .map(|(method, _)| method.as_str().to_lowercase());
            let mut methods: BTreeSet<_> = methods.collect();
            if methods.contains("get") {
                methods.insert("head".to_owned());
            }
            let methods = methods.iter().map(String::as_str).collect();
            assert_eq!(described, methods, "{path}");
        }
    }

    #[test]
    fn the_document_has_every_code_where_it_may_be_met() {
        let document = document();
        let all = document["components"]["schemas"]["Code"]["enum"].as_array();
        let all: BTreeSet<_> = all.unwrap().iter().filter_map(Value::as_str).collect();
        assert!(all.contains("unknown_file"), "{all:?}");
        let operations = document["paths"].as_object().unwrap().values();
        let operations = operations.flat_map(|it| it.as_object().unwrap().values());
        let answers = operations.flat_map(|it| it["responses"].as_object().unwrap());
        let told = answers.filter(|(status, _)| status.as_str() >= "400");
        let told = told.flat_map(|(_, it)| it["description"].as_str().unwrap().split(", "));
        assert_eq!(told.collect::<BTreeSet<_>>(), all);
    }

    #[test]
    fn no_two_operations_are_called_alike() {
        let document = document();
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for operation in item.as_object().unwrap().values() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name), "{path}: {name}");
            }
        }
    }
}
