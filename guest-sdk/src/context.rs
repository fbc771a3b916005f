//! Whose work the current invocation is. The host puts it on every record, so an extension never repeats it.

use crate::{backend, batch};

/// The context in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// What ties together all that was done for one cause, across extensions.
    pub correlation_id: String,
    /// The user whose work this is.
    pub user: Option<String>,
    /// The tenant whose work this is.
    pub tenant: Option<String>,
    /// 32 lower-case hexadecimal digits.
    pub trace_id: String,
    /// 16 lower-case hexadecimal digits: the innermost open span, or the invocation's own.
    pub span_id: String,
}

impl Info {
    /// The trace and the innermost span in the form in which programs pass them on, as the header `traceparent`
    /// (<https://www.w3.org/TR/trace-context/>).
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }
}

/// The context in force.
pub fn current() -> Info {
    backend::current()
}

/// A nested context that is being described; [`enter`](Scope::enter) puts it in force.
///
/// ```
/// use glasshouse_sdk::context;
///
/// let _scope = context::scope().user("ada").tenant("analytical-engines").enter();
/// ```
pub fn scope<'a>() -> Scope<'a> {
    Scope::default()
}

/// See [`scope`].
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a scope is put in force by `enter`"]
pub struct Scope<'a> {
    correlation_id: Option<&'a str>,
    user: Option<&'a str>,
    tenant: Option<&'a str>,
}

impl<'a> Scope<'a> {
    /// Changes the correlation id: 1 to 128 visible ASCII characters.
    pub fn correlation_id(mut self, id: &'a str) -> Self {
        self.correlation_id = Some(id);
        self
    }

    /// Changes the user.
    pub fn user(mut self, user: &'a str) -> Self {
        self.user = Some(user);
        self
    }

    /// Changes the tenant.
    pub fn tenant(mut self, tenant: &'a str) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Puts it in force until the guard is dropped. What was not changed keeps the outer value.
    pub fn enter(self) -> Guard {
        batch::flush();
        Guard { _scope: backend::Scope::enter(self.correlation_id, self.user, self.tenant) }
    }
}

/// Keeps a context in force.
#[derive(Debug)]
#[must_use = "the context is in force until the guard is dropped: bind it to a name, and not to `_`"]
pub struct Guard {
    _scope: backend::Scope,
}

impl Drop for Guard {
    fn drop(&mut self) {
        batch::flush();
    }
}
