//! Bounds on what an instance's memories and tables may grow to.

use wasmtime::ResourceLimiter;

/// Elements of all tables of an instance; each is a pointer of host memory. Real programs have a few thousand.
const TABLE_ELEMENTS: usize = 1_000_000;
/// Core instances of a component. A language's tools make about four; Python, with one for each shared library, thirty.
const INSTANCES: usize = 100;
/// Memories of all core instances: each takes gigabytes of address space and a few system calls, whatever its size.
/// Real components have one or two.
const MEMORIES: usize = 16;
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

/// Counts an instance's memory and refuses what is beyond its budget.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: u64,
    bytes: u64,
    peak: u64,
    last_growth: u64,
    table_elements: usize,
    refusals: u32,
    wanted: u64,
}

impl Limiter {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, bytes: 0, peak: 0, last_growth: 0, table_elements: 0, refusals: 0, wanted: 0 }
    }

    /// Sets another limit for what is wanted from now on; what is there already stays.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Linear memory now.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The most linear memory so far.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// The most that was wanted and refused since the call started, if anything was.
    pub(crate) fn refused(&self) -> Option<u64> {
        (self.refusals > 0).then_some(self.wanted)
    }

    /// Forgets the refusals of the call before.
    pub(crate) fn start_call(&mut self) {
        self.refusals = 0;
        self.wanted = 0;
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        let wanted = self.bytes.saturating_add(growth);
        if wanted > self.limit || maximum.is_some_and(|maximum| desired > maximum) {
            self.refusals += 1;
            self.wanted = self.wanted.max(wanted);
            if self.refusals > REFUSALS {
                return Err(wasmtime::Error::new(MemoryRefused { limit: self.limit }));
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
        let wanted = self.table_elements.saturating_add(desired.saturating_sub(current));
        if wanted > TABLE_ELEMENTS || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.table_elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }

    fn tables(&self) -> usize {
        TABLES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_that_the_system_refuses_is_undone_in_the_count() {
        let mut limiter = Limiter::new(1000);
        assert!(limiter.memory_growing(0, 400, None).expect("no trap"));
        assert!(limiter.memory_growing(400, 900, None).expect("no trap"));
        limiter.memory_grow_failed(wasmtime::Error::msg("no memory")).expect("no trap");
        assert_eq!(limiter.bytes(), 400);
        assert!(limiter.memory_growing(400, 1000, None).expect("no trap"));
    }

    #[test]
    fn growth_past_the_budget_is_refused_and_a_guest_that_insists_is_ended() {
        let mut limiter = Limiter::new(1000);
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
    fn instances_memories_and_tables_are_bounded_in_a_store() {
        let engine = crate::engine::engine(crate::flavour::Flavour::Fuel).expect("an engine");
        for (what, allowed, of_one) in
            [("(memory 0)", MEMORIES, MEMORIES), ("(table 0 funcref)", TABLES, 10), ("", INSTANCES, 1)]
        {
            for (instances, fits) in [(allowed / of_one, true), (allowed / of_one + 1, false)] {
                let text = format!(
                    "(component (core module $m {}) {})",
                    what.repeat(if what.is_empty() { 0 } else { of_one }),
                    "(core instance (instantiate $m))".repeat(instances)
                );
                let bytes = wat::parse_str(&text).expect("it assembles");
                let component = wasmtime::component::Component::new(&engine, bytes).expect("it compiles");
                let mut store = wasmtime::Store::new(&engine, Limiter::new(u64::MAX));
                store.limiter(|limiter| limiter);
                store.set_fuel(1_000_000).expect("fuel is counted");
                let made = wasmtime::component::Linker::<Limiter>::new(&engine).instantiate(&mut store, &component);
                assert_eq!(made.is_ok(), fits, "{instances} of ({what}): {:?}", made.err());
            }
        }
    }
}
