//! Writes the implementation of `glasshouse_sdk::Extension` and, for Wasm, the component's exports.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemImpl};

use crate::parse::{self, Extension, Method};

/// Expands the attribute. With an error comes the block as it should stay, so that the compiler complains of nothing
/// else on top.
pub(crate) fn extension(arguments: TokenStream, item: TokenStream) -> Result<TokenStream, (TokenStream, Error)> {
    let mut block: ItemImpl = match syn::parse2(item.clone()) {
        Ok(block) => block,
        Err(error) => {
            // What is no `impl` block at all gets told so; a syntax error inside of one stands as it is.
            let is_impl = item.clone().into_iter().any(|token| token.to_string() == "impl");
            let message = "#[extension] stands on an `impl Type { … }` block";
            let error = if is_impl { error } else { Error::new_spanned(&item, message) };
            return Err((if is_impl { TokenStream::new() } else { item }, error));
        }
    };
    let parsed = parse::extension(&mut block);
    if !arguments.is_empty() {
        return Err((block.into_token_stream(), Error::new_spanned(arguments, "#[extension] takes no arguments")));
    }
    match parsed {
        Ok(extension) => {
            let implementation = implementation(&block, &extension);
            Ok(quote! { #block #implementation })
        }
        Err(error) => Err((block.into_token_stream(), error)),
    }
}

fn implementation(block: &ItemImpl, extension: &Extension) -> TokenStream {
    let this = &block.self_ty;
    let events = extension.handlers.iter().map(|handler| &handler.event);
    let arms = extension.handlers.iter().map(|handler| {
        let event = &handler.event;
        let call = call(&handler.method, &quote! { __payload });
        quote! { #event => #call, }
    });
    let other = if let Some(method) = &extension.fallback {
        let name = &method.name;
        let finish = finish(method);
        let event = quote_spanned! { method.arguments[0].span() => __event.into() };
        quote_spanned! { method.output_span() => #finish(<#this>::#name(self, #event, __payload)) }
    } else {
        quote! {
            ::core::result::Result::Err(::glasshouse_sdk::Error::no_such_event(
                __event,
                <Self as ::glasshouse_sdk::Extension>::EVENTS,
            ))
        }
    };
    let init = init(this, extension.init.as_ref());
    let optional = optional(this, extension);
    quote! {
        const _: () = {
            ::std::thread_local! {
                static __STATE: ::std::cell::RefCell<::core::option::Option<#this>> =
                    const { ::std::cell::RefCell::new(::core::option::Option::None) };
            }

            #[automatically_derived]
            impl ::glasshouse_sdk::Extension for #this {
                const EVENTS: &'static [&'static str] = &[#(#events),*];

                #init

                #[allow(unused_variables, clippy::all, clippy::pedantic)]
                fn handle(
                    &mut self,
                    __event: &str,
                    __payload: ::glasshouse_sdk::Payload,
                ) -> ::core::result::Result<::glasshouse_sdk::Payload, ::glasshouse_sdk::Error> {
                    match __event {
                        #(#arms)*
                        _ => #other,
                    }
                }

                #optional

                fn state() -> &'static ::std::thread::LocalKey<::std::cell::RefCell<::core::option::Option<Self>>> {
                    &__STATE
                }
            }
        };

        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
        const _: () = {
            type __Exports = ::glasshouse_sdk::__private::Exports<#this>;
            ::glasshouse_sdk::__private::export_extension!(
                __Exports with_types_in ::glasshouse_sdk::__private::bindings
            );
        };
    }
}

/// Calls a handler with its payload and makes a reply of what it returns. The spans are those of the types, so that
/// the compiler points there if one of them cannot be read or written.
fn call(method: &Method, payload: &TokenStream) -> TokenStream {
    let name = &method.name;
    let finish = finish(method);
    let argument = method.arguments.first().map(|argument| {
        let read = quote_spanned! { argument.span() => ::glasshouse_sdk::__private::argument::<#argument> };
        quote! { #read(#payload)? }
    });
    quote_spanned! { method.output_span() => #finish(Self::#name(self, #argument)) }
}

fn finish(method: &Method) -> TokenStream {
    let span = method.output_span();
    if method.is_fallible() {
        quote_spanned! { span => ::glasshouse_sdk::__private::outcome }
    } else {
        quote_spanned! { span => ::glasshouse_sdk::__private::reply }
    }
}

fn init(this: &syn::Type, method: Option<&Method>) -> TokenStream {
    let body = match method {
        None => quote_spanned! { this.span() =>
            ::core::result::Result::Ok(<#this as ::core::default::Default>::default())
        },
        Some(method) => {
            let name = &method.name;
            let argument = method.arguments.first().map(|argument| {
                let read = quote_spanned! { argument.span() => ::glasshouse_sdk::__private::config::<#argument> };
                quote! { #read(__config)? }
            });
            let made = quote! { Self::#name(#argument) };
            if method.is_fallible() {
                quote_spanned! { method.output_span() => ::glasshouse_sdk::__private::reason(#made) }
            } else {
                quote_spanned! { method.output_span() => ::core::result::Result::Ok(#made) }
            }
        }
    };
    quote! {
        #[allow(unused_variables, clippy::all, clippy::pedantic)]
        fn init(__config: &str) -> ::core::result::Result<Self, ::std::string::String> {
            #body
        }
    }
}

/// The methods that are implemented only where the block has them.
fn optional(this: &syn::Type, extension: &Extension) -> TokenStream {
    let plain = |method: Option<&Method>, signature: TokenStream| {
        method.map(|method| {
            let name = &method.name;
            quote! { #signature { <#this>::#name(self) } }
        })
    };
    let unit = |name: &str| {
        let name = syn::Ident::new(name, proc_macro2::Span::call_site());
        quote! { fn #name(&mut self) }
    };
    let shutdown = plain(extension.shutdown.as_ref(), unit("shutdown"));
    let collect = plain(extension.collect.as_ref(), unit("collect"));
    let health =
        plain(extension.health.as_ref(), quote! { fn health(&mut self) -> ::std::vec::Vec<::glasshouse_sdk::Check> });
    let save = extension.save.as_ref().map(|method| {
        let name = &method.name;
        let saved = quote_spanned! { method.output_span() => ::glasshouse_sdk::__private::saved };
        quote! {
            fn save(&mut self) -> ::core::option::Option<::std::vec::Vec<u8>> {
                #saved(<#this>::#name(self))
            }
        }
    });
    let restore = extension.restore.as_ref().map(|method| {
        let name = &method.name;
        let state = &method.arguments[0];
        let read = quote_spanned! { state.span() => ::glasshouse_sdk::__private::restored::<#state> };
        let call = quote! { <#this>::#name(self, #read(__state)?) };
        let body = if method.is_fallible() {
            quote! { ::glasshouse_sdk::__private::reason(#call) }
        } else {
            quote! { #call; ::core::result::Result::Ok(()) }
        };
        quote! {
            #[allow(clippy::all, clippy::pedantic)]
            fn restore(
                &mut self,
                __state: ::std::vec::Vec<u8>,
            ) -> ::core::result::Result<(), ::std::string::String> {
                #body
            }
        }
    });
    quote! { #shutdown #collect #health #save #restore }
}
