//! The macros of `glasshouse-sdk` that are written in Rust, which documents them.

mod expand;
mod instrument;
mod options;
mod parse;
#[cfg(test)]
mod tests;
mod tracked;

use proc_macro::TokenStream;

/// Makes an `impl` block into an extension; see `glasshouse_sdk::extension`.
#[proc_macro_attribute]
pub fn extension(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match expand::extension(arguments.into(), item.into()) {
        Ok(expanded) => expanded.into(),
        Err((mut block, error)) => {
            block.extend(error.into_compile_error());
            block.into()
        }
    }
}

/// Makes each call of a function a span; see `glasshouse_sdk::instrument`.
#[proc_macro_attribute]
pub fn instrument(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match instrument::instrument(arguments.into(), item.into()) {
        Ok(expanded) => expanded.into(),
        Err((mut function, error)) => {
            function.extend(error.into_compile_error());
            function.into()
        }
    }
}

/// Tells of changes of a struct's fields; see `glasshouse_sdk::Tracked`.
#[proc_macro_derive(Tracked, attributes(tracked))]
pub fn tracked(item: TokenStream) -> TokenStream {
    tracked::tracked(item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
