//! Finds the handlers and the methods with a meaning of their own in an `impl` block, and judges their signatures.

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Error, FnArg, ImplItem, ImplItemFn, ItemImpl, LitStr, Meta, Result, ReturnType, Type};

/// The longest event name that the contract allows, in characters.
const MAX_EVENT_NAME: usize = 128;

/// What an `impl` block says about its extension.
#[derive(Default)]
pub(crate) struct Extension {
    pub(crate) handlers: Vec<Handler>,
    pub(crate) fallback: Option<Method>,
    pub(crate) init: Option<Method>,
    pub(crate) shutdown: Option<Method>,
    pub(crate) collect: Option<Method>,
    pub(crate) health: Option<Method>,
    pub(crate) save: Option<Method>,
    pub(crate) restore: Option<Method>,
}

/// A method that handles an event.
pub(crate) struct Handler {
    pub(crate) event: LitStr,
    pub(crate) method: Method,
}

/// A method that the host causes to be called.
pub(crate) struct Method {
    pub(crate) name: syn::Ident,
    /// The types of its arguments after `self`.
    pub(crate) arguments: Vec<Type>,
    pub(crate) output: ReturnType,
}

impl Method {
    /// Whether it is written to return a `Result`.
    pub(crate) fn is_fallible(&self) -> bool {
        let ReturnType::Type(_, output) = &self.output else { return false };
        let Type::Path(path) = &**output else { return false };
        path.path.segments.last().is_some_and(|segment| segment.ident == "Result")
    }

    /// Where to point for what is wrong with its output.
    pub(crate) fn output_span(&self) -> Span {
        match &self.output {
            ReturnType::Default => self.name.span(),
            ReturnType::Type(_, output) => output.span(),
        }
    }
}

/// How a method is called.
#[derive(Clone, Copy, PartialEq)]
enum Receiver {
    Needed,
    Forbidden,
}

/// Takes the attributes out of the block and tells what they said. All errors are found at once.
pub(crate) fn extension(block: &mut ItemImpl) -> Result<Extension> {
    let mut errors = Errors::default();
    if let Some((_, path, _)) = &block.trait_ {
        errors.push(path, "#[extension] stands on an inherent block, `impl Type { … }`, not on the impl of a trait");
    }
    if block.generics.lt_token.is_some() {
        errors.push(&block.generics, "an extension cannot be generic: the component has one instance of one type");
    }
    let mut extension = Extension::default();
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else { continue };
        match method(&mut extension, function) {
            Ok(true) => function.attrs.push(allowances()),
            Ok(false) => {}
            Err(error) => errors.add(error),
        }
    }
    errors.finish().map(|()| extension)
}

/// What style checks may not complain of: the signature is the contract's, not the author's choice.
fn allowances() -> syn::Attribute {
    syn::parse_quote! {
        #[allow(clippy::needless_pass_by_value, clippy::needless_pass_by_ref_mut, clippy::unnecessary_wraps, clippy::unused_self)]
    }
}

/// Judges one method. Tells whether it has a meaning for the extension.
fn method(extension: &mut Extension, function: &mut ImplItemFn) -> Result<bool> {
    let event = take_attribute(function, "event");
    let fallback = take_attribute(function, "fallback");
    if let (Some(_), Some(fallback)) = (&event, &fallback) {
        return Err(Error::new_spanned(fallback, "a method is the handler of one event or the fallback, not both"));
    }
    if let Some(attribute) = event {
        let event = event_name(&attribute, function)?;
        if let Some(other) = extension.handlers.iter().find(|other| other.event.value() == event.value()) {
            let message = format!("the event \"{}\" is handled by `{}` already", event.value(), other.method.name);
            return Err(Error::new(event.span(), message));
        }
        let method =
            signature(function, Receiver::Needed, &[0, 1], "a handler", "`&mut self` and at most one payload")?;
        extension.handlers.push(Handler { event, method });
        return Ok(true);
    }
    if let Some(attribute) = fallback {
        if let Meta::List(_) | Meta::NameValue(_) = attribute.meta {
            return Err(Error::new_spanned(attribute, "#[fallback] takes no arguments"));
        }
        let method =
            signature(function, Receiver::Needed, &[2], "the fallback", "`&mut self, name: &str, payload: Payload`")?;
        if let Some(other) = extension.fallback.replace(method) {
            let message = format!("`{}` is the fallback already; there can be one only", other.name);
            return Err(Error::new_spanned(&function.sig.ident, message));
        }
        return Ok(true);
    }
    named(extension, function)
}

