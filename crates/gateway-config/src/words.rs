//! Settings that are one word out of a few.

/// Writes an enum of words: the type, its spelling, and the list to choose from.
macro_rules! words {
    (
        $(#[$about:meta])*
        pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every word, as written in a file.
            pub(crate) const WORDS: &'static [(&'static str, Self)] =
                &[$(($word, Self::$variant)),+];

            /// The word, as written in a file.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// How the legacy SSE transport names its message endpoint to clients.
    pub enum EndpointStyle {
        /// A path: works behind every proxy, and strict clients see the same origin.
        #[default]
        Relative = "relative",
        /// A whole URL, built from the public one.
        Absolute = "absolute",
    }
}

words! {
    /// When names of tools and prompts are preceded by their server's, where many servers are one.
    pub enum Prefix {
        /// Where another server has something by that name.
        #[default]
        Conflict = "conflict",
        /// In every case.
        Always = "always",
        /// In no case.
        Never = "never",
    }
}

words! {
    /// What is answered from a list that may have changed.
    pub enum Stale {
        /// What it is now.
        #[default]
        Wait = "wait",
        /// What it was, with news to come.
        Serve = "serve",
    }
}

words! {
    /// What becomes of a request whose `Accept` does not list what the specification asks for.
    pub enum Accept {
        /// It is served.
        #[default]
        Lenient = "lenient",
        /// It is refused with 406.
        Strict = "strict",
    }
}

words! {
    /// Whose deviations are kept where they differ from the specification.
    pub enum Compat {
        /// Nobody's.
        #[default]
        Off = "off",
        /// TBXark's: a raw token without `Bearer` passes, an unknown SSE session answers 400.
        Tbxark = "tbxark",
    }
}

words! {
    /// How log lines look.
    pub enum LogFormat {
        /// For people.
        #[default]
        Text = "text",
        /// For programs: one JSON object a line.
        Json = "json",
    }
}

words! {
    /// What is logged: this and everything graver.
    pub enum LogLevel {
        /// What failed and needs somebody.
        Error = "error",
        /// What is wrong, but goes on.
        Warn = "warn",
        /// One line per request, and each change of a server's state.
        #[default]
        Info = "info",
        /// Each step.
        Debug = "debug",
        /// Each message's envelope.
        Trace = "trace",
    }
}

words! {
    /// When a server behind is started or connected to.
    pub enum Startup {
        /// With the gateway, beside all others; a failure is retried and hinders nobody.
        #[default]
        Eager = "eager",
        /// With the first request for it.
        Lazy = "lazy",
        /// As eager, but if it fails, the gateway ends.
        Required = "required",
    }
}

words! {
    /// Who shares a session with the server behind.
    pub enum Isolation {
        /// What is safe for the kind of server.
        #[default]
        Auto = "auto",
        /// Everybody shares one.
        Shared = "shared",
        /// One for each authenticated caller.
        Caller = "caller",
        /// One for each client session.
        Session = "session",
        /// One for each request.
        Request = "request",
    }
}
