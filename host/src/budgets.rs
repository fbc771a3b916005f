//! What is used of an extension's budgets, as far as the host counts it.

use glasshouse_model::config::Setting;
use glasshouse_model::limits;
use glasshouse_model::standing::{CallBudget, Rate};

use crate::extension::Extension;

/// What is said of the longest text, in whose place a shorter one may stand as long as both are short.
const AT_LEAST: &str = "peak: at least; of records up to 256 bytes only the longest are looked at";

/// A budget and what is used of it.
#[derive(Clone, Debug)]
pub struct BudgetUse {
    /// Its value and where that comes from.
    pub setting: Setting,
    /// What is used of it now, or was by the last call: units of fuel, nanoseconds, bytes or a count.
    pub used: Option<u64>,
    /// What may be used, in the same unit; of a rate, in a window.
    pub limit: Option<u64>,
    /// The most that was used since the start.
    pub peak: Option<u64>,
}

impl Extension {
    /// Its budgets, with what is used of each.
    pub fn budgets(&self) -> Vec<BudgetUse> {
        let budgets = self.present_config().into_iter().filter(|setting| setting.key.starts_with("budget."));
        budgets.map(|setting| self.budget_use(setting)).collect()
    }

    fn budget_use(&self, mut setting: Setting) -> BudgetUse {
        let settings = self.settings();
        let (budget, uses) = (&settings.budget, self.uses());
        let call = CallBudget::ALL.iter().find(|budget| budget.key() == setting.key);
        let rate = Rate::ALL.iter().find(|rate| rate.key() == setting.key);
        let (telemetry, may_record) = (self.telemetry_use(), &budget.telemetry);
        let (held, of_host) = (self.host_memory(), self.host_use());
        let known = |used: u64, limit: u64, peak: u64| (Some(used), Some(limit), Some(peak));
        // Between calls nothing of it is used, so that only the most is told.
        let at_most = |limit: usize, peak: u64| (None, Some(limit as u64), Some(peak));
        let (used, limit, peak) = match (call, rate, setting.key.as_str()) {
            (Some(call), ..) => (Some(uses.last(*call)), Some(call.limit(budget)), Some(uses.peak(*call))),
            (_, Some(rate), _) => {
                let used = uses.in_window(*rate, self.monotonic_nanos());
                (Some(used), Some(rate.limit(budget)), Some(uses.highest(*rate)))
            }
            (.., "budget.mailbox") => known(self.waiting() as u64, budget.mailbox as u64, of_host.waiting_calls_peak),
            (.., "budget.table_elements") => {
                known(held.table_elements, budget.table_elements as u64, of_host.table_elements_peak)
            }
            (.., "budget.handles") => known(held.handles, budget.handles as u64, of_host.handles_peak),
            (.., "budget.instances") => {
                known(held.core_instances, budget.instances as u64, of_host.core_instances_peak)
            }
            (.., "budget.memories") => known(held.memories, budget.memories as u64, of_host.memories_peak),
            (.., "budget.resources") => known(held.resources, budget.resources as u64, of_host.resources_peak),
            (.., "budget.host_calls_per_call") => {
                known(of_host.host_calls, budget.host_calls_per_call, of_host.host_calls_peak)
            }
            (.., "budget.records_per_second") => {
                known(telemetry.records_per_second, may_record.records_per_second, telemetry.records_per_second_peak)
            }
            (.., "budget.record_bytes_per_second") => {
                known(telemetry.bytes_per_second, may_record.bytes_per_second, telemetry.bytes_per_second_peak)
            }
            (.., "budget.fields_per_record") => at_most(may_record.fields, telemetry.fields_peak),
            (.., "budget.string_bytes") => {
                let peak = telemetry.text_peak_bytes;
                if peak <= limits::UNCUT_BYTES as u64 {
                    setting.note.get_or_insert_with(|| AT_LEAST.to_owned());
                }
                (None, Some(may_record.string_bytes), Some(peak))
            }
            // They become never fewer.
            (.., "budget.metrics") => known(telemetry.metrics, may_record.metrics.into(), telemetry.metrics),
            (.., "budget.series_per_metric") => {
                let most = telemetry.series_per_metric;
                known(most, may_record.series_per_metric.into(), most)
            }
            (.., "budget.open_spans") => at_most(may_record.open_spans, telemetry.open_spans_peak),
            (.., "budget.span_depth") => at_most(may_record.span_depth, telemetry.span_depth_peak),
            (.., "budget.failures_in_a_row") => {
                (Some(uses.failures_in_a_row()), Some(u64::from(budget.failures_in_a_row)), None)
            }
            _ => (None, None, None),
        };
        BudgetUse { setting, used, limit, peak }
    }
}
