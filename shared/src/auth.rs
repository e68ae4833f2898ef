//! What callers may do.

/// What a caller may do. Of a tenant's roles, as of the platform's, each contains those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Read,
    /// Change.
    Write,
    /// Everything.
    Admin,
    /// The platform's: read metrics, for a program that does so all day.
    PlatformMetrics,
    /// The platform's: keep the service going, for a person on call.
    PlatformOperate,
}

impl Role {
    /// The word in tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "pos:read",
            Self::Write => "pos:write",
            Self::Admin => "pos:admin",
            Self::PlatformMetrics => "platform:metrics",
            Self::PlatformOperate => "platform:operate",
        }
    }
}
