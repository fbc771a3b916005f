//! Bounds on what an instance's memories and tables may grow to.

use glasshouse_model::settings::Budget;
use wasmtime::ResourceLimiter;

/// Tables of all core instances; real components have about one for each core instance.
const TABLES: usize = 100;
/// Refused growths in one call after which the call is ended: a guest that is told "no" so often is not coping.
const REFUSALS: u32 = 1_000;

/// A guest asked for more memory than its budget allows, again and again.
#[derive(Debug, thiserror::Error)]
#[error("asked {REFUSALS} times for more memory than its budget of {limit} bytes")]
pub(crate) struct MemoryRefused {
    limit: u64,
}

/// A guest asked for larger tables than its budget allows, again and again.
#[derive(Debug, thiserror::Error)]
#[error("asked {REFUSALS} times for larger tables than its budget of {limit} elements")]
pub(crate) struct TablesRefused {
    pub(crate) limit: u64,
}

/// What an instance may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    memory_bytes: u64,
    table_elements: usize,
    instances: usize,
    memories: usize,
}

impl From<&Budget> for Bounds {
    fn from(budget: &Budget) -> Self {
        Self {
            memory_bytes: budget.memory_bytes,
            table_elements: budget.table_elements,
            instances: budget.instances,
            memories: budget.memories,
        }
    }
}

/// Counts an instance's memory and tables, and refuses what is beyond its budget.
#[derive(Debug)]
pub(crate) struct Limiter {
    bounds: Bounds,
    bytes: u64,
    peak: u64,
    last_growth: u64,
    table_elements: usize,
    last_table_growth: usize,
    refusals: u32,
    table_refusals: u32,
    wanted: u64,
    /// Whether there may be core instances; not while those are counted that there are.
    may_instantiate: bool,
}

impl Limiter {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            bytes: 0,
            peak: 0,
            last_growth: 0,
            table_elements: 0,
            last_table_growth: 0,
            refusals: 0,
            table_refusals: 0,
            wanted: 0,
            may_instantiate: true,
        }
    }

    /// Allows as many core instances as the budget does, or none at all.
    pub(crate) fn allow_instances(&mut self, allowed: bool) {
        self.may_instantiate = allowed;
    }

    /// Sets other bounds for what is wanted from now on; what is there already stays.
    pub(crate) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Linear memory now.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The most linear memory so far.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// Elements of all tables now.
    pub(crate) fn table_elements(&self) -> usize {
        self.table_elements
    }

    /// The most that was wanted and refused since the call started, if anything was.
    pub(crate) fn refused(&self) -> Option<u64> {
        (self.refusals > 0).then_some(self.wanted)
    }

    /// Forgets the refusals of the call before.
    #[inline]
    pub(crate) fn start_call(&mut self) {
        self.refusals = 0;
        self.table_refusals = 0;
        self.wanted = 0;
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        let wanted = self.bytes.saturating_add(growth);
        let limit = self.bounds.memory_bytes;
        if wanted > limit || maximum.is_some_and(|maximum| desired > maximum) {
            self.refusals += 1;
            self.wanted = self.wanted.max(wanted);
            if self.refusals > REFUSALS {
                return Err(wasmtime::Error::new(MemoryRefused { limit }));
            }
            return Ok(false);
        }
        self.last_growth = growth;
        self.bytes = wanted;
        self.peak = self.peak.max(wanted);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.bytes -= std::mem::take(&mut self.last_growth);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        let wanted = self.table_elements.saturating_add(growth);
        let limit = self.bounds.table_elements;
        if wanted > limit || maximum.is_some_and(|maximum| desired > maximum) {
            self.table_refusals += 1;
            if self.table_refusals > REFUSALS {
                return Err(wasmtime::Error::new(TablesRefused { limit: limit as u64 }));
            }
            return Ok(false);
        }
        self.last_table_growth = growth;
        self.table_elements = wanted;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements -= std::mem::take(&mut self.last_table_growth);
        Ok(())
    }

    fn instances(&self) -> usize {
        if self.may_instantiate { self.bounds.instances } else { 0 }
    }

    fn memories(&self) -> usize {
        self.bounds.memories
    }

    fn tables(&self) -> usize {
        TABLES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(memory_bytes: u64, table_elements: usize) -> Limiter {
        Limiter::new(Bounds { memory_bytes, table_elements, ..Bounds::from(&Budget::default()) })
    }

    #[test]
    fn growth_that_the_system_refuses_is_undone_in_the_count() {
        let mut limiter = bounded(1000, 1000);
        assert!(limiter.memory_growing(0, 400, None).expect("no trap"));
        assert!(limiter.memory_growing(400, 900, None).expect("no trap"));
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).expect("no trap");
        assert_eq!(limiter.bytes(), 400);
        assert!(limiter.memory_growing(400, 1000, None).expect("no trap"));
    }

    #[test]
    fn growth_past_the_budget_is_refused_and_a_guest_that_insists_is_ended() {
        let mut limiter = bounded(1000, 1000);
        assert!(!limiter.memory_growing(0, 1001, None).expect("a refusal is no trap"));
        assert_eq!(limiter.refused(), Some(1001));
        for _ in 1..REFUSALS {
            assert!(!limiter.memory_growing(0, 2000, None).expect("a refusal is no trap"));
        }
        assert!(limiter.memory_growing(0, 2000, None).is_err());
        limiter.start_call();
        assert_eq!(limiter.refused(), None);
    }

    #[test]
    fn tables_are_held_to_their_budget_as_memory_is() {
        let mut limiter = bounded(1000, 100);
        assert!(limiter.table_growing(0, 60, None).expect("no trap"));
        assert!(limiter.table_growing(60, 90, None).expect("no trap"));
        limiter.table_grow_failed(wasmtime::Error::msg("no memory")).expect("no trap");
        assert_eq!(limiter.table_elements(), 60);
        for _ in 0..REFUSALS {
            assert!(!limiter.table_growing(60, 101, None).expect("a refusal is no trap"));
        }
        assert!(limiter.table_growing(60, 101, None).expect_err("it insists").is::<TablesRefused>());
        limiter.start_call();
        assert!(!limiter.table_growing(60, 101, None).expect("a refusal is no trap"));
    }

    #[test]
    fn instances_memories_and_tables_are_bounded_in_a_store() {
        let engine = crate::engine::engine(crate::flavour::Flavour::Fuel).expect("an engine");
        let budget = Budget::default();
        for (what, allowed, of_one) in [
            ("(memory 0)", budget.memories, budget.memories),
            ("(table 0 funcref)", TABLES, 10),
            ("", budget.instances, 1),
        ] {
            for (instances, fits) in [(allowed / of_one, true), (allowed / of_one + 1, false)] {
                let text = format!(
                    "(component (core module $m {}) {})",
                    what.repeat(if what.is_empty() { 0 } else { of_one }),
                    "(core instance (instantiate $m))".repeat(instances)
                );
                let bytes = wat::parse_str(&text).expect("it assembles");
                let component = wasmtime::component::Component::new(&engine, bytes).expect("it compiles");
                let mut store = wasmtime::Store::new(&engine, Limiter::new(Bounds::from(&budget)));
                store.limiter(|limiter| limiter);
                store.set_fuel(1_000_000).expect("fuel is counted");
                let made = wasmtime::component::Linker::<Limiter>::new(&engine).instantiate(&mut store, &component);
                assert_eq!(made.is_ok(), fits, "{instances} of ({what}): {:?}", made.err());
            }
        }
    }
}
