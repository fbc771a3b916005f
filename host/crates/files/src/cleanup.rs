//! Which of the files that were set aside are to go: by their age, their number, and their bytes.

use glasshouse_model::config::LogFileSettings;
use glasshouse_model::{LogTier, UnixNanos};

use crate::names::Rotated;

/// A file that was set aside, and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) file: Rotated,
    pub(crate) bytes: u64,
}

/// What is to go of these files, oldest first. `live` are the bytes of each tier's file that is written to.
pub(crate) fn surplus(
    mut files: Vec<Kept>,
    live: [u64; LogTier::COUNT],
    settings: &LogFileSettings,
    now: UnixNanos,
) -> Vec<Rotated> {
    files.sort_by_key(|kept| (kept.file.tier, kept.file.number));
    let age = i64::try_from(settings.keep_age.as_nanos()).unwrap_or(i64::MAX);
    let mut gone = Vec::new();
    let mut bytes = live;
    let mut left: [std::collections::VecDeque<Kept>; LogTier::COUNT] = Default::default();
    for kept in files {
        if now.0.saturating_sub(kept.file.time.0) > age {
            gone.push(kept.file);
        } else {
            bytes[kept.file.tier as usize] += kept.bytes;
            left[kept.file.tier as usize].push_back(kept);
        }
    }
    let mut give_up = |tier: usize, left: &mut std::collections::VecDeque<Kept>, bytes: &mut [u64]| {
        let oldest = left.pop_front();
        gone.extend(oldest.map(|kept| kept.file));
        bytes[tier] -= oldest.map_or(0, |kept| kept.bytes);
    };
    for (tier, left) in left.iter_mut().enumerate() {
        while left.len() > settings.keep_count {
            give_up(tier, left, &mut bytes);
        }
    }
    // The tier that takes most gives, so that a flood of what is everywhere does not end what is rare, such as security events.
    while bytes.iter().sum::<u64>() > settings.keep_bytes {
        let most = (0..LogTier::COUNT).filter(|tier| !left[*tier].is_empty()).max_by_key(|tier| bytes[*tier]);
        let Some(most) = most else { break };
        give_up(most, &mut left[most], &mut bytes);
    }
    gone
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn kept(tier: LogTier, number: u64, second: i64, bytes: u64) -> Kept {
        Kept { file: Rotated::new(tier, number, UnixNanos(second * SECOND)), bytes }
    }

    fn check(settings: &LogFileSettings, files: &[Kept], expect: &[(LogTier, u64)]) {
        let gone = surplus(files.to_vec(), [0; LogTier::COUNT], settings, UnixNanos(100 * SECOND));
        let gone: Vec<_> = gone.iter().map(|file| (file.tier, file.number)).collect();
        assert_eq!(gone, expect);
    }

    #[test]
    fn the_oldest_go_by_age_by_number_and_by_bytes() {
        use LogTier::{All, Security};
        let files = [kept(All, 10, 30, 50), kept(All, 9, 20, 50), kept(Security, 1, 10, 5), kept(All, 11, 40, 50)];
        let all = LogFileSettings::default();
        check(&all, &files, &[]);
        check(
            &LogFileSettings { keep_age: Duration::from_secs(75), ..all.clone() },
            &files,
            &[(All, 9), (Security, 1)],
        );
        check(&LogFileSettings { keep_count: 1, ..all.clone() }, &files, &[(All, 9), (All, 10)]);
        check(&LogFileSettings { keep_count: 0, ..all.clone() }, &files[2..3], &[(Security, 1)]);
        check(&LogFileSettings { keep_bytes: 105, ..all.clone() }, &files, &[(All, 9)]);
        check(&LogFileSettings { keep_bytes: 5, ..all }, &files, &[(All, 9), (All, 10), (All, 11)]);
    }

    proptest! {
        #[test]
        fn what_is_left_is_within_its_bounds_and_the_newest(
            files in prop::collection::vec((0..LogTier::COUNT, 1..50_u64, 0..100_i64, 0..1000_u64), 0..60),
            count in 0..20_usize, bytes in 0..20_000_u64, age in 1..100_u64, live in 0..1000_u64,
        ) {
            let mut files: Vec<_> =
                files.into_iter().map(|(tier, number, second, bytes)| kept(LogTier::ALL[tier], number, second, bytes)).collect();
            files.sort_by_key(|kept| (kept.file.tier, kept.file.number));
            files.dedup_by_key(|kept| (kept.file.tier, kept.file.number));
            let settings = LogFileSettings {
                keep_count: count, keep_bytes: bytes, keep_age: Duration::from_secs(age), ..LogFileSettings::default()
            };
            let gone = surplus(files.clone(), [live; LogTier::COUNT], &settings, UnixNanos(100 * SECOND));
            let left: Vec<_> = files.iter().filter(|kept| !gone.contains(&kept.file)).collect();
            prop_assert_eq!(left.len() + gone.len(), files.len());
            prop_assert!(left.iter().all(|kept| 100 * SECOND - kept.file.time.0 <= age as i64 * SECOND));
            for tier in LogTier::ALL {
                prop_assert!(left.iter().filter(|kept| kept.file.tier == *tier).count() <= count);
            }
            let total: u64 = left.iter().map(|kept| kept.bytes).sum::<u64>() + live * LogTier::COUNT as u64;
            prop_assert!(left.is_empty() || total <= bytes);
            // Of a tier nothing that is young enough goes while an older one stays.
            let is_young = |file: &Rotated| 100 * SECOND - file.time.0 <= age as i64 * SECOND;
            for file in gone.iter().filter(|file| is_young(file)) {
                prop_assert!(left.iter().all(|kept| kept.file.tier != file.tier || kept.file.number > file.number));
            }
        }
    }
}
