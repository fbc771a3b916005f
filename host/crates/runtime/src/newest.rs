//! The newest of what a call made, for as long as nobody knows whether it is stored: when the newer half is full, the older one goes, so that
//! of a call that fails there is what came before that.

/// Items with two encoded parts each, of which those of two halves are kept, of so many bytes each.
pub(crate) struct Newest<T, const HALF_BYTES: usize> {
    older: Half<T>,
    newer: Half<T>,
    /// Items that had to go.
    gone: u64,
}

struct Half<T> {
    /// Each with the lengths of its parts.
    items: Vec<(T, [usize; 2])>,
    /// The parts, one after the other.
    bytes: Vec<u8>,
}

impl<T> Default for Half<T> {
    fn default() -> Self {
        Self { items: Vec::new(), bytes: Vec::new() }
    }
}

impl<T, const HALF_BYTES: usize> Default for Newest<T, HALF_BYTES> {
    fn default() -> Self {
        Self { older: Half::default(), newer: Half::default(), gone: 0 }
    }
}

impl<T> Half<T> {
    const ITEM_BYTES: usize = size_of::<(T, [usize; 2])>();

    #[inline]
    fn bytes_with(&self, bytes: usize) -> usize {
        self.bytes.len() + bytes + (self.items.len() + 1) * Self::ITEM_BYTES
    }

    fn each(&self) -> impl Iterator<Item = (&T, [&[u8]; 2])> {
        let mut rest = self.bytes.as_slice();
        self.items.iter().map(move |(item, lengths)| {
            let parts = lengths.map(|length| {
                let (part, others) = rest.split_at(length);
                rest = others;
                part
            });
            (item, parts)
        })
    }

    fn clear(&mut self) -> u64 {
        self.bytes.clear();
        self.items.drain(..).len() as u64
    }

    fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + self.items.capacity() * Self::ITEM_BYTES
    }
}

impl<T, const HALF_BYTES: usize> Newest<T, HALF_BYTES> {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.newer.items.is_empty()
    }

    /// Adds an item. Alone it may be longer than a half.
    #[inline]
    pub(crate) fn add(&mut self, item: T, parts: [&[u8]; 2]) {
        if self.newer.bytes_with(parts[0].len() + parts[1].len()) > HALF_BYTES {
            self.turn();
        }
        for part in parts {
            self.newer.bytes.extend_from_slice(part);
        }
        self.newer.items.push((item, parts.map(<[u8]>::len)));
    }

    #[cold]
    fn turn(&mut self) {
        std::mem::swap(&mut self.older, &mut self.newer);
        self.gone += self.newer.clear();
    }

    /// What is there, the oldest first.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&T, [&[u8]; 2])> {
        self.older.each().chain(self.newer.each())
    }

    /// How many items are there, and how many had to go.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [(self.older.items.len() + self.newer.items.len()) as u64, self.gone]
    }

    /// Forgets all. Its memory is kept for the next call, if that is no more than so many bytes.
    pub(crate) fn clear(&mut self, kept_bytes: usize) {
        if self.older.capacity_bytes() + self.newer.capacity_bytes() > kept_bytes {
            *self = Self::default();
        } else {
            self.older.clear();
            self.newer.clear();
            self.gone = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_half_is_always_there_in_order_and_what_had_to_go_is_counted() {
        const HALF: usize = 1_000;
        let mut newest = Newest::<u32, HALF>::default();
        for number in 0..500_u32 {
            let length = (number % 7) as usize;
            newest.add(number, [&b"context"[..length], &b"body of it"[..length + 3]]);
            assert!(newest.older.bytes.len() + newest.newer.bytes.len() <= 2 * HALF);
            let found: Vec<_> = newest.each().map(|(number, _)| *number).collect();
            let [kept, gone] = newest.counts();
            assert_eq!((found.len() as u64, kept + gone), (kept, u64::from(number) + 1));
            assert!(found.iter().copied().eq(gone as u32..=number), "the newest, in order");
            assert!(gone == 0 || found.len() >= HALF / (Half::<u32>::ITEM_BYTES + 15), "half of it at least");
        }
        for (number, [context, body]) in newest.each() {
            let length = (number % 7) as usize;
            assert_eq!((context, body), (&b"context"[..length], &b"body of it"[..length + 3]));
        }
        newest.add(500, [&[7; 3 * HALF], b""]);
        assert_eq!(newest.each().last(), Some((&500, [&[7; 3 * HALF][..], b""])), "whatever its length");
    }

    #[test]
    fn memory_is_kept_for_the_next_call_up_to_a_bound() {
        let mut newest = Newest::<u32, 1_000>::default();
        for (kept, is_kept) in [(2_000, true), (10, false)] {
            (0..20).for_each(|number| newest.add(number, [b"context", b"body"]));
            newest.clear(kept);
            assert!(newest.is_empty() && newest.counts() == [0, 0]);
            assert_eq!(newest.newer.capacity_bytes() > 0, is_kept);
        }
    }
}