/// The methods whose name gives them a meaning.
fn named(extension: &mut Extension, function: &ImplItemFn) -> Result<bool> {
    let name = function.sig.ident.to_string();
    let of_self =
        |counts: &[usize], takes: &str| signature(function, Receiver::Needed, counts, &format!("`{name}`"), takes);
    match name.as_str() {
        "init" => {
            let takes = "no `self` and at most one argument, the configuration";
            let method = signature(function, Receiver::Forbidden, &[0, 1], "`init`", takes)?;
            if let ReturnType::Default = method.output {
                return Err(Error::new_spanned(&function.sig.ident, "`init` returns `Self` or `Result<Self, E>`"));
            }
            extension.init = Some(method);
        }
        "shutdown" => extension.shutdown = Some(of_self(&[0], "`&mut self` only")?),
        "collect" => extension.collect = Some(of_self(&[0], "`&mut self` only")?),
        "health" => extension.health = Some(of_self(&[0], "`&mut self` only, and returns `Vec<Check>`")?),
        "save" => extension.save = Some(of_self(&[0], "`&self` only, and returns the state")?),
        "restore" => extension.restore = Some(of_self(&[1], "`&mut self` and one argument, the state")?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn signature(function: &ImplItemFn, receiver: Receiver, counts: &[usize], who: &str, takes: &str) -> Result<Method> {
    let signature = &function.sig;
    if let Some(asyncness) = &signature.asyncness {
        let message = format!("{who} cannot be async: an extension has one thread and the host waits for the reply");
        return Err(Error::new_spanned(asyncness, message));
    }
    if signature.generics.lt_token.is_some() {
        return Err(Error::new_spanned(&signature.generics, format!("{who} cannot be generic")));
    }
    match (receiver, signature.receiver()) {
        (Receiver::Needed, None) => {
            return Err(Error::new_spanned(&signature.ident, format!("{who} takes {takes}; `self` is missing")));
        }
        (Receiver::Needed, Some(this)) if this.reference.is_none() => {
            return Err(Error::new_spanned(this, format!("{who} takes {takes}: the extension outlives the call")));
        }
        (Receiver::Forbidden, Some(this)) => {
            return Err(Error::new_spanned(this, format!("{who} takes {takes}: there is no extension yet")));
        }
        _ => {}
    }
    let arguments: Vec<Type> = signature
        .inputs
        .iter()
        .filter_map(|argument| match argument {
            FnArg::Typed(typed) => Some((*typed.ty).clone()),
            FnArg::Receiver(_) => None,
        })
        .collect();
    if !counts.contains(&arguments.len()) {
        // Points at the first argument too many, or else at the name.
        let most = counts.iter().copied().max().unwrap_or_default();
        let place = arguments.get(most).map_or_else(|| signature.ident.to_token_stream(), ToTokens::to_token_stream);
        return Err(Error::new_spanned(place, format!("{who} takes {takes}")));
    }
    Ok(Method { name: signature.ident.clone(), arguments, output: signature.output.clone() })
}

fn take_attribute(function: &mut ImplItemFn, name: &str) -> Option<syn::Attribute> {
    let index = function.attrs.iter().position(|attribute| attribute.path().is_ident(name))?;
    Some(function.attrs.remove(index))
}

fn event_name(attribute: &syn::Attribute, function: &ImplItemFn) -> Result<LitStr> {
    let name = match &attribute.meta {
        Meta::Path(_) => {
            let name = function.sig.ident.to_string();
            LitStr::new(name.trim_start_matches("r#"), function.sig.ident.span())
        }
        Meta::List(list) => list.parse_args::<LitStr>().map_err(|error| {
            Error::new(error.span(), "#[event] takes the event's name as a string: #[event(\"other.name\")]")
        })?,
        Meta::NameValue(_) => {
            let message = "write the event's name in parentheses: #[event(\"other.name\")]";
            return Err(Error::new_spanned(attribute, message));
        }
    };
    let length = name.value().chars().count();
    if length == 0 || length > MAX_EVENT_NAME {
        let message = format!("an event's name has 1 to {MAX_EVENT_NAME} characters, this one has {length}");
        return Err(Error::new(name.span(), message));
    }
    Ok(name)
}

/// Collects errors, so that an author sees all of them at once.
#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn push(&mut self, place: impl ToTokens, message: &str) {
        self.add(Error::new_spanned(place, message));
    }

    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            none => *none = Some(error),
        }
    }

    fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
