//! What the descriptions of routes are written with.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{AllOf, ArrayBuilder, Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, Header, Ref, RefOr, Required, SecurityRequirement};
use utoipa::{IntoParams, ToSchema};

use crate::web::code::Code;
use crate::web::error::ErrorBody;

/// A schema with its name.
pub(super) type Named = (String, RefOr<Schema>);

/// Which token a request needs, where the node asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// One with the right to read, on a private node.
    Reading,
    /// One with the right to write.
    Writing,
}

/// One method of one path.
pub(super) struct Described {
    pub path: &'static str,
    pub method: HttpMethod,
    operation: OperationBuilder,
    /// With their statuses.
    codes: Vec<(u16, Code)>,
    schemas: Vec<Named>,
}

/// The refusals that every request may meet.
const ALWAYS: [Code; 5] = [
    Code::OriginNotAllowed,
    Code::HostNotAllowed,
    Code::ShuttingDown,
    Code::Shortage,
    Code::Internal,
];
/// The refusals of whatever changes what is stored.
pub(super) const OF_CHANGES: [Code; 3] = [Code::DiskFull, Code::ReadOnly, Code::WriteFailed];

impl Described {
    pub(super) fn new(
        method: HttpMethod,
        path: &'static str,
        tag: &str,
        id: &str,
        summary: &str,
    ) -> Self {
        Self {
            path,
            method,
            operation: OperationBuilder::new()
                .tag(tag)
                .operation_id(Some(id))
                .summary(Some(summary)),
            codes: Vec::new(),
            schemas: Vec::new(),
        }
        .refuses(ALWAYS)
    }

    fn map(mut self, change: impl FnOnce(OperationBuilder) -> OperationBuilder) -> Self {
        self.operation = change(self.operation);
        self
    }

    /// More than fits the summary.
    pub(super) fn text(self, text: &str) -> Self {
        self.map(|it| it.description(Some(text)))
    }

    /// Which token it needs.
    pub(super) fn needs(self, needs: Needs) -> Self {
        let codes: &[Code] = match needs {
            Needs::Reading => &[Code::NoToken, Code::WrongToken],
            Needs::Writing => &[
                Code::NoToken,
                Code::WrongToken,
                Code::ReadOnlyToken,
                Code::WritingClosed,
            ],
        };
        let described = self.refuses(codes.iter().copied());
        let bearer = SecurityRequirement::new("token", [""; 0]);
        described.map(|it| it.securities(Some([SecurityRequirement::default(), bearer])))
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
        let content = Content::new(Some(schema));
        let body = RequestBodyBuilder::new()
            .content(content_type, content)
            .required(Some(Required::True));
        self.map(|it| it.request_body(Some(body.build())))
    }

    /// A body of the request that is this, as JSON.
    pub(super) fn takes_json<Body: ToSchema>(mut self) -> Self {
        let schema = self.named::<Body>();
        self.takes("application/json", schema)
    }

    /// An answer that is this, as JSON.
    pub(super) fn json<Body: ToSchema>(mut self, status: u16, text: &str) -> Self {
        let content = Content::new(Some(self.named::<Body>()));
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

    /// A schema among those of the document, and what refers to it.
    fn named<Body: ToSchema>(&mut self) -> Ref {
        let name = Body::name();
        self.schemas.push((name.to_string(), Body::schema()));
        Body::schemas(&mut self.schemas);
        Ref::from_schema_name(name)
    }

    /// The operation, and the schemas that it refers to.
    pub(super) fn build(mut self) -> (Operation, Vec<Named>) {
        let error = self.named::<ErrorBody>();
        let mut by_status = BTreeMap::<u16, Vec<Code>>::new();
        for (status, code) in self.codes {
            by_status.entry(status).or_default().push(code);
        }
        let refused = |it: OperationBuilder, (status, codes)| {
            it.response(u16::to_string(&status), refusal(&error, codes))
        };
        let operation = by_status.into_iter().fold(self.operation, refused);
        (operation.build(), self.schemas)
    }
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

/// Any text.
pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A text that matches this.
pub(super) fn matching(pattern: &str) -> ObjectBuilder {
    text().pattern(Some(pattern))
}

/// The id of a file, a peer, a copy or an upload.
pub(super) fn uuid() -> ObjectBuilder {
    matching("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
}

/// The hash of content.
pub(super) fn hash() -> ObjectBuilder {
    matching("^[0-9a-f]{64}$")
}

/// Bytes of any kind.
pub(super) fn bytes() -> ObjectBuilder {
    text().format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
        utoipa::openapi::KnownFormat::Binary,
    )))
}

/// A whole number that is not negative.
pub(super) fn number() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
}

/// A list of what is defined elsewhere in the document.
pub(super) fn list_of(item: Ref) -> ArrayBuilder {
    ArrayBuilder::new().items(RefOr::<Schema>::Ref(item))
}

/// An answer with headers that have these names and say this.
pub(super) fn with_headers(
    text: &str,
    headers: impl IntoIterator<Item = (&'static str, &'static str)>,
) -> ResponseBuilder {
    let response = ResponseBuilder::new().description(text);
    headers.into_iter().fold(response, |it, (name, says)| {
        let header = Header::builder().description(Some(says));
        let schema: Object = text_schema();
        it.header(name, header.schema(Some(schema)).build())
    })
}

fn text_schema() -> Object {
    text().build()
}
