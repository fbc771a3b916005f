//! Which meters are compiled into a component: by its settings, and by what it contains.

use glasshouse_model::settings::Metering;
use wasmparser::{CanonicalFunction, Encoding, Parser, Payload};

/// The meters in a component's compiled code. Both cost half as much again on some loads, so a component has both only if it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Fuel counts, and yields.
    Fuel,
    /// Epochs yield; nothing is counted.
    Epochs,
    /// Fuel counts, epochs yield: for a component made of components that call each other. What passes between them is copied and
    /// transcoded by the engine, for which no fuel is used.
    FuelAndEpochs,
}

impl Flavour {
    const ALL: [Self; 3] = [Self::Fuel, Self::Epochs, Self::FuelAndEpochs];

    /// One word, by which the process that compiles is told.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Epochs => "epochs",
            Self::FuelAndEpochs => "fuel-and-epochs",
        }
    }

    /// The flavour of that word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flavour| flavour.word() == word)
    }

    /// The flavour of all components with a mode but for those that contain components which call each other.
    pub(crate) fn usual(metering: Metering) -> Self {
        match metering {
            Metering::Fuel => Self::Fuel,
            Metering::Cpu => Self::Epochs,
        }
    }

    /// The flavour that a component needs.
    pub(crate) fn of(metering: Metering, component: &[u8]) -> Self {
        match Self::usual(metering) {
            Self::Fuel if is_composed(component) => Self::FuelAndEpochs,
            usual => usual,
        }
    }

    pub(crate) fn counts_fuel(self) -> bool {
        self != Self::Epochs
    }

    pub(crate) fn has_epochs(self) -> bool {
        self != Self::Fuel
    }
}

/// Whether functions of a component may be called by a component inside it, or the other way round: one inside lifts or lowers.
/// (A component that lowers what itself has lifted traps when it is called.) Bytes after damage are not looked at, since such a
/// component does not compile.
fn is_composed(component: &[u8]) -> bool {
    let mut around = Vec::new();
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::Version { encoding, .. } => around.push(encoding),
            Payload::End(_) => drop(around.pop()),
            Payload::ComponentCanonicalSection(functions) if inner(&around) => {
                let calls =
                    |function| matches!(function, CanonicalFunction::Lift { .. } | CanonicalFunction::Lower { .. });
                if functions.into_iter().map_while(Result::ok).any(calls) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Whether what is parsed lies in a component inside of another.
fn inner(around: &[Encoding]) -> bool {
    around.iter().filter(|encoding| **encoding == Encoding::Component).count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(metering: Metering, text: &str, expect: Flavour) {
        let bytes = wat::parse_str(text).expect("it assembles");
        assert_eq!(Flavour::of(metering, &bytes), expect, "{text}");
    }

    const CORE: &str = r#"(core module $m (func (export "f"))) (core instance $i (instantiate $m))"#;

    #[test]
    fn only_components_that_contain_callable_components_pay_for_both_meters() {
        check(Metering::Fuel, "(component)", Flavour::Fuel);
        let flat = format!(r#"(component {CORE} (func (export "f") (canon lift (core func $i "f"))))"#);
        check(Metering::Fuel, &flat, Flavour::Fuel);
        // Language tools put an instance's exports together by such a component.
        let shim = r#"(component (import "f" (func $f)) (export "g" (func $f)))"#;
        check(Metering::Fuel, &format!("(component {shim})"), Flavour::Fuel);
        let composed = format!("(component (component {CORE}) {flat})");
        check(Metering::Fuel, &composed, Flavour::FuelAndEpochs);
        check(Metering::Cpu, &composed, Flavour::Epochs);
        let lowers =
            r#"(component (component (component (import "f" (func $f)) (core func (canon lower (func $f))))))"#;
        check(Metering::Fuel, lowers, Flavour::FuelAndEpochs);
    }

    #[test]
    fn damage_ends_the_search_without_a_panic() {
        let bytes = wat::parse_str(format!("(component (component {CORE}))")).expect("it assembles");
        for end in 0..bytes.len() {
            assert_eq!(Flavour::of(Metering::Fuel, &bytes[..end]), Flavour::Fuel);
        }
    }
}
