//! The description of the API, made from its code, and a page to try it.

use std::collections::BTreeMap;

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse as _;
use axum::routing::get;
use bytes::Bytes;
use glasshouse_client::api::Problem;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Info, OpenApi, OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

/// Where the description is.
const DESCRIPTION: &str = "/api/openapi.json";
/// Where the page is.
pub(crate) const PAGE: &str = "/api/";

/// The name of the answer by which any request may be refused.
const REFUSED: &str = "Refused";

/// How any request may be refused, whatever the reason.
pub(crate) struct Refused;

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let refused = || RefOr::Ref(Ref::from_response_name(REFUSED));
        ["4XX", "5XX"].map(|status| (status.to_owned(), refused())).into()
    }
}

/// One of some words, which a path can have in a place.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident: $($word:literal),+) => {
        $(#[$meta])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some([$($word),+])).into()
            }
        }

        impl ToSchema for $name {}
    };
}

words! {
    /// A signal, by the word that it goes by in paths.
    SignalWord: "logs", "metrics", "errors", "spans", "alerts", "invocations"
}

words! {
    /// A signal whose records are read page by page at a path that has nothing else: metrics and errors have paths of their own.
    PagedWord: "logs", "spans", "alerts", "invocations"
}

words! {
    /// What can be exported.
    ExportWord: "logs", "metrics", "errors", "alerts", "traces", "invocations", "all"
}

/// What is said of the API as a whole.
pub(crate) fn head() -> OpenApi {
    let mut info = Info::new("Glasshouse", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "Reads and steers a host of WebAssembly extensions. Times are RFC 3339 with nanoseconds, cursors are opaque text, and what is \
         refused is told as RFC 9457 has it."
            .to_owned(),
    );
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let refused = ResponseBuilder::new()
        .description("The request was not done; the code says why, and the detail what to do.")
        .content(Problem::MEDIA_TYPE, problem)
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme("token", bearer)
        .schema_from::<Problem>()
        .response(REFUSED, refused)
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([SecurityRequirement::new("token", Vec::<String>::new())]))
        .build()
}

/// Serves the description and the page.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(description: &OpenApi) -> Router<S> {
    let description = Bytes::from(text(description));
    let json = move || {
        let description = description.clone();
        async move { ([(CONTENT_TYPE, "application/json")], description).into_response() }
    };
    let page = async || {
        let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        let head = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, policy)];
        (head, include_str!("page.html")).into_response()
    };
    Router::new().route(DESCRIPTION, get(json)).route(PAGE, get(page))
}

/// A description as text that people can read too.
fn text(description: &OpenApi) -> String {
    let mut text = serde_json::to_string_pretty(description).unwrap_or_default();
    text.push('\n');
    text
}
