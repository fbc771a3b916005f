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
    /// (<https://www.w3.org/TR/trace-context/>), and whether the present invocation's trace is kept. [`headers`] gives all that is to be passed on.
    pub fn traceparent(&self) -> String {
        let present = headers().traceparent;
        let flags = present.rsplit('-').next().unwrap_or_default();
        format!("00-{}-{}-{flags}", self.trace_id, self.span_id)
    }
}

/// The headers by which programs go on with a trace elsewhere; see [`headers`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// The trace, the innermost open span or the invocation's own, and whether the trace is kept
    /// (<https://www.w3.org/TR/trace-context/>).
    pub traceparent: String,
    /// What each kind of program says of the trace; leave the header out where it is empty.
    pub tracestate: String,
    /// What programs pass along with the request for each other (<https://www.w3.org/TR/baggage/>); leave the header out where it is
    /// empty. Whoever made the request chose it: it is not to be trusted.
    pub baggage: String,
}

impl Headers {
    /// The value of the first member of the baggage with this name, decoded.
    ///
    /// ```
    /// let baggage = "tier=gold;ttl=1,note=caf%C3%A9".to_owned();
    /// let headers = glasshouse_sdk::context::Headers { baggage, ..Default::default() };
    /// assert_eq!(headers.baggage_value("tier").as_deref(), Some("gold"));
    /// assert_eq!(headers.baggage_value("note").as_deref(), Some("café"));
    /// assert_eq!(headers.baggage_value("ttl"), None);
    /// ```
    pub fn baggage_value(&self, name: &str) -> Option<String> {
        self.baggage_members().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The members of the baggage: names and decoded values, without their properties.
    pub fn baggage_members(&self) -> impl Iterator<Item = (&str, String)> {
        self.baggage.split(',').filter_map(|member| {
            let (name, value) = member.split(';').next()?.split_once('=')?;
            Some((name.trim(), decoded(value.trim())))
        })
    }
}

/// Percent-encoded text; what is no UTF-8 then becomes the replacement character, and a percent sign without two digits stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |index: usize| after.get(index).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            bytes.push((high << 4 | low) as u8);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The headers by which a program that this extension asks for something goes on with the trace, and takes over the baggage.
pub fn headers() -> Headers {
    backend::headers()
}

/// The decoded value of the first member of the request's baggage with this name: what some program on the way here passed along.
pub fn baggage(name: &str) -> Option<String> {
    headers().baggage_value(name)
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
