//! What the attributes of tracing code have in common: how a value is written, levels, and kinds of spans.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::ParseStream;
use syn::{Error, GenericArgument, Ident, Path, PathArguments, Result, Token, Type};

const LEVELS: &[&str] = &["Trace", "Debug", "Info", "Warning", "Error", "Critical"];
const KINDS: &[&str] = &["Internal", "Server", "Client", "Producer", "Consumer"];

/// Types whose values are field values as they are.
const PLAIN: &[&str] = &[
    "bool", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32", "u64", "u128", "usize", "f32", "f64",
    "str", "String",
];

/// How a value becomes that of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Plain,
    Debug,
    Display,
}

impl Form {
    /// That of a type, by its name: `Debug` unless it is one that is written out here.
    pub(crate) fn of(ty: &Type) -> Self {
        match ty {
            Type::Reference(reference) => Self::of(&reference.elem),
            Type::Paren(inner) => Self::of(&inner.elem),
            Type::Group(inner) => Self::of(&inner.elem),
            Type::Path(path) if path.qself.is_none() => {
                let last = path.path.segments.last();
                let is_plain = last.is_some_and(|last| PLAIN.iter().any(|plain| last.ident == plain));
                if is_plain { Self::Plain } else { Self::Debug }
            }
            _ => Self::Debug,
        }
    }

    /// Reads `(?)` or `(%)` after an option; nothing if there are no parentheses.
    pub(crate) fn parse(option: &Ident, input: ParseStream<'_>) -> Result<Option<Self>> {
        if !input.peek(syn::token::Paren) {
            return Ok(None);
        }
        let inside;
        syn::parenthesized!(inside in input);
        let form = if inside.peek(Token![?]) {
            inside.parse::<Token![?]>().map(|_| Self::Debug)
        } else {
            inside.parse::<Token![%]>().map(|_| Self::Display)
        };
        match form {
            Ok(form) if inside.is_empty() => Ok(Some(form)),
            _ => {
                let message = format!(
                    "write `{option}`, `{option}(?)` for the `Debug` form, or `{option}(%)` for the `Display` form"
                );
                Err(Error::new(option.span(), message))
            }
        }
    }

    /// An expression of the type `glasshouse_sdk::Value`, of a place that it borrows. It must be used where it stands; what is
    /// wrong with it is told of the span.
    pub(crate) fn value(self, span: Span, place: &TokenStream) -> TokenStream {
        match self {
            Self::Plain => quote_spanned! { span => ::glasshouse_sdk::ToValue::to_value(&#place) },
            Self::Debug => {
                quote_spanned! { span => ::glasshouse_sdk::Value::Text(&::std::format!("{:?}", #place)) }
            }
            Self::Display => quote_spanned! { span => ::glasshouse_sdk::Value::Text(&::std::format!("{}", #place)) },
        }
    }

    /// What stands before a value in the syntax of fields.
    pub(crate) fn sigil(self) -> TokenStream {
        match self {
            Self::Plain => TokenStream::new(),
            Self::Debug => quote! { ? },
            Self::Display => quote! { % },
        }
    }
}

/// A place in the author's code for what is not the author's: errors point there, but names and advice about style do not.
pub(crate) fn at(span: Span) -> Span {
    span.resolved_at(Span::mixed_site())
}

/// The `T` of a `Result<T, …>`, as it is written.
pub(crate) fn ok_type(output: &Type) -> Option<&Type> {
    let Type::Path(path) = output else { return None };
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
}

/// Reads `= Debug` or `= Level::Debug`.
pub(crate) fn level(input: ParseStream<'_>) -> Result<TokenStream> {
    let variant = variant(input, "level", LEVELS)?;
    Ok(quote! { ::glasshouse_sdk::Level::#variant })
}

/// Reads `= Client` or `= SpanKind::Client`.
pub(crate) fn kind(input: ParseStream<'_>) -> Result<TokenStream> {
    let variant = variant(input, "kind", KINDS)?;
    Ok(quote! { ::glasshouse_sdk::SpanKind::#variant })
}

fn variant(input: ParseStream<'_>, what: &str, known: &[&str]) -> Result<Ident> {
    input.parse::<Token![=]>()?;
    let path: Path = input.parse()?;
    match path.segments.last() {
        Some(last) if known.iter().any(|known| last.ident == known) => Ok(last.ident.clone()),
        _ => {
            let found = path.to_token_stream();
            Err(Error::new_spanned(path, format!("no {what} `{found}`: there are {}", known.join(", "))))
        }
    }
}

/// Puts what an option says where nothing was said before.
pub(crate) fn once<T>(place: &mut Option<T>, option: &Ident, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new(option.span(), format!("`{option}` stands here twice"))),
    }
}
