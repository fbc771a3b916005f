//! Keeps how far lines came: one writer at a time for all services, since an extension's lines are in one file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::cursors::{Cursors, Place};
use crate::resumed::{Resumed, resumed};
use crate::shared::{Shared, Spot};
use crate::teller::Teller;

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    teller: Arc<Teller>,
    /// `None` if it is not kept.
    files: Option<Arc<Mutex<Files>>>,
}

struct Files {
    cursors: Cursors,
    /// How far signals of extensions were pushed that are not pushed at present, for when they are again.
    aside: BTreeMap<String, Vec<Place>>,
}

impl Keeper {
    /// Goes on where an earlier host stopped, as far as that is known.
    pub(crate) async fn open(shared: Arc<Shared>, teller: Arc<Teller>, data_dir: Option<PathBuf>) -> Self {
        let mut keeper = Self { shared, teller, files: None };
        let Some(data_dir) = data_dir else { return keeper };
        let opened = tokio::task::spawn_blocking(move || {
            Cursors::open(&data_dir).map_err(|error| {
                format!("how far what is pushed came cannot be kept in {}: {error}", data_dir.display())
            })
        });
        match opened.await {
            Ok(Ok(cursors)) => {
                for line in &keeper.shared.lines {
                    line.set(Spot { is_known: false, ..line.spot() });
                }
                keeper.files = Some(Arc::new(Mutex::new(Files { cursors, aside: BTreeMap::new() })));
            }
            Ok(Err(why)) => keeper.trouble(why),
            // The runtime ends, and this task with it.
            Err(_) => {}
        }
        keeper.read().await;
        keeper
    }

    /// Reads how far the extensions came of which that is still to be read.
    pub(crate) async fn read(&self) {
        let Some(files) = self.files.clone() else { return };
        let mut files = files.lock_owned().await;
        if self.shared.is_all_known() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        // Who is to end while it reads leaves it to end, and nobody else begins before.
        let read = tokio::task::spawn_blocking(move || {
            let Resumed { places, aside, trouble } = resumed(&files.cursors, &shared);
            files.aside.extend(aside);
            for (index, (next, until)) in places {
                shared.lines[index].set(Spot { next, until, is_known: true });
            }
            trouble
        });
        // It fails only when the runtime ends, and this task with it.
        let Ok(trouble) = read.await else { return };
        if trouble.is_empty() {
            self.shared.change(|report| report.cursors = None);
        }
        for why in trouble {
            self.trouble(why);
        }
    }

    /// Keeps how far the extension of a line came.
    pub(crate) async fn keep(&self, index: usize) {
        let Some(files) = self.files.clone() else { return };
        let files = files.lock_owned().await;
        let (shared, is_all_known) = (Arc::clone(&self.shared), self.shared.is_all_known());
        let kept = tokio::task::spawn_blocking(move || {
            let extension = shared.lines[index].source.extension();
            // What others of it have come to meanwhile is right as well.
            let places = shared.lines.iter().filter(|line| line.is_of(extension)).map(|line| {
                let Spot { next, until, .. } = line.spot();
                Place { cursor: line.source.reader(line.signal).cursor(extension, next - 1), until }
            });
            let aside = files.aside.get(extension).into_iter().flatten().cloned();
            let places: Vec<_> = places.chain(aside).collect();
            let kept = files.cursors.write(extension, &places);
            kept.map_err(|error| format!("how far the telemetry of {extension} was pushed cannot be kept: {error}"))
        });
        match kept.await {
            Ok(Ok(())) if is_all_known => self.shared.change(|report| report.cursors = None),
            Ok(Err(why)) => self.trouble(why),
            // What is told is still so, or the runtime ends, and this task with it.
            Ok(Ok(())) | Err(_) => {}
        }
    }

    /// Notes that it cannot be kept, or is not known, how far what is pushed came.
    fn trouble(&self, why: String) {
        self.shared.change(|report| report.cursors = Some(why.clone()));
        self.teller.cursors(why);
    }
}
