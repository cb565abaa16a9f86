//! One method of one path: who may use it, what answers it, and how it is described.

use std::collections::BTreeMap;

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde_json::{Value, json};
use utoipa::openapi::path::{self, HttpMethod, OperationBuilder, Parameter, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{AllOf, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, Ref, RefOr, Required, SecurityRequirement};
use utoipa::{IntoParams, ToSchema};

use crate::access::Rights;
use crate::http::app::App;
use crate::web::code::Code;
use crate::web::error_body::ErrorBody;

/// A schema with its name.
pub(super) type Named = (String, RefOr<Schema>);
/// A method as the document has it, and the schemas that its description refers to.
pub(super) type Described = (HttpMethod, path::Operation, Vec<Named>);

/// One method of one path.
pub(super) struct Operation {
    method: HttpMethod,
    needs: Option<Rights>,
    methods: MethodRouter<App>,
    described: path::Operation,
    /// With their statuses.
    codes: Vec<(u16, Code)>,
    schemas: Vec<Named>,
}

/// The refusals that every request may meet.
const ALWAYS: [Code; 12] = [
    Code::BadRequest,
    Code::HeadTooLarge,
    Code::HttpsOnly,
    Code::TransferCoded,
    Code::TooManyConnections,
    Code::OriginNotAllowed,
    Code::HostNotAllowed,
    Code::ShuttingDown,
    Code::Shortage,
    Code::Unavailable,
    Code::Unreadable,
    Code::Internal,
];
/// The refusals of whatever changes what is stored.
pub(super) const OF_CHANGES: [Code; 4] = [
    Code::DiskFull,
    Code::FileSizeLimit,
    Code::ReadOnly,
    Code::WriteFailed,
];

/// An operation that reads; HEAD answers the same without a body.
pub(super) fn get<T: 'static>(
    needs: Option<Rights>,
    id: &str,
    summary: &str,
    handler: impl Handler<T, App>,
) -> Operation {
    Operation::new(HttpMethod::Get, needs, id, summary, handler)
}

/// An operation that begins or makes something.
pub(super) fn post<T: 'static>(
    needs: Option<Rights>,
    id: &str,
    summary: &str,
    handler: impl Handler<T, App>,
) -> Operation {
    Operation::new(HttpMethod::Post, needs, id, summary, handler)
}

/// An operation that removes.
pub(super) fn delete<T: 'static>(
    needs: Option<Rights>,
    id: &str,
    summary: &str,
    handler: impl Handler<T, App>,
) -> Operation {
    Operation::new(HttpMethod::Delete, needs, id, summary, handler)
}

