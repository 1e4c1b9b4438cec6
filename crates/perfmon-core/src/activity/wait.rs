//! What a session waits for: the class is in the highest byte of the server's number, the rest is the server's own.

/// Classes of waits, by the server's highest byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// A lock inside the server, held for a moment.
    Lwlock = 1,
    /// A lock that SQL takes.
    Lock = 3,
    /// A buffer that somebody else has pinned.
    BufferPin = 4,
    /// A background process without work.
    Activity = 5,
    /// The client, or whoever else is at the other end of a connection.
    Client = 6,
    /// Whatever an extension waits for.
    Extension = 7,
    /// Another process.
    Ipc = 8,
    /// Time to pass.
    Timeout = 9,
    /// A file.
    Io = 10,
    /// For tests of the server.
    InjectionPoint = 11,
}

/// The class of a wait; `None` where the session waits for nothing.
pub fn class(wait: u32) -> Option<Class> {
    use Class::{
        Activity, BufferPin, Client, Extension, InjectionPoint, Io, Ipc, Lock, Lwlock, Timeout,
    };
    [Lwlock, Lock, BufferPin, Activity, Client, Extension, Ipc, Timeout, Io, InjectionPoint]
        .into_iter()
        .find(|class| *class as u32 == wait >> 24)
}

impl Class {
    /// As pg_stat_activity calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lwlock => "LWLock",
            Self::Lock => "Lock",
            Self::BufferPin => "BufferPin",
            Self::Activity => "Activity",
            Self::Client => "Client",
            Self::Extension => "Extension",
            Self::Ipc => "IPC",
            Self::Timeout => "Timeout",
            Self::Io => "IO",
            Self::InjectionPoint => "InjectionPoint",
        }
    }

    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        (0..=u8::MAX).filter_map(|n| class(u32::from(n) << 24)).find(|class| class.name() == name)
    }
}

/// Stands for waits that found no place of their own.
pub const OTHER: u32 = u32::MAX;
/// What these are called, as class and as event.
pub const OTHER_NAME: &str = "(other)";

/// Class and event in one word; nothing waited for is nothing said.
pub fn name(class: &str, event: &str) -> String {
    if class.is_empty() { String::new() } else { format!("{class}/{event}") }
}

/// Class and event of such a word.
pub fn split(name: &str) -> Option<(&str, &str)> {
    (!name.is_empty()).then(|| name.split_once('/').unwrap_or((name, "")))
}
