//! What a component may consist of, counted in one pass before anything looks at it more closely.

use std::ops::ControlFlow;

use glasshouse_model::text;
use wasmparser::{ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentTypeRef};
use wasmparser::{ComponentInstance, Instance, KnownCustom, Parser, Payload};

/// Components within components. Tools nest two or three deep, and each composition adds one.
const NESTING: u64 = 32;
/// Functions of all core modules. The largest honest extensions, interpreters with their libraries, have some 40,000; as
/// many as this take a compiler most of a minute.
const FUNCTIONS: u64 = 100_000;
/// Local variables that functions declare: a few bytes declare 50,000, and the compiler keeps a table of them for each
/// function. Honest functions have ten or so.
const LOCALS: u64 = 5_000_000;
/// Imports of all core modules, and their exports: shared libraries of an interpreter have thousands each.
const CORE_NAMES: u64 = 100_000;
/// Imports of one component, and its exports. All of WASI are some thirty.
const NAMES: u64 = 1_000;
/// Types of all components and modules. Those of large worlds are some thousands.
const TYPES: u64 = 200_000;
/// Core modules. An interpreter has one for each of its shared libraries.
const MODULES: u64 = 200;
/// Instances, aliases, imports, exports and lifted or lowered functions, where what is instantiated several times counts as
/// often: the compiler lays all of them out flat. A kilobyte of nested instantiations makes millions; interpreters have
/// some thousands.
const ITEMS: u64 = 100_000;
/// Bytes of data segments. An interpreter that was initialised when it was built carries some 30 MiB.
const DATA_BYTES: u64 = 128 << 20;
/// Bytes of name sections, which are kept as long as the component is loaded. Large honest ones have a few MiB.
const NAME_BYTES: u64 = 32 << 20;

/// What has too many or too much of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// More of something than is accepted.
    #[error("it has {} {what}; up to {} are accepted", text::count(*.found), text::count(*.limit))]
    Count {
        /// Of what, in the plural.
        what: &'static str,
        /// How many, or so many at least.
        found: u64,
        /// How many are accepted.
        limit: u64,
    },
    /// More bytes of something than are accepted.
    #[error("it has {} of {what}; up to {} are accepted", text::bytes(*.found), text::bytes(*.limit))]
    Bytes {
        /// Of what.
        what: &'static str,
        /// Bytes, or so many at least.
        found: u64,
        /// Bytes that are accepted.
        limit: u64,
    },
    /// A component that is instantiated is not one of the file's own, so that its size is not known.
    #[error("it instantiates a component that it imports or takes from an instance, which is not supported")]
    Foreign,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes of code in all modules.
    pub(crate) code_bytes: u64,
}

/// Counts what a component consists of. What is damaged is counted up to the damage; whether a component is valid is for
/// the compiler to say.
pub(crate) fn check(component: &[u8]) -> Result<Extent, TooMuch> {
    let mut counted = Counted::default();
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        if counted.add(&payload)?.is_break() {
            break;
        }
    }
    Ok(counted.extent)
}

#[derive(Default)]
struct Counted {
    extent: Extent,
    /// The components and modules that are being read, outermost first.
    open: Vec<Level>,
    functions: u64,
    locals: u64,
    core_imports: u64,
    core_exports: u64,
    types: u64,
    modules: u64,
    data_bytes: u64,
    name_bytes: u64,
}

/// A component or a module while it is read.
#[derive(Default)]
struct Level {
    is_module: bool,
    imports: u64,
    exports: u64,
    /// What instantiating it once comes to.
    items: u64,
    /// The same for each component of its index space; `None` where that is not known.
    components: Vec<Option<u64>>,
}