impl Operation {
    /// What is done by `method`, for those who have the rights that it `needs`; its name and
    /// what it does, in a few words; and what answers.
    pub(super) fn new<T: 'static>(
        method: HttpMethod,
        needs: Option<Rights>,
        id: &str,
        summary: &str,
        handler: impl Handler<T, App>,
    ) -> Self {
        let described = OperationBuilder::new()
            .operation_id(Some(id))
            .summary(Some(summary));
        let (_, filter) = as_axum(&method);
        let operation = Self {
            method,
            needs,
            methods: on(filter, handler),
            described: described.build(),
            codes: Vec::new(),
            schemas: Vec::new(),
        };
        let (method, _) = as_axum(&operation.method);
        let coded: &[Code] = if method.is_safe() {
            &[]
        } else {
            &[Code::ContentEncoded]
        };
        let operation = operation.refuses(ALWAYS).refuses_without(needs);
        operation.refuses(coded.iter().copied())
    }

    fn map(self, change: impl FnOnce(OperationBuilder) -> OperationBuilder) -> Self {
        let described = change(self.described.into()).build();
        Self { described, ..self }
    }

    /// More than fits the summary.
    pub(super) fn text(self, text: &str) -> Self {
        self.map(|it| it.description(Some(text)))
    }

    /// Refuses requests without the token that they need, where the node asks for one.
    fn refuses_without(self, needs: Option<Rights>) -> Self {
        let codes: &[Code] = match needs {
            None => return self,
            Some(Rights::Read) => &[Code::NoToken, Code::WrongToken, Code::MembersOnly],
            Some(Rights::Write) => &[
                Code::NoToken,
                Code::WrongToken,
                Code::ReadOnlyToken,
                Code::WritingClosed,
            ],
        };
        let operation = self.refuses(codes.iter().copied());
        let bearer = SecurityRequirement::new("token", [""; 0]);
        operation.map(|it| it.securities(Some([SecurityRequirement::default(), bearer])))
    }

    /// A segment of the path.
    pub(super) fn segment(self, name: &str, text: &str, schema: impl Into<Schema>) -> Self {
        let parameter = parameter(ParameterIn::Path, name, text, schema.into(), true);
        self.map(|it| it.parameter(parameter))
    }

    /// A header of the request.
    pub(super) fn header(
        self,
        name: &str,
        required: bool,
        text: &str,
        schema: impl Into<Schema>,
    ) -> Self {
        let parameter = parameter(ParameterIn::Header, name, text, schema.into(), required);
        self.map(|it| it.parameter(parameter))
    }

    /// The keys of the query.
    pub(super) fn query<Query: IntoParams>(self) -> Self {
        let parameters = Query::into_params(|| Some(ParameterIn::Query));
        self.map(|it| parameters.into_iter().fold(it, OperationBuilder::parameter))
    }

    /// A body of the request.
    pub(super) fn takes(self, content_type: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.body(content_type, schema, Required::True)
    }

    /// A body of the request, which may be empty.
    pub(super) fn may_take(self, content_type: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.body(content_type, schema, Required::False)
    }

    fn body(
        self,
        content_type: &str,
        schema: impl Into<RefOr<Schema>>,
        required: Required,
    ) -> Self {
        let content = Content::new(Some(schema));
        let body = RequestBodyBuilder::new()
            .content(content_type, content)
            .required(Some(required));
        self.map(|it| it.request_body(Some(body.build())))
    }

    /// A body of the request that is this, as JSON.
    pub(super) fn takes_json<Body: ToSchema>(mut self) -> Self {
        let schema = named::<Body>(&mut self.schemas);
        self.takes("application/json", schema)
    }

    /// An answer that is this, as JSON.
    pub(super) fn json<Body: ToSchema>(mut self, status: u16, text: &str) -> Self {
        let content = Content::new(Some(named::<Body>(&mut self.schemas)));
        let response = ResponseBuilder::new().description(text);
        self.answers(status, response.content("application/json", content))
    }

    /// An answer of another kind.
    pub(super) fn answers(self, status: u16, response: ResponseBuilder) -> Self {
        self.map(|it| it.response(status.to_string(), response.build()))
    }

    /// Refusals beside those that every request may meet.
    pub(super) fn refuses(mut self, codes: impl IntoIterator<Item = Code>) -> Self {
        let codes = codes.into_iter();
        self.codes
            .extend(codes.map(|it| (it.status().as_u16(), it)));
        self
    }

    /// Refusals with another status than these codes have elsewhere.
    pub(super) fn refuses_as(mut self, status: u16, codes: impl IntoIterator<Item = Code>) -> Self {
        self.codes.extend(codes.into_iter().map(|it| (status, it)));
        self
    }

    /// The method, and the rights that it needs.
    pub(super) fn rule(&self) -> (Method, Option<Rights>) {
        let (method, _) = as_axum(&self.method);
        (method, self.needs)
    }

    /// What answers.
    pub(super) fn methods(&self) -> MethodRouter<App> {
        self.methods.clone()
    }

    /// What the document says of it, under `tag` and with more refusals, and the schemas that
    /// this refers to.
    pub(super) fn described(&self, tag: &str, more: &[Code]) -> Described {
        let mut schemas = self.schemas.clone();
        let error = named::<ErrorBody>(&mut schemas);
        let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
        let more = more.iter().map(|code| (code.status().as_u16(), *code));
        for (status, code) in self.codes.iter().copied().chain(more) {
            by_status.entry(status).or_default().push(code);
        }
        let refused = |it: OperationBuilder, (status, codes)| {
            it.response(u16::to_string(&status), refusal(&error, codes))
        };
        let described = OperationBuilder::from(self.described.clone()).tag(tag);
        let described = by_status.into_iter().fold(described, refused);
        (self.method.clone(), described.build(), schemas)
    }

    /// What the document says of HEAD where this answers it, too: all but the bodies.
    pub(super) fn described_head(&self, tag: &str, more: &[Code]) -> Option<Described> {
        let (_, mut described, _) = match self.method {
            HttpMethod::Get => self.described(tag, more),
            _ => return None,
        };
        let summary = self.described.summary.as_deref().unwrap_or_default();
        described.summary = Some(format!("{summary}: the head of that answer alone"));
        let id = self.described.operation_id.as_deref().unwrap_or_default();
        described.operation_id = Some(format!("{id}Head"));
        described.description = None;
        for answer in described.responses.responses.values_mut() {
            if let RefOr::T(answer) = answer {
                answer.content.clear();
            }
        }
        Some((HttpMethod::Head, described, Vec::new()))
    }
}

/// A method as requests have it, and as routers do.
fn as_axum(method: &HttpMethod) -> (Method, MethodFilter) {
    match method {
        HttpMethod::Get => (Method::GET, MethodFilter::GET),
        HttpMethod::Post => (Method::POST, MethodFilter::POST),
        HttpMethod::Put => (Method::PUT, MethodFilter::PUT),
        HttpMethod::Delete => (Method::DELETE, MethodFilter::DELETE),
        HttpMethod::Options => (Method::OPTIONS, MethodFilter::OPTIONS),
        HttpMethod::Head => (Method::HEAD, MethodFilter::HEAD),
        HttpMethod::Patch => (Method::PATCH, MethodFilter::PATCH),
        HttpMethod::Trace => (Method::TRACE, MethodFilter::TRACE),
    }
}

/// Puts a schema among those of the document, and refers to it.
fn named<Body: ToSchema>(schemas: &mut Vec<Named>) -> Ref {
    let name = Body::name();
    schemas.push((name.to_string(), Body::schema()));
    Body::schemas(schemas);
    Ref::from_schema_name(name)
}

fn parameter(
    place: ParameterIn,
    name: &str,
    text: &str,
    schema: Schema,
    required: bool,
) -> Parameter {
    let required = if required {
        Required::True
    } else {
        Required::False
    };
    Parameter::builder()
        .parameter_in(place)
        .name(name)
        .description(Some(text))
        .required(required)
        .schema(Some(schema))
        .build()
}

/// An error whose code is one of these.
fn refusal(error: &Ref, mut codes: Vec<Code>) -> Response {
    codes.sort_unstable();
    codes.dedup();
    let names: Vec<Value> = codes.iter().map(|code| json!(code)).collect();
    let quoted: Vec<_> = names.iter().filter_map(Value::as_str).collect();
    let code = ObjectBuilder::new().schema_type(Type::String);
    let code = code.enum_values(Some(names.clone()));
    let schema = AllOf::builder()
        .item(error.clone())
        .item(ObjectBuilder::new().property("code", code));
    ResponseBuilder::new()
        .description(quoted.join(", "))
        .content(
            "application/json",
            Content::new(Some(Schema::from(schema.build()))),
        )
        .build()
}
