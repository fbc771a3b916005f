//! Structs whose changes are told.

use std::ops::{Deref, DerefMut};
use std::panic::Location;

use glasshouse_wire::{self as wire, Field, Level, Source, Value};

use crate::{enabled, log};

/// A struct whose changes are told: which field, the old value and the new one, and where in the source.
///
/// `#[derive(Tracked)]` on a struct with named fields gives it a setter for each field, `set_total(&mut self, total: u32)`, as
/// visible as the field, and [`track`](Tracked::track) for changes of any other kind. A change is a log at level debug
/// (`#[tracked(level = Info)]` on the struct for another) such as `Cart.total changed` with the fields `old.total` and `new.total`.
/// A value that stays as it was, as far as it shows, is no change.
///
/// Numbers, booleans, `str` and `String` are told as they are, and other types by their `Debug` form. On a field,
/// `#[tracked(skip)]` leaves it out, `#[tracked(display)]` takes its `Display` form, `#[tracked(debug)]` its `Debug` form, and
/// `#[tracked(value)]` its [`ToValue`](crate::ToValue).
///
/// Where the level is off, a setter only sets, and `track` only borrows: nothing is copied, compared, formatted or sent.
///
/// ```
/// use glasshouse_sdk::Tracked;
///
/// #[derive(Tracked)]
/// struct Cart {
///     total: u32,
///     items: Vec<String>,
///     #[tracked(skip)]
///     cache: Vec<u8>,
/// }
///
/// let mut cart = Cart { total: 0, items: Vec::new(), cache: Vec::new() };
/// cart.set_total(3); // "Cart.total changed" old.total=0 new.total=3
/// let mut guard = cart.track();
/// guard.items.push("tea".to_owned());
/// guard.total += 2;
/// drop(guard); // "Cart.total changed" old.total=3 new.total=5, "Cart.items changed" old.items=[] new.items=["tea"]
/// # assert_eq!(cart.total, 5);
/// ```
#[diagnostic::on_unimplemented(
    message = "changes of `{Self}` are not tracked",
    note = "write `#[derive(glasshouse_sdk::Tracked)]` on the struct"
)]
pub trait Tracked {
    /// What is told of, and how. The derive macro writes it.
    #[doc(hidden)]
    const PLAN: &'static TrackedPlan;

    /// Gives the values of the fields in the order of the plan. The derive macro writes it.
    #[doc(hidden)]
    fn each(&self, each: &mut dyn FnMut(Value<'_>));

    /// Lends the struct out; what has changed by the time that it is given back is told, at the line of this call.
    ///
    /// A call that traps meanwhile does not tell.
    #[inline]
    #[track_caller]
    fn track(&mut self) -> Tracking<'_, Self>
    where
        Self: Sized,
    {
        let before =
            if enabled(Self::PLAN.level) { Some(Before { values: kept(self), source: caller() }) } else { None };
        Tracking { tracked: self, before }
    }
}

/// How the changes of a type are told.
#[doc(hidden)]
#[derive(Debug)]
pub struct TrackedPlan {
    pub level: Level,
    pub target: &'static str,
    pub fields: &'static [TrackedField],
}

/// How the changes of a field are told.
#[doc(hidden)]
#[derive(Debug)]
pub struct TrackedField {
    pub message: &'static str,
    pub old: &'static str,
    pub new: &'static str,
}

/// A struct that is lent out, see [`Tracked::track`].
#[derive(Debug)]
#[must_use = "what changes is told when this is dropped"]
pub struct Tracking<'a, T: Tracked> {
    tracked: &'a mut T,
    before: Option<Before>,
}

/// How a struct was when it was lent out, and where.
#[derive(Debug)]
struct Before {
    values: Vec<Kept>,
    source: Source<'static>,
}

impl<T: Tracked> Deref for Tracking<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.tracked
    }
}

impl<T: Tracked> DerefMut for Tracking<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.tracked
    }
}

impl<T: Tracked> Drop for Tracking<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            tell_changes(self.tracked, &before);
        }
    }
}

#[cold]
fn kept<T: Tracked>(tracked: &T) -> Vec<Kept> {
    let mut kept = Vec::with_capacity(T::PLAN.fields.len());
    tracked.each(&mut |value| kept.push(Kept::from(value)));
    kept
}

#[cold]
fn tell_changes<T: Tracked>(tracked: &T, before: &Before) {
    let mut pairs = before.values.iter().zip(T::PLAN.fields);
    tracked.each(&mut |new| {
        if let Some((old, field)) = pairs.next() {
            tell(T::PLAN, field, old.value(), new, before.source);
        }
    });
}

/// A value of its own.
#[derive(Debug)]
enum Kept {
    Text(String),
    Other(Value<'static>),
}

impl From<Value<'_>> for Kept {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.to_owned()),
            Value::Integer(number) => Self::Other(Value::Integer(number)),
            Value::Float(number) => Self::Other(Value::Float(number)),
            Value::Boolean(truth) => Self::Other(Value::Boolean(truth)),
        }
    }
}

impl Kept {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Other(value) => *value,
        }
    }
}

/// What a setter calls where its level is on.
#[doc(hidden)]
#[track_caller]
pub fn tell_change<T: Tracked>(index: usize, old: Value<'_>, new: Value<'_>) {
    if let Some(field) = T::PLAN.fields.get(index) {
        tell(T::PLAN, field, old, new, caller());
    }
}

fn tell(plan: &TrackedPlan, field: &TrackedField, old: Value<'_>, new: Value<'_>, source: Source<'static>) {
    let same = match (old, new) {
        // A number that is none is equal to nothing, itself included.
        (Value::Float(old), Value::Float(new)) => old.to_bits() == new.to_bits(),
        _ => old == new,
    };
    if same || !enabled(plan.level) {
        return;
    }
    let fields = [Field { name: field.old, value: old }, Field { name: field.new, value: new }];
    log::send_log(plan.level, |body, time| {
        let log = wire::Log { level: plan.level, target: plan.target, message: "", source: Some(source), time };
        wire::write_log(body, &log, format_args!("{}", field.message), &fields);
    });
}

#[track_caller]
fn caller() -> Source<'static> {
    let place = Location::caller();
    Source { file: place.file(), line: place.line() }
}
