//! What holds a delivery up.

/// What a delivery waits for, besides its receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Nothing.
    #[default]
    Free,
    /// For `pending send`, or for its receiver to appear.
    Send,
    /// For `pending resume`.
    Resume,
    /// It may be received, and waits for the activation of its release then.
    Activation,
    /// It was received whole, and waits for the activation of its release.
    Staged,
    /// For `pending resume`, and for what [`Self::Send`] waits for then.
    ResumeToSend,
    /// For `pending resume`; it was received whole before.
    ResumeStaged,
}

impl Hold {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Free,
        Self::Send,
        Self::Resume,
        Self::Activation,
        Self::Staged,
        Self::ResumeToSend,
        Self::ResumeStaged,
    ];

    /// The word for it: what is waited for, empty for nothing.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Free => "",
            Self::Send => "send",
            Self::Resume | Self::ResumeToSend | Self::ResumeStaged => "resume",
            Self::Activation => "activation",
            Self::Staged => "staged",
        }
    }

    /// The word that the catalog keeps: one for each.
    #[must_use]
    pub const fn kept_word(self) -> &'static str {
        match self {
            Self::ResumeToSend => "resume-send",
            Self::ResumeStaged => "resume-staged",
            other => other.word(),
        }
    }

    /// The same, paused: what it waits for after that is not forgotten.
    #[must_use]
    pub const fn paused(self) -> Self {
        match self {
            Self::Free | Self::Activation | Self::Resume => Self::Resume,
            Self::Send | Self::ResumeToSend => Self::ResumeToSend,
            Self::Staged | Self::ResumeStaged => Self::ResumeStaged,
        }
    }

    /// Whether its receiver has the release whole, and holds it back.
    #[must_use]
    pub const fn is_staged(self) -> bool {
        matches!(self, Self::Staged | Self::ResumeStaged)
    }
}
