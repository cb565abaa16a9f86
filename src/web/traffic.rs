//! Requests, counted by the route that they matched.

use std::array;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};

use crate::metrics::page::MetricsPage;
use crate::metrics::{Counter, Gauge, Histogram};

/// The methods that are told apart; all others are `other`.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "DELETE", "PATCH", "OPTIONS", "PUT", "other",
];
/// What answers are counted as: by the first digit of their status, and those that were never
/// given, since the client went away.
const OUTCOMES: [&str; 6] = ["cut", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// What requests are counted under that no route takes. Their paths are anybody's.
const NO_ROUTE: &str = "none";

/// The counters of all routes, made before the first request.
pub(crate) struct Traffic {
    /// The last one is for whatever matches none.
    routes: Vec<RouteCounters>,
}

struct RouteCounters {
    template: String,
    in_progress: Gauge,
    methods: [OfMethod; METHODS.len()],
}

#[derive(Default)]
struct OfMethod {
    outcomes: [Counter; OUTCOMES.len()],
    /// Until the head of the answer.
    seconds: Histogram,
}

/// A request that is being answered.
pub(crate) struct Counting {
    traffic: Arc<Traffic>,
    route: usize,
    method: usize,
    began: Instant,
    /// The place among [`OUTCOMES`].
    outcome: usize,
}

impl Traffic {
    /// Counters for routes with these path templates.
    pub(crate) fn new(templates: impl IntoIterator<Item = String>) -> Self {
        let templates = templates.into_iter().chain([NO_ROUTE.to_owned()]);
        let route = |template| RouteCounters {
            template,
            in_progress: Gauge::default(),
            methods: array::from_fn(|_| OfMethod::default()),
        };
        Self {
            routes: templates.map(route).collect(),
        }
    }

    /// Counts a request from here on.
    pub(crate) fn begin(self: &Arc<Self>, request: &Request) -> Counting {
        let last = self.routes.len() - 1;
        let route = request.extensions().get::<MatchedPath>().and_then(|path| {
            let mut templates = self.routes.iter().map(|it| it.template.as_str());
            templates.position(|it| it == path.as_str())
        });
        let route = route.unwrap_or(last);
        if let Some(route) = self.routes.get(route) {
            route.in_progress.begin();
        }
        Counting {
            traffic: Arc::clone(self),
            route,
            method: place_of(request.method()),
            began: Instant::now(),
            outcome: 0,
        }
    }

    /// Writes down what was counted; of what never happened nothing.
    pub(crate) fn write(&self, page: &mut MetricsPage) {
        self.write_requests(page);
        let mut seconds = page.histograms(
            "larder_http_request_seconds",
            "Time from the head of a request to the head of its answer, by path template.",
        );
        for (route, method, counters) in self.used() {
            let labels = [("route", route), ("method", method)];
            seconds.durations(&labels, &counters.seconds);
        }
        let mut in_progress = page.gauges(
            "larder_http_requests_in_progress",
            "Requests whose answers have not begun.",
        );
        for route in &self.routes {
            in_progress.value(&[("route", &route.template)], route.in_progress.get());
        }
    }

    fn write_requests(&self, page: &mut MetricsPage) {
        let mut requests = page.counters(
            "larder_http_requests_total",
            "Requests by path template, method and class of the answer's status.",
        );
        for (route, method, counters) in self.used() {
            for (outcome, counter) in OUTCOMES.iter().zip(&counters.outcomes) {
                let labels = [("route", route), ("method", method), ("status", outcome)];
                if counter.get() > 0 {
                    requests.value(&labels, counter.get());
                }
            }
        }
    }

    /// Route, method and counters of whatever was asked at all.
    fn used(&self) -> impl Iterator<Item = (&str, &'static str, &OfMethod)> {
        self.routes.iter().flat_map(|route| {
            let methods = METHODS.iter().zip(&route.methods);
            let used = methods.filter(|(_, it)| it.outcomes.iter().any(|it| it.get() > 0));
            used.map(|(method, counters)| (route.template.as_str(), *method, counters))
        })
    }
}

fn place_of(method: &Method) -> usize {
    let place = METHODS.iter().position(|it| *it == method.as_str());
    place.unwrap_or(METHODS.len() - 1)
}

impl Counting {
    /// The request is answered with this status.
    pub(crate) fn answered(mut self, status: StatusCode) {
        self.outcome = usize::from(status.as_u16() / 100);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let Some(route) = self.traffic.routes.get(self.route) else {
            return;
        };
        route.in_progress.end();
        let Some(counters) = route.methods.get(self.method) else {
            return;
        };
        if let Some(counter) = counters.outcomes.get(self.outcome) {
            counter.count();
        }
        counters.seconds.observe(self.began.elapsed());
    }
}