impl Counted {
    /// Counts a part. Breaks off where it is damaged.
    fn add(&mut self, payload: &Payload<'_>) -> Result<ControlFlow<()>, TooMuch> {
        let count = |section: u32| u64::from(section);
        match payload {
            Payload::Version { .. } => {
                if self.open.is_empty() {
                    self.open.push(Level::default());
                }
            }
            Payload::ModuleSection { .. } => {
                add("core modules", &mut self.modules, 1, MODULES)?;
                self.open.push(Level { is_module: true, ..Level::default() });
            }
            Payload::ComponentSection { .. } => {
                self.open.push(Level::default());
                within("components within each other", self.open.len() as u64 - 1, NESTING)?;
            }
            Payload::End(_) => {
                if let Some(done) = self.open.pop()
                    && !done.is_module
                    && let Some(outer) = self.open.last_mut()
                {
                    outer.components.push(Some(done.items));
                }
            }
            Payload::TypeSection(types) => add("types", &mut self.types, count(types.count()), TYPES)?,
            Payload::CoreTypeSection(types) => add("types", &mut self.types, count(types.count()), TYPES)?,
            Payload::ComponentTypeSection(types) => add("types", &mut self.types, count(types.count()), TYPES)?,
            Payload::ImportSection(imports) => {
                add("imports of core modules", &mut self.core_imports, count(imports.count()), CORE_NAMES)?;
            }
            Payload::ExportSection(exports) => {
                add("exports of core modules", &mut self.core_exports, count(exports.count()), CORE_NAMES)?;
            }
            Payload::FunctionSection(functions) => {
                add("functions", &mut self.functions, count(functions.count()), FUNCTIONS)?;
            }
            Payload::CodeSectionStart { size, .. } => self.extent.code_bytes += count(*size),
            Payload::CodeSectionEntry(body) => {
                let Ok(locals) = body.get_locals_reader() else { return Ok(ControlFlow::Break(())) };
                for (declared, _) in locals.into_iter().map_while(Result::ok) {
                    add("local variables", &mut self.locals, count(declared), LOCALS)?;
                }
            }
            Payload::DataSection(data) => {
                let bytes = data.range().len() as u64;
                self.data_bytes += bytes;
                bytes_of("data segments", self.data_bytes, DATA_BYTES)?;
            }
            Payload::CustomSection(custom)
                if matches!(custom.as_known(), KnownCustom::Name(_) | KnownCustom::ComponentName(_)) =>
            {
                self.name_bytes += custom.data().len() as u64;
                bytes_of("name sections", self.name_bytes, NAME_BYTES)?;
            }
            other => {
                if let Some(level) = self.open.last().map(|_| self.open.len() - 1) {
                    return self.add_item(level, other);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Counts what a component is wired up with.
    fn add_item(&mut self, at: usize, payload: &Payload<'_>) -> Result<ControlFlow<()>, TooMuch> {
        let (outer, here) = self.open.split_at_mut(at);
        let level = &mut here[0];
        macro_rules! each {
            ($section:expr, |$item:ident| $body:expr) => {
                for $item in $section.clone() {
                    let Ok($item) = $item else { return Ok(ControlFlow::Break(())) };
                    $body
                }
            };
        }
        let items = "instances and what they are wired up with";
        match payload {
            Payload::InstanceSection(instances) => each!(instances, |instance| {
                let parts = match instance {
                    Instance::Instantiate { args, .. } => args.len(),
                    Instance::FromExports(exports) => exports.len(),
                };
                add(items, &mut level.items, 1 + parts as u64, ITEMS)?;
            }),
            Payload::ComponentInstanceSection(instances) => each!(instances, |instance| {
                let (inner, parts) = match instance {
                    ComponentInstance::FromExports(exports) => (0, exports.len()),
                    ComponentInstance::Instantiate { component_index, args } => {
                        match level.components.get(component_index as usize) {
                            Some(Some(items)) => (*items, args.len()),
                            Some(None) => return Err(TooMuch::Foreign),
                            None => return Ok(ControlFlow::Break(())),
                        }
                    }
                };
                add(items, &mut level.items, inner + 1 + parts as u64, ITEMS)?;
            }),
            Payload::ComponentAliasSection(aliases) => each!(aliases, |alias| {
                add(items, &mut level.items, 1, ITEMS)?;
                match alias {
                    ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count: 0, index } => {
                        let known = level.components.get(index as usize).copied().flatten();
                        level.components.push(known);
                    }
                    ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                        let found = outer.len().checked_sub(count as usize).and_then(|at| outer.get(at));
                        let known = found.and_then(|level| level.components.get(index as usize)).copied().flatten();
                        level.components.push(known);
                    }
                    ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                        level.components.push(None);
                    }
                    _ => {}
                }
            }),
            Payload::ComponentCanonicalSection(functions) => {
                add(items, &mut level.items, u64::from(functions.count()), ITEMS)?;
            }
            Payload::ComponentImportSection(imports) => each!(imports, |import| {
                add("imports", &mut level.imports, 1, NAMES)?;
                add(items, &mut level.items, 1, ITEMS)?;
                if matches!(import.ty, ComponentTypeRef::Component(_)) {
                    level.components.push(None);
                }
            }),
            Payload::ComponentExportSection(exports) => each!(exports, |export| {
                add("exports", &mut level.exports, 1, NAMES)?;
                add(items, &mut level.items, 1, ITEMS)?;
                // What is exported has a second index.
                if export.kind == ComponentExternalKind::Component {
                    let known = level.components.get(export.index as usize).copied().flatten();
                    level.components.push(known);
                }
            }),
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn add(what: &'static str, total: &mut u64, more: u64, limit: u64) -> Result<(), TooMuch> {
    *total += more;
    within(what, *total, limit)
}

fn within(what: &'static str, found: u64, limit: u64) -> Result<(), TooMuch> {
    if found > limit { Err(TooMuch::Count { what, found, limit }) } else { Ok(()) }
}

fn bytes_of(what: &'static str, found: u64, limit: u64) -> Result<(), TooMuch> {
    if found > limit { Err(TooMuch::Bytes { what, found, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use wasm_encoder::{
        CodeSection, Component, Function, FunctionSection, Module, ModuleSection, TypeSection, ValType,
    };

    use super::*;

    fn check_text(text: &str, expect: Result<(), &str>) {
        let bytes = wat::parse_str(text).expect("it assembles");
        let found = check(&bytes).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(found, expect.map_err(str::to_owned), "{text:.200}");
    }

    /// Components that each instantiate the one before twice.
    fn doubling(levels: usize) -> String {
        let mut text = "(component (component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
        for level in 1..=levels {
            let before = level - 1;
            let _ = write!(
                text,
                "(component $c{level} (alias outer 1 $c{before} (component $x)) (instance (instantiate $x)) \
                 (instance (instantiate $x)))"
            );
        }
        text + &format!("(instance (instantiate $c{levels})))")
    }

    #[test]
    fn what_is_instantiated_again_and_again_counts_as_often() {
        check_text(&doubling(8), Ok(()));
        let text = doubling(40);
        assert!(text.len() < 8_000);
        let bytes = wat::parse_str(&text).expect("it assembles");
        let Err(TooMuch::Count { found, limit: ITEMS, .. }) = check(&bytes) else { panic!("it is refused") };
        assert!(found < 3 * ITEMS, "it stops at the first that is too much: {found}");
    }

    #[test]
    fn a_component_of_unknown_size_is_not_instantiated() {
        let refused =
            Err("it instantiates a component that it imports or takes from an instance, which is not supported");
        check_text("(component (import \"c\" (component $c)) (instance (instantiate $c)))", refused);
        check_text("(component (import \"c\" (component $c)) (export \"d\" (component $c)))", Ok(()));
        check_text("(component (component $c) (export $d \"d\" (component $c)) (instance (instantiate $d)))", Ok(()));
    }

    /// A component of one module with so many functions, each with as many local variables.
    fn functions(count: u32, locals: u32) -> Vec<u8> {
        let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
        types.ty().function([], []);
        for _ in 0..count {
            functions.function(0);
            let mut body = Function::new([(locals, ValType::I64)]);
            body.instructions().end();
            code.function(&body);
        }
        let mut component = Component::new();
        component.section(&ModuleSection(Module::new().section(&types).section(&functions).section(&code)));
        component.finish()
    }

    #[test]
    fn each_bound_names_what_was_found_and_what_is_accepted() {
        let told =
            |component: &[u8]| check(component).expect_err("it is too much").to_string().replace('\u{202f}', " ");
        assert!(check(&functions(1000, 10)).expect("it is usual").code_bytes > 1000);
        assert_eq!(told(&functions(100_001, 0)), "it has 100 001 functions; up to 100 000 are accepted");
        assert_eq!(told(&functions(101, 50_000)), "it has 5 050 000 local variables; up to 5 000 000 are accepted");
        let repeated = |part: &str, times: usize, end: &str| {
            let text = format!("(component{}{})", part.repeat(times), end.repeat(times));
            told(&wat::parse_str(text).expect("it assembles"))
        };
        let nested = "it has 33 components within each other; up to 32 are accepted";
        assert_eq!(repeated("(component", 33, ")"), nested);
        assert_eq!(repeated("(core module)", 201, ""), "it has 201 core modules; up to 200 are accepted");
        let mut imports = String::new();
        for number in 0..1001 {
            let _ = write!(imports, "(import \"i{number}\" (func))");
        }
        assert_eq!(repeated(&imports, 1, ""), "it has 1 001 imports; up to 1 000 are accepted");
        let aliases = "(core instance) ".repeat(50_001);
        let told = repeated(&aliases, 2, "");
        assert!(told.starts_with("it has 100 001 instances and what they are wired up with;"), "{told}");
    }

    #[test]
    fn what_is_damaged_is_counted_up_to_the_damage() {
        let bytes = wat::parse_str("(component (core module (func)) (core module (func)))").expect("it assembles");
        for length in 0..bytes.len() {
            check(&bytes[..length]).expect("there is little in it");
        }
        check(b"").expect("there is nothing in it");
    }
}
