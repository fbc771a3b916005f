//! What the engine counts in a store and does not tell, found out by asking it for one more.

use wasmtime::Store;
use wasmtime::component::{InstancePre, Resource};

use crate::failure::counted_instances;
use crate::state::State;

/// A resource that no guest knows of.
struct Mark;

/// Core instances in a store: while none are allowed, one more is refused, and the refusal says how many there would be. What is asked
/// for is the instance that is there once more: any other code, though it is refused, would stay known to the store, and each call would look
/// through it. `None` if it was not refused, since it has no core instances.
pub(crate) async fn core_instances(store: &mut Store<State>, pre: &InstancePre<State>) -> Option<u64> {
    allow_instances(store, false);
    let refusal = pre.instantiate_async(&mut *store).await.err();
    allow_instances(store, true);
    Some(counted_instances(&refusal?)?.saturating_sub(1))
}

/// The engine asks for the bounds when it is told who keeps them.
fn allow_instances(store: &mut Store<State>, allowed: bool) {
    store.data_mut().limiter.allow_instances(allowed);
    store.limiter(|state| &mut state.limiter);
}

/// Live handles of resources in a store, the guest's own included, which are `known` or so. It takes two tries where nothing has
/// changed, and otherwise some more than the logarithm of the change. The limit is another one then.
pub(crate) fn live_handles<T>(store: &mut Store<T>, known: usize) -> usize {
    let mut is_below = |limit: usize| {
        store.set_max_component_handles(limit);
        match Resource::<Mark>::new_own(0).try_into_resource_any(&mut *store) {
            Ok(mark) => {
                // It has just been put there; what is taken out is a number.
                let _ = mark.try_into_resource::<Mark>(&mut *store);
                true
            }
            Err(_) => false,
        }
    };
    // More than `least`, or as many, and fewer than `most`.
    let (mut least, mut most) = (0, known.saturating_add(1));
    let mut step = 1;
    if is_below(most) {
        while most > 1 {
            let lower = known.saturating_add(1).saturating_sub(step).max(1);
            if !is_below(lower) {
                least = lower;
                break;
            }
            most = lower;
            step *= 2;
        }
    } else {
        loop {
            least = most;
            most = known.saturating_add(1).saturating_add(step);
            if is_below(most) {
                break;
            }
            step *= 2;
        }
    }
    while most - least > 1 {
        let middle = least + (most - least) / 2;
        if is_below(middle) { most = middle } else { least = middle }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_counted_from_any_guess_and_counting_leaves_none() {
        let engine = crate::engine::engine(crate::flavour::Flavour::Fuel).expect("an engine");
        let mut store = Store::new(&engine, ());
        store.set_max_component_handles(10_000);
        let mut held = Vec::new();
        for live in [0, 1, 2, 3, 100, 1_000] {
            while held.len() < live {
                let handle = Resource::<Mark>::new_own(1).try_into_resource_any(&mut store);
                held.push(handle.expect("there is room"));
            }
            for known in [0, 1, 2, 5, 99, 100, 101, 5_000] {
                assert_eq!(live_handles(&mut store, known), live, "from {known}");
            }
            store.set_max_component_handles(10_000);
        }
        for handle in held {
            handle.try_into_resource::<Mark>(&mut store).expect("it is there");
        }
        assert_eq!(live_handles(&mut store, 7), 0);
    }
}
