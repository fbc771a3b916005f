//! Another peer: a core module in bare wasmtime, which has neither types nor texts to pass.

use std::hint::black_box;

use glasshouse_model::settings::Budget;
use wasmtime::{Caller, Engine, Error, Linker, Memory, MemoryType, Module, Result, Store, TypedFunc};

use crate::bare::{State, store};

/// A function that does nothing, and one that passes the first so many bytes of memory to the host so many times.
const TEXT: &str = r#"(module
    (import "host" "memory" (memory 1))
    (import "host" "take" (func $take (param i32 i32)))
    (func (export "empty"))
    (func (export "pass") (param $bytes i32) (param $times i32)
        (loop $next
            (call $take (i32.const 0) (local.get $bytes))
            (br_if $next (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))))"#;

/// An instance of the module, metered as components are.
pub(crate) struct CoreModule {
    store: Store<State>,
    empty: TypedFunc<(), ()>,
    pass: TypedFunc<(u32, u32), ()>,
}

impl CoreModule {
    pub(crate) async fn start(engine: &Engine) -> Result<Self> {
        let mut store = store(engine)?;
        let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
        let mut linker = Linker::new(engine);
        linker.define(&store, "host", "memory", memory)?;
        linker.func_wrap("host", "take", move |mut caller: Caller<'_, State>, at: u32, bytes: u32| {
            let (memory, state) = memory.data_and_store_mut(&mut caller);
            let passed = memory.get(at as usize..).and_then(|from| from.get(..bytes as usize));
            state.bytes += black_box(passed.ok_or_else(|| Error::msg("out of bounds"))?).len() as u64;
            Ok(())
        })?;
        let instance = linker.instantiate_async(&mut store, &Module::new(engine, wat::parse_str(TEXT)?)?).await?;
        let empty = instance.get_typed_func(&mut store, "empty")?;
        let pass = instance.get_typed_func(&mut store, "pass")?;
        Ok(Self { store, empty, pass })
    }

    /// Calls the function that does nothing, with fuel of its own.
    pub(crate) async fn call(&mut self) -> Result<()> {
        self.store.set_fuel(Budget::default().fuel_per_call)?;
        self.empty.call_async(&mut self.store, ()).await
    }

    /// Passes so many bytes so many times.
    pub(crate) async fn pass(&mut self, bytes: u32, times: u32) -> Result<()> {
        self.store.set_fuel(Budget::default().fuel_per_call)?;
        self.pass.call_async(&mut self.store, (bytes, times)).await
    }
}
