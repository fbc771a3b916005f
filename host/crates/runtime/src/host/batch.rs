//! `debugging.share-batch`: where a guest gathers records, so that those it had made are not lost with a call that ends badly.

use glasshouse_model::HostFunction;
use glasshouse_model::wire::Malformed;
use wasmtime::component::{Linker, WasmList};
use wasmtime::{Store, StoreContextMut};

use super::debugging::INTERFACE;
use crate::state::State;

/// What a guest shared. The two lists say where in which memory of the guest to look; wasmtime checked their bounds when they
/// were shared, and a memory never shrinks, so that they can be read at any later time, the present bytes each time.
pub(crate) struct SharedBatch {
    committed: WasmList<u64>,
    batch: WasmList<u8>,
}

impl SharedBatch {
    /// The batch that the guest had gathered and not sent, if any.
    pub(crate) fn tail<'a>(&self, store: &'a Store<State>) -> Result<Option<&'a [u8]>, Malformed> {
        let [committed] = self.committed.as_le_slice(store) else {
            return Err(Malformed("a shared batch has no committed length"));
        };
        let tail = usize::try_from(u64::from_le(*committed))
            .ok()
            .and_then(|committed| self.batch.as_le_slice(store).get(..committed))
            .ok_or(Malformed("the committed length of a shared batch is past its end"))?;
        Ok((!tail.is_empty()).then_some(tail))
    }
}

/// Adds `share-batch`, which keeps the place of the lists and not what is in them.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(INTERFACE)?.func_wrap(
        "share-batch",
        |mut store: StoreContextMut<'_, State>, (committed, batch): (WasmList<u64>, WasmList<u8>)| {
            // What it does takes no time, but a guest may do it for ever.
            let entered = store.data_mut().imports.enter_light(HostFunction::ShareBatch)?;
            store.data_mut().imports.leave(entered);
            let taken_back = batch.as_le_slice(&store).is_empty();
            store.data_mut().shared_batch = (!taken_back).then_some(SharedBatch { committed, batch });
            Ok(())
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
