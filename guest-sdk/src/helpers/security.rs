//! Security events.

use glasshouse_wire::{Level, Source};

use super::{Known, caller};
use crate::{Kind, is_stored};

const LOGGER: &str = "glasshouse.security";

glasshouse_wire::byte_enum! {
    /// What happened.
    SecurityKind {
        /// A session began.
        SessionCreated = 0 "session.created",
        /// A session ended.
        SessionEnded = 1 "session.ended",
        /// Somebody proved who they are.
        LoginOk = 2 "login.ok",
        /// Somebody did not.
        LoginFailed = 3 "login.failed",
        /// A password was changed.
        PasswordChanged = 4 "password.changed",
        /// A token was made.
        TokenMade = 5 "token.made",
        /// A token was revoked.
        TokenRevoked = 6 "token.revoked",
        /// Something was allowed.
        PermissionAllowed = 7 "permission.allowed",
        /// Something was denied.
        PermissionDenied = 8 "permission.denied",
        /// Somebody got more rights than they had.
        PrivilegeEscalation = 9 "privilege.escalation",
        /// Sensitive data was read.
        SensitiveDataRead = 10 "data.read",
        /// Data left the system.
        DataExported = 11 "data.exported",
        /// Somebody asked for their data, or to have it corrected or erased.
        PrivacyOperation = 12 "privacy.operation",
    }
}

impl SecurityKind {
    /// How serious it is: a warning for what a person should look at, otherwise info.
    pub fn level(self) -> Level {
        match self {
            Self::LoginFailed | Self::PermissionDenied | Self::PrivilegeEscalation => Level::Warning,
            _ => Level::Info,
        }
    }
}

/// A security event; [`log`](SecurityEvent::log) tells of it. Neither sampling nor the overhead governor leaves one out. Whom
/// it concerns is in the [context](crate::context); never put a password, a token or other secret into one.
///
/// What the host tells of denied uses has the same fields, and origin `host`, which no extension can have.
///
/// ```
/// use glasshouse_sdk::{SecurityEvent, SecurityKind};
///
/// SecurityEvent::new(SecurityKind::LoginFailed).user("ada").detail("wrong password, third time").log();
/// SecurityEvent::new(SecurityKind::PermissionDenied).permission("orders.write").operation("delete").target("order 7").log();
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "an event is told by `log`"]
pub struct SecurityEvent<'a> {
    kind: SecurityKind,
    user: Option<&'a str>,
    permission: Option<&'a str>,
    operation: Option<&'a str>,
    target: Option<&'a str>,
    detail: Option<&'a str>,
    source: Source<'static>,
}

impl<'a> SecurityEvent<'a> {
    /// An event of a kind.
    #[track_caller]
    pub fn new(kind: SecurityKind) -> Self {
        Self { kind, user: None, permission: None, operation: None, target: None, detail: None, source: caller() }
    }

    /// The user that it concerns, where that is not whom the extension works for.
    pub fn user(mut self, user: &'a str) -> Self {
        self.user = Some(user);
        self
    }

    /// The permission that was asked for.
    pub fn permission(mut self, permission: &'a str) -> Self {
        self.permission = Some(permission);
        self
    }

    /// What was to be done, or was done.
    pub fn operation(mut self, operation: &'a str) -> Self {
        self.operation = Some(operation);
        self
    }

    /// What it was done to.
    pub fn target(mut self, target: &'a str) -> Self {
        self.target = Some(target);
        self
    }

    /// What else is to be said.
    pub fn detail(mut self, detail: &'a str) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Tells of it.
    pub fn log(&self) {
        // The host knows better than the levels, which are also those that it leaves out to save time.
        if !is_stored(Kind::Security) {
            return;
        }
        let Self { kind, user, permission, operation, target, detail, source } = *self;
        let fields = Known::new()
            .text("event", Some(kind.as_str()))
            .text("user.id", user)
            .text("permission", permission)
            .text("operation", operation)
            .text("target", target)
            .text("detail", detail);
        fields.send(LOGGER, kind.level(), source, format_args!("{kind}"));
    }
}
