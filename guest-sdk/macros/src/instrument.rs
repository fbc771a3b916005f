//! The attribute `#[instrument]`: each call of a function is a span.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, Item, ItemFn, LitStr, Pat, Result, ReturnType, Token, TraitItemFn, Type};

use crate::options::{self, Form, at, once};

/// What the attribute says.
#[derive(Default)]
struct Options {
    name: Option<LitStr>,
    level: Option<TokenStream>,
    kind: Option<TokenStream>,
    skipped: Vec<Ident>,
    skips_all: Option<()>,
    fields: Option<TokenStream>,
    result: Option<Asked>,
    error: Option<Asked>,
}

/// That a result or an error is recorded, and in which form where that is said.
#[derive(Clone, Copy)]
struct Asked {
    form: Option<Form>,
}

impl Asked {
    fn parse(option: &Ident, input: ParseStream<'_>) -> Result<Self> {
        Ok(Self { form: Form::parse(option, input)? })
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            options.parse_one(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn parse_one(&mut self, input: ParseStream<'_>) -> Result<()> {
        if input.peek(LitStr) {
            return self.parse_name(&Ident::new("name", input.span()), input);
        }
        let option: Ident = input.parse().map_err(|error| Error::new(error.span(), NO_OPTION))?;
        match option.to_string().as_str() {
            "name" => {
                input.parse::<Token![=]>()?;
                self.parse_name(&option, input)
            }
            "level" => once(&mut self.level, &option, options::level(input)?),
            "kind" => once(&mut self.kind, &option, options::kind(input)?),
            "skip" => {
                let inside;
                syn::parenthesized!(inside in input);
                let names = Punctuated::<Ident, Token![,]>::parse_terminated_with(&inside, Ident::parse_any)?;
                self.skipped.extend(names);
                Ok(())
            }
            "skip_all" => once(&mut self.skips_all, &option, ()),
            "fields" => {
                let inside;
                syn::parenthesized!(inside in input);
                once(&mut self.fields, &option, inside.parse()?)
            }
            "ret" => once(&mut self.result, &option, Asked::parse(&option, input)?),
            "err" => once(&mut self.error, &option, Asked::parse(&option, input)?),
            _ => Err(Error::new(option.span(), NO_OPTION)),
        }
    }

    fn parse_name(&mut self, option: &Ident, input: ParseStream<'_>) -> Result<()> {
        let name: LitStr = input.parse()?;
        if name.value().is_empty() {
            return Err(Error::new(name.span(), "a span's name is not empty"));
        }
        once(&mut self.name, option, name)
    }
}

const NO_OPTION: &str = "the options of #[instrument] are a name (\"…\"), level = …, kind = …, skip(argument, …), skip_all, \
                         fields(key = value, …), ret and err";

/// Expands the attribute. With an error comes the function as it stands, so that the compiler complains of nothing else on top.
pub(crate) fn instrument(
    arguments: TokenStream,
    item: TokenStream,
) -> std::result::Result<TokenStream, (TokenStream, Error)> {
    let expanded = function(&item)
        .and_then(|function| Ok((syn::parse2::<Options>(arguments)?, function)))
        .and_then(|(options, function)| expand(&options, function));
    expanded.map_err(|error| (item, error))
}

fn function(item: &TokenStream) -> Result<ItemFn> {
    syn::parse2(item.clone()).map_err(|error| {
        // A syntax error inside of a function is told as it is.
        let is_other = syn::parse2::<Item>(item.clone()).is_ok() || syn::parse2::<TraitItemFn>(item.clone()).is_ok();
        let message = "#[instrument] stands on a function or a method with a body";
        if is_other { Error::new_spanned(item, message) } else { error }
    })
}

fn expand(options: &Options, mut function: ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    if let Some(asyncness) = &signature.asyncness {
        let message = "an async function cannot be instrumented: a span that is open over an `.await` would have what others \
                       do in the meantime; use `in_span` for the parts between";
        return Err(Error::new_spanned(asyncness, message));
    }
    if let Some(constness) = &signature.constness {
        return Err(Error::new_spanned(
            constness,
            "a const function cannot be instrumented: it may run in the compiler",
        ));
    }
    let arguments = arguments(options, &function)?;
    let user = options.fields.iter();
    let fields = quote! { #(#arguments,)* #(#user)* };
    let level = options.level.as_ref().map(|level| quote! { ::core::option::Option::Some(#level) });
    let level = level.unwrap_or_else(|| quote! { ::core::option::Option::None });
    let kind = options.kind.clone().unwrap_or_else(|| quote! { ::glasshouse_sdk::SpanKind::Internal });
    let named = || LitStr::new(&signature.ident.unraw().to_string(), signature.ident.span());
    let name = options.name.clone().unwrap_or_else(named);
    // The function's own code does not see it.
    let span = Ident::new("span", Span::mixed_site());
    let started = quote_spanned! { signature.ident.span() =>
        ::glasshouse_sdk::__fields!(@collect (code start (#level) #kind, #name) [] #fields)
    };
    let rest = rest(options, &function, &span)?;
    // The attributes inside of the block are among the function's, and are written into it again.
    *function.block = syn::parse2(quote! { {
        let #span = #started;
        #rest
    } })?;
    Ok(function.into_token_stream())
}

/// The arguments as fields. Patterns have no name to be recorded by, and those with an underscore are not used.
fn arguments(options: &Options, function: &ItemFn) -> Result<Vec<TokenStream>> {
    let mut named = Vec::new();
    for input in &function.sig.inputs {
        if let FnArg::Typed(typed) = input
            && let Pat::Ident(pattern) = &*typed.pat
            && pattern.subpat.is_none()
        {
            named.push((&pattern.ident, &*typed.ty));
        }
    }
    for skipped in &options.skipped {
        if skipped != "self" && !named.iter().any(|(name, _)| name.unraw() == skipped.unraw()) {
            return Err(Error::new(skipped.span(), format!("there is no argument `{skipped}` to skip")));
        }
    }
    if options.skips_all.is_some() {
        return Ok(Vec::new());
    }
    let is_skipped = |name: &Ident| options.skipped.iter().any(|skipped| skipped.unraw() == name.unraw());
    let is_recorded = |name: &Ident| !name.to_string().starts_with('_') && !is_skipped(name);
    let field = |(name, ty): (&Ident, &Type)| {
        let key = LitStr::new(&name.unraw().to_string(), name.span());
        let sigil = Form::of(ty).sigil();
        quote! { #key = #sigil #name }
    };
    Ok(named.into_iter().filter(|(name, _)| is_recorded(name)).map(field).collect())
}

/// The function's own code, and what is recorded of what it gives.
fn rest(options: &Options, function: &ItemFn, span: &Ident) -> Result<TokenStream> {
    let statements = &function.block.stmts;
    let (result, error) = (options.result, options.error);
    if result.is_none() && error.is_none() {
        return Ok(quote! { #(#statements)* });
    }
    let ReturnType::Type(_, output) = &function.sig.output else {
        let message = match error {
            Some(_) => "`err` needs a function that returns a `Result`",
            None => "`ret` needs a function that returns something",
        };
        return Err(Error::new_spanned(&function.sig.ident, message));
    };
    // `impl Trait` cannot be written of a closure; what it gives is found out without.
    let written = (!mentions_impl(output.to_token_stream())).then(|| quote! { -> #output });
    let [given, good, bad] = ["given", "good", "bad"].map(|name| Ident::new(name, Span::mixed_site()));
    let called = quote_spanned! { at(function.block.span()) =>
        let #given = ::glasshouse_sdk::__private::call(move || #written { #(#statements)* });
    };
    let record = |asked: Asked, ty: Option<&Type>, place: &Ident| {
        let form = asked.form.unwrap_or_else(|| ty.map_or(Form::Debug, Form::of));
        let value = form.value(at(output.span()), &quote! { #place });
        quote_spanned! { at(output.span()) => #span.set("return", #value); }
    };
    let told = match (error, result) {
        (Some(error), result) => {
            let message = if error.form == Some(Form::Debug) { "{:?}" } else { "{}" };
            let told = result.map(|asked| record(asked, options::ok_type(output), &good));
            quote_spanned! { at(output.span()) =>
                match &#given {
                    ::core::result::Result::Ok(#good) => { let _ = #good; #told }
                    ::core::result::Result::Err(#bad) => #span.fail(#bad, &::std::format!(#message, #bad)),
                }
            }
        }
        (None, Some(asked)) => record(asked, Some(&**output), &given),
        (None, None) => TokenStream::new(),
    };
    Ok(quote! {
        #called
        if #span.is_on() {
            #told
        }
        #given
    })
}

fn mentions_impl(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        proc_macro2::TokenTree::Ident(ident) => ident == "impl",
        proc_macro2::TokenTree::Group(group) => mentions_impl(group.stream()),
        _ => false,
    })
}
