//! What a guest can call in its host, so that the time of each is told apart.

glasshouse_wire::byte_enum! {
    /// A function of the host, or several that are much alike, by the names of the interfaces.
    HostFunction {
        /// Records of the SDK.
        Emit = 0 "debugging.emit",
        /// A log by the typed call.
        Log = 1 "debugging.log",
        /// What of its records the host stores.
        Enabled = 2 "debugging.enabled",
        /// A sample by the typed call.
        Metric = 3 "debugging.metric",
        /// A sample of a bound instrument.
        MeterRecord = 4 "debugging.meter.record",
        /// The making of a bound instrument, and its end.
        Meter = 5 "debugging.meter",
        /// An error by the typed call.
        Error = 6 "debugging.error",
        /// An alert by the typed call.
        Alert = 7 "debugging.alert",
        /// The start of a span.
        SpanStart = 8 "debugging.span.start",
        /// The end of a span.
        SpanEnd = 9 "debugging.span.end",
        /// What is added to a span: fields, events, a failure.
        Span = 10 "debugging.span",
        /// Where records are gathered.
        ShareBatch = 11 "debugging.share-batch",
        /// Whose work it is, and nested scopes.
        Context = 12 "context",
        /// An event for others.
        Publish = 13 "events.publish",
        /// A call of another extension.
        Call = 14 "events.call",
        /// Waiting for one of several things.
        Poll = 15 "wasi:io/poll",
        /// Reading from a stream.
        StreamRead = 16 "wasi:io/streams.read",
        /// Writing to a stream, standard output included.
        StreamWrite = 17 "wasi:io/streams.write",
        /// All else of streams.
        Stream = 18 "wasi:io/streams",
        /// Reading from a file without a stream.
        FileRead = 19 "wasi:filesystem.read",
        /// Writing to a file without a stream.
        FileWrite = 20 "wasi:filesystem.write",
        /// Opening a file or folder.
        FileOpen = 21 "wasi:filesystem.open-at",
        /// What a file or folder is.
        FileStat = 22 "wasi:filesystem.stat",
        /// What a folder contains.
        FileList = 23 "wasi:filesystem.read-directory",
        /// Syncing a file.
        FileSync = 24 "wasi:filesystem.sync",
        /// All else of files and folders.
        File = 25 "wasi:filesystem",
        /// TCP sockets; what goes through them are streams.
        Tcp = 26 "wasi:sockets/tcp",
        /// UDP sockets and their datagrams.
        Udp = 27 "wasi:sockets/udp",
        /// Names and networks.
        Network = 28 "wasi:sockets/network",
        /// The time.
        Clock = 29 "wasi:clocks",
        /// Random bytes.
        Random = 30 "wasi:random",
        /// Arguments, variables and standard streams.
        Cli = 31 "wasi:cli",
        /// The sending of an HTTP request; what is waited for is polled, and bodies are streams.
        HttpSend = 32 "wasi:http/outgoing-handler",
        /// The making and reading of HTTP requests, responses and their headers.
        Http = 33 "wasi:http/types",
    }
}

impl HostFunction {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
}
