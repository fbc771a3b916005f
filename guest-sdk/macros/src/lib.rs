//! The `#[extension]` attribute of `glasshouse-sdk`, which documents it.

mod expand;
mod parse;
#[cfg(test)]
mod tests;

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
