//! Channels on which an account is asked for a second factor.

/// A channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Channel {
    /// One-time codes in text messages.
    Sms,
    /// Approvals in an authenticator app.
    Authy,
    /// Approvals on a device that knows its owner's face or finger.
    Biometric,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 3] = [Self::Sms, Self::Authy, Self::Biometric];

    /// Its name: in paths of the session API and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sms => "SMS",
            Self::Authy => "AUTHY",
            Self::Biometric => "BIOMETRIC",
        }
    }

    /// The channel of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }

    /// How it asks.
    #[must_use]
    pub fn means(self) -> Means {
        match self {
            Self::Sms => Means::Code,
            Self::Authy | Self::Biometric => Means::Push,
        }
    }
}

/// How a channel asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Means {
    /// A code is sent, and typed in.
    Code,
    /// A device shows a question, and is touched.
    Push,
}
