//! How large a request may be, as far as a collector has shown that.

/// Requests that are taken until a larger one is tried again: of what is sent, the one that may be too large is a small part, and a limit that
/// somebody raised is found within minutes.
const GROWS_AFTER: u32 = 16;

/// Bytes of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    most: usize,
    bytes: usize,
    taken: u32,
}

impl Room {
    /// What the configuration has as the most.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, bytes: most, taken: 0 }
    }

    /// Bytes of the next request before it is compressed, at most, unless it has a single record.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes that a request of so many bytes was too large: the next one has half of that.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        (self.bytes, self.taken) = (self.bytes.min(bytes) / 2, 0);
    }

    /// Notes that a request was taken.
    pub(crate) fn grow(&mut self) {
        self.taken = self.taken.saturating_add(1);
        if self.bytes < self.most && self.taken >= GROWS_AFTER {
            (self.bytes, self.taken) = (self.bytes.saturating_mul(2).clamp(1, self.most), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_halved_until_they_are_taken_and_grow_again_to_what_is_configured() {
        let mut room = Room::new(1000);
        for (was, expect) in [(990, 495), (400, 200), (1, 0), (1, 0)] {
            room.shrink(was);
            assert_eq!(room.bytes(), expect);
        }
        let mut sizes = vec![];
        for _ in 0..20 * GROWS_AFTER {
            room.grow();
            sizes.push(room.bytes());
        }
        assert_eq!((sizes[0], sizes[GROWS_AFTER as usize - 1], sizes[2 * GROWS_AFTER as usize]), (0, 1, 2));
        assert_eq!(sizes.last(), Some(&1000));
    }
}
