//! The shapes that the descriptions of routes are written with.

use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, Header, KnownFormat, Ref, RefOr, SchemaFormat};

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
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
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

/// An answer of this type: any JSON, or a text.
pub(super) fn of_type(description: &str, content_type: &str) -> ResponseBuilder {
    let schema = match content_type {
        "application/json" => Schema::from(Object::new()),
        _ => Schema::from(text().build()),
    };
    ResponseBuilder::new()
        .description(description)
        .content(content_type, Content::new(Some(schema)))
}

fn text_schema() -> Object {
    text().build()
}
