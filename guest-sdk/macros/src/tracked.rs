//! The derive macro `Tracked`: setters that tell of changes, and what the guard compares.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Ident, Result};

use crate::options::{self, Form, at, once};

/// A field that is told of.
struct Field<'a> {
    declared: &'a syn::Field,
    ident: &'a Ident,
    name: String,
    form: Form,
}

/// Expands the derive macro.
pub(crate) fn tracked(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let wrong = "Tracked is derived for a struct with named fields: what changes is told of by its name";
    let Data::Struct(data) = &input.data else { return Err(Error::new_spanned(&input.ident, wrong)) };
    let Fields::Named(declared) = &data.fields else { return Err(Error::new_spanned(&input.ident, wrong)) };
    let level = level(&input)?;
    let mut fields = Vec::new();
    for field in &declared.named {
        if let Some(form) = form(field)?
            && let Some(ident) = &field.ident
        {
            fields.push(Field { declared: field, ident, name: ident.unraw().to_string(), form });
        }
    }
    if fields.is_empty() {
        return Err(Error::new_spanned(&input.ident, "there is no field to track: each is skipped, or there are none"));
    }
    let this = &input.ident;
    let type_name = this.unraw().to_string();
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    let plans = fields.iter().map(|Field { name, .. }| {
        let (old, new) = (format!("old.{name}"), format!("new.{name}"));
        let message = format!("{type_name}.{name} changed");
        quote! { ::glasshouse_sdk::__private::TrackedField { message: #message, old: #old, new: #new } }
    });
    let each = fields.iter().map(|Field { ident, form, .. }| {
        // What is wrong with the type of a field is told of the field.
        let value = form.value(at(ident.span()), &quote_spanned! { ident.span() => self.#ident });
        quote! { each(#value); }
    });
    let setters = fields.iter().enumerate().map(|(index, field)| setter(&level, index, field));
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::glasshouse_sdk::Tracked for #this #arguments #bounds {
            const PLAN: &'static ::glasshouse_sdk::__private::TrackedPlan = &::glasshouse_sdk::__private::TrackedPlan {
                level: #level,
                target: ::core::module_path!(),
                fields: &[#(#plans),*],
            };

            fn each(&self, each: &mut dyn ::core::ops::FnMut(::glasshouse_sdk::Value<'_>)) {
                #(#each)*
            }
        }

        #[automatically_derived]
        #[allow(dead_code, unreachable_pub, clippy::pedantic)]
        impl #generics #this #arguments #bounds {
            #(#setters)*
        }
    })
}

fn setter(level: &TokenStream, index: usize, field: &Field<'_>) -> TokenStream {
    let Field { declared, ident, name, form } = field;
    let (visibility, ty) = (&declared.vis, &declared.ty);
    let setter = format_ident!("set_{}", name, span = ident.span());
    let doc = format!(" Sets `{name}`, and tells of the change.");
    let (old, new) = (Ident::new("old", Span::mixed_site()), Ident::new("new", Span::mixed_site()));
    let old_value = form.value(at(ident.span()), &quote! { #old });
    let new_value = form.value(at(ident.span()), &quote! { self.#ident });
    quote! {
        #[doc = #doc]
        #[track_caller]
        #visibility fn #setter(&mut self, #new: #ty) {
            if ::glasshouse_sdk::enabled(#level) {
                let #old = ::core::mem::replace(&mut self.#ident, #new);
                ::glasshouse_sdk::__private::tell_change::<Self>(#index, #old_value, #new_value);
            } else {
                self.#ident = #new;
            }
        }
    }
}

/// Reads `#[tracked(level = …)]` on the struct.
fn level(input: &DeriveInput) -> Result<TokenStream> {
    let mut level = None;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("tracked")) {
        attribute.parse_args_with(|input: ParseStream<'_>| {
            let option: Ident = input.parse()?;
            if option != "level" {
                return Err(Error::new(option.span(), "on a struct there is #[tracked(level = …)]"));
            }
            once(&mut level, &option, options::level(input)?)
        })?;
    }
    Ok(level.unwrap_or_else(|| quote! { ::glasshouse_sdk::Level::Debug }))
}

/// How a field's values are told; nothing if the field is skipped.
fn form(field: &syn::Field) -> Result<Option<Form>> {
    let mut asked = None;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("tracked")) {
        let option: Ident =
            attribute.parse_args_with(Ident::parse_any).map_err(|error| Error::new(error.span(), NO_OPTION))?;
        let form = match option.to_string().as_str() {
            "skip" => None,
            "value" => Some(Form::Plain),
            "debug" => Some(Form::Debug),
            "display" => Some(Form::Display),
            _ => return Err(Error::new(option.span(), NO_OPTION)),
        };
        if asked.replace(form).is_some() {
            return Err(Error::new(attribute.span(), "a field is told in one way"));
        }
    }
    Ok(asked.unwrap_or_else(|| Some(Form::of(&field.ty))))
}

const NO_OPTION: &str =
    "on a field there are #[tracked(skip)], #[tracked(value)], #[tracked(debug)] and #[tracked(display)]";
