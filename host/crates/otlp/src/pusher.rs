//! What pushes: a task in which each service has a loop of its own, so that one that is slow or away holds up no other.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use glasshouse_export::Source;
use glasshouse_model::config::{OtlpProtocol, OtlpService, OtlpSettings};
use glasshouse_model::{Clock, Signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::grpc;
use crate::keeper::Keeper;
use crate::lane::Lane;
use crate::report::{Report, ServiceReport, Witness};
use crate::shared::{Line, Shared};
use crate::teller::Teller;

/// What is pushed, where, and who is told.
pub struct Pushing {
    /// Where and how.
    pub settings: OtlpSettings,
    /// What is stored of each extension, the host's own among them.
    pub sources: Vec<Source>,
    /// Where it is kept how far what is pushed came; nowhere if what is stored is not kept either.
    pub data_dir: Option<PathBuf>,
    /// How often the counts are stored.
    pub metrics_interval: Duration,
    /// The host's time.
    pub clock: Arc<dyn Clock>,
    /// Who is told.
    pub witness: Arc<dyn Witness>,
}

/// Pushes until it is told to stop.
pub struct Pusher {
    shared: Arc<Shared>,
    teller: Arc<Teller>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Pusher {
    /// Starts to push; `None` if there is nothing to push, or nowhere to push it to.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(pushing: Pushing) -> Option<Self> {
        let Pushing { settings, sources, data_dir, metrics_interval, clock, witness } = pushing;
        let settings = Arc::new(settings);
        let is_used = |service| Signal::ALL.iter().any(|signal| settings.service(*signal) == Some(service));
        let used = OtlpService::ALL.iter().filter(|service| is_used(**service));
        let clients: Vec<_> = used
            .filter_map(|service| Some((*service, Client::new(&settings, *service, settings.endpoint(*service)?))))
            .collect();
        if clients.is_empty() {
            return None;
        }
        let services = clients.iter().map(|(service, client)| ServiceReport {
            service: *service,
            endpoint: shown_endpoint(&settings, *service, client),
            last_accepted: None,
            failing: None,
        });
        let services = services.collect();
        let mut lines = Vec::new();
        for source in sources {
            for signal in Signal::ALL {
                let service = settings.service(*signal);
                let lane = clients.iter().position(|(used, _)| Some(*used) == service);
                lines.extend(lane.map(|lane| Line::new(source.clone(), *signal, lane)));
            }
        }
        let shared = Arc::new(Shared::new(settings, lines, services, clock));
        let teller = Arc::new(Teller::new(metrics_interval, witness));
        let (stop, stopped) = watch::channel(false);
        let (of_all, tells) = (Arc::clone(&shared), Arc::clone(&teller));
        let task = tokio::spawn(async move {
            let keeper = Arc::new(Keeper::open(Arc::clone(&of_all), Arc::clone(&tells), data_dir).await);
            let run = |(index, (service, client))| {
                let (shared, keeper, teller) = (Arc::clone(&of_all), Arc::clone(&keeper), Arc::clone(&tells));
                Lane::new(index, service, client, shared, keeper, teller).run(stopped.clone())
            };
            // They end with this task.
            join_all(clients.into_iter().enumerate().map(run)).await;
        });
        Some(Self { shared, teller, stop, task: Mutex::new(Some(task)) })
    }

    /// How it goes.
    pub fn report(&self) -> Report {
        self.shared.report()
    }

    /// Sends what is still to be sent, to those who take it at once, tells how that went, and ends. What is not sent within the limit is sent by the next host on
    /// the data directory.
    pub async fn finish(&self, limit: Duration) {
        self.stop.send_replace(true);
        let Some(mut task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if tokio::time::timeout(limit, &mut task).await.is_err() {
            task.abort();
            // Its end is waited for, so that nothing is sent any more once this returns.
            let _ = task.await;
        }
        self.teller.tell(&self.shared, true);
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// Where a service is, for people: a gRPC endpoint has no path of its own.
fn shown_endpoint(settings: &OtlpSettings, service: OtlpService, client: &Client) -> String {
    let mut endpoint = client.endpoint().clone();
    if settings.protocol() == OtlpProtocol::Grpc {
        grpc::path(service).clone_into(&mut endpoint.path);
    }
    endpoint.to_string()
}
