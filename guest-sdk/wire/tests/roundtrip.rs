//! What is encoded is decoded as it was, and no bytes make the decoder panic or read on past their end.

use glasshouse_wire::{
    Alert, BATCHED_HEAD_BYTES, Error, Field, Fields, Instrument, KIND_ALERT, KIND_ERROR, KIND_LOG, KIND_METRIC, Level,
    Log, LogSite, LogSummary, Malformed, Metric, RECORD_HEADER_BYTES, Record, Severity, Source, VERSION,
    VERSION_BATCHED, Value, batched_head, begin_batch, check_log, decode, prefix_level, put_varint, record, records,
    set_log_time, write_alert, write_error, write_formatted_log_at, write_log, write_log_at, write_log_record,
    write_metric,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

/// A value that owns its text, so that it can be generated.
#[derive(Clone, Debug)]
enum Owned {
    Text(String),
    Other(Value<'static>),
}

/// A record that owns its text.
#[derive(Clone, Debug)]
enum Sent {
    Log {
        level: Level,
        target: String,
        message: String,
        source: Option<(String, u32)>,
        time: Option<i64>,
        fields: OwnedFields,
    },
    Metric {
        instrument: Instrument,
        name: String,
        unit: String,
        value: f64,
        labels: Vec<(String, String)>,
    },
    Error {
        texts: [String; 3],
        source: Option<(String, u32)>,
        handled: bool,
        fields: OwnedFields,
    },
    Alert {
        severity: Severity,
        texts: [String; 3],
        metric: Option<String>,
        value: Option<f64>,
        threshold: Option<f64>,
    },
}

type OwnedFields = Vec<(String, Owned)>;

/// Texts that make varints of one and of two bytes, with and without multi-byte characters.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", "[a-z]{120,140}"]
}

/// Any float that equals itself.
fn float() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("NaN is not equal to itself", |float| !float.is_nan())
}

fn value() -> impl Strategy<Value = Owned> {
    prop_oneof![
        text().prop_map(Owned::Text),
        any::<i64>().prop_map(|number| Owned::Other(Value::Integer(number))),
        float().prop_map(|number| Owned::Other(Value::Float(number))),
        any::<bool>().prop_map(|truth| Owned::Other(Value::Boolean(truth))),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let fields = || vec((text(), value()), 0..6);
    let source = || of((text(), any::<u32>()));
    let texts = || [text(), text(), text()];
    prop_oneof![
        (select(Level::ALL), text(), text(), source(), of(any::<i64>()), fields()).prop_map(
            |(level, target, message, source, time, fields)| Sent::Log { level, target, message, source, time, fields }
        ),
        (select(Instrument::ALL), text(), text(), float(), vec((text(), text()), 0..4))
            .prop_map(|(instrument, name, unit, value, labels)| Sent::Metric { instrument, name, unit, value, labels }),
        (texts(), source(), any::<bool>(), fields()).prop_map(|(texts, source, handled, fields)| Sent::Error {
            texts,
            source,
            handled,
            fields
        }),
        (select(Severity::ALL), texts(), of(text()), of(float()), of(float())).prop_map(
            |(severity, texts, metric, value, threshold)| Sent::Alert { severity, texts, metric, value, threshold }
        ),
    ]
}

fn borrow(fields: &[(String, Owned)]) -> Vec<Field<'_>> {
    fields
        .iter()
        .map(|(name, owned)| match owned {
            Owned::Text(text) => Field { name, value: Value::Text(text) },
            Owned::Other(value) => Field { name, value: *value },
        })
        .collect()
}

fn labels(labels: &[(String, String)]) -> Vec<Field<'_>> {
    labels.iter().map(|(name, value)| Field { name, value: Value::Text(value) }).collect()
}

fn place(source: Option<&(String, u32)>) -> Option<Source<'_>> {
    source.map(|(file, line)| Source { file, line: *line })
}

impl Sent {
    fn encode(&self, batch: &mut Vec<u8>) {
        match self {
            Self::Log { message, fields, .. } => {
                let fields = borrow(fields);
                let Record::Log(log, _) = self.record() else { unreachable!("it is a log") };
                record(batch, KIND_LOG, |body| write_log(body, &log, format_args!("{message}"), &fields));
            }
            Self::Metric { labels: owned, .. } => {
                let Record::Metric(metric, _) = self.record() else { unreachable!("it is a metric") };
                record(batch, KIND_METRIC, |body| write_metric(body, &metric, &labels(owned)));
            }
            Self::Error { fields, .. } => {
                let Record::Error(error, _) = self.record() else { unreachable!("it is an error") };
                record(batch, KIND_ERROR, |body| write_error(body, &error, &borrow(fields)));
            }
            Self::Alert { .. } => {
                let Record::Alert(alert) = self.record() else { unreachable!("it is an alert") };
                record(batch, KIND_ALERT, |body| write_alert(body, &alert));
            }
        }
    }

    /// The record without its fields.
    fn record(&self) -> Record<'_> {
        match self {
            Self::Log { level, target, message, source, time, .. } => Record::Log(
                Log { level: *level, target, message, source: place(source.as_ref()), time: *time },
                Fields::EMPTY,
            ),
            Self::Metric { instrument, name, unit, value, .. } => {
                Record::Metric(Metric { instrument: *instrument, name, unit, value: *value }, Fields::EMPTY)
            }
            Self::Error { texts: [kind, message, stack], source, handled, .. } => Record::Error(
                Error { kind, message, stack, source: place(source.as_ref()), handled: *handled },
                Fields::EMPTY,
            ),
            Self::Alert { severity, texts: [kind, title, message], metric, value, threshold } => Record::Alert(Alert {
                severity: *severity,
                kind,
                title,
                message,
                metric: metric.as_deref(),
                value: *value,
                threshold: *threshold,
            }),
        }
    }

    fn fields(&self) -> Vec<Field<'_>> {
        match self {
            Self::Log { fields, .. } | Self::Error { fields, .. } => borrow(fields),
            Self::Metric { labels: owned, .. } => labels(owned),
            Self::Alert { .. } => Vec::new(),
        }
    }
}

fn batch(sent: &[Sent]) -> Vec<u8> {
    let mut batch = Vec::new();
    begin_batch(&mut batch);
    for sent in sent {
        sent.encode(&mut batch);
    }
    batch
}

/// Takes the fields out of a record.
fn apart(record: Record<'_>) -> (Record<'_>, Vec<Field<'_>>) {
    let (record, fields) = match record {
        Record::Log(log, fields) => (Record::Log(log, Fields::EMPTY), fields),
        Record::Metric(metric, labels) => (Record::Metric(metric, Fields::EMPTY), labels),
        Record::Error(error, fields) => (Record::Error(error, Fields::EMPTY), fields),
        Record::Alert(alert) => (Record::Alert(alert), Fields::EMPTY),
    };
    let list: Vec<_> = fields.iter().collect();
    assert_eq!(list.len(), fields.len(), "validated fields can all be read");
    (record, list)
}

/// Decodes all that can be decoded and counts the records; what comes after a malformed one is not looked at.
fn read(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut count = 0;
    for found in records(bytes)? {
        let (kind, body) = found?;
        apart(decode(kind, body)?);
        count += 1;
    }
    Ok(count)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_as_it_was(sent in vec(sent(), 0..5)) {
        let batch = batch(&sent);
        let found: Result<Vec<_>, Malformed> = records(&batch)
            .expect("a batch begins with its version")
            .map(|found| found.and_then(|(kind, body)| decode(kind, body)).map(apart))
            .collect();
        let expected: Vec<_> = sent.iter().map(|sent| (sent.record(), sent.fields())).collect();
        prop_assert_eq!(found, Ok(expected));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        for version in [VERSION, VERSION_BATCHED] {
            let mut versioned = vec![version];
            versioned.extend_from_slice(&bytes);
            let _ = read(&versioned);
        }
        for kind in 0..=5 {
            let _ = decode(kind, &bytes).map(apart);
        }
        prop_assert_eq!(check_log(&bytes), summary(&bytes));
    }

    #[test]
    fn mutated_batches_do_not_panic(
        sent in vec(sent(), 1..4),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut batch = batch(&sent);
        for (index, byte) in changes {
            let index = index.index(batch.len());
            batch[index] = byte;
        }
        let _ = read(&batch);
        for (_, body) in records(&batch).into_iter().flatten().flatten() {
            prop_assert_eq!(check_log(body), summary(body));
        }
    }

    #[test]
    fn a_cut_batch_gives_its_whole_records_and_then_an_error(sent in sent(), cut in any::<prop::sample::Index>()) {
        let whole = batch(&[sent.clone(), sent]);
        let half = 1 + (whole.len() - 1) / 2;
        let cut = half + cut.index(whole.len() - half);
        let mut found = records(&whole[..cut]).expect("a batch begins with its version");
        prop_assert!(matches!(found.next(), Some(Ok(_))));
        if cut > half {
            prop_assert!(matches!(found.next(), Some(Err(_))));
        }
        prop_assert!(found.next().is_none());
    }

    #[test]
    fn gathered_records_are_the_same_behind_a_serial_number(
        sent in vec(sent(), 0..5),
        serial in any::<u32>(),
        cut in 0..BATCHED_HEAD_BYTES,
    ) {
        let now = batch(&sent);
        let mut gathered = batched_head(serial).to_vec();
        gathered.extend_from_slice(&now[1..]);
        let found = records(&gathered).expect("the head is whole");
        prop_assert_eq!(found.serial(), Some(serial));
        prop_assert!(found.eq(records(&now).expect("the head is whole")));
        prop_assert_eq!(records(&now).expect("the head is whole").serial(), None);
        prop_assert!(records(&gathered[..cut]).is_err());
    }

    #[test]
    fn a_log_with_a_time_gets_another_and_stays_what_it_was_else(sent in sent(), time in any::<i64>()) {
        let batch = batch(&[sent]);
        let (kind, body) = records(&batch).expect("the head is whole").next().expect("one").expect("it is whole");
        let mut changed = body.to_vec();
        if kind == KIND_LOG {
            set_log_time(&mut changed, time);
        }
        let (before, after) = (decode(kind, body).map(apart)?, decode(kind, &changed).map(apart)?);
        let expected = match before.0 {
            Record::Log(log, none) => Record::Log(Log { time: log.time.map(|_| time), ..log }, none),
            other => other,
        };
        prop_assert_eq!(after, (expected, before.1));
    }

    #[test]
    fn a_log_at_its_site_is_written_into_room_that_is_enough_and_no_other(
        fields in vec((text(), value()), 0..6),
        time in of(any::<i64>()),
    ) {
        let fields = borrow(&fields);
        let source = Some(Source { file: GATHERED.file, line: GATHERED.line });
        let log = Log { level: GATHERED.level, target: GATHERED.target, message: "", source, time };
        let mut expected = Vec::new();
        record(&mut expected, KIND_LOG, |body| write_log(body, &log, format_args!("kept back"), &fields));
        let mut room = vec![0xaa; expected.len() + 3];
        let bytes = write_log_record(&mut room, &GATHERED_PREFIX, time, &fields);
        prop_assert_eq!(bytes, Some(expected.len()));
        prop_assert_eq!(&room[..expected.len()], &expected);
        prop_assert_eq!(&room[expected.len()..], &[0xaa; 3]);
        for less in [0, expected.len() / 2, expected.len() - 1] {
            prop_assert_eq!(write_log_record(&mut room[..less], &GATHERED_PREFIX, time, &fields), None);
        }
    }

    #[test]
    fn a_body_cut_anywhere_or_with_bytes_left_over_is_malformed(sent in sent(), cut in any::<prop::sample::Index>()) {
        let batch = batch(&[sent]);
        let mut records = records(&batch).expect("a batch begins with its version");
        let (kind, body) = records.next().expect("there is a record").expect("it is whole");
        prop_assert!(decode(kind, &body[..cut.index(body.len())]).is_err());
        let mut longer = body.to_vec();
        longer.push(0);
        prop_assert_eq!(decode(kind, &longer), Err(Malformed("bytes left over after a record")));
    }
}

const GATHERED: LogSite =
    LogSite { level: Level::Debug, target: "house", file: "src/b.rs", line: 7, message: "kept back" };
static GATHERED_PREFIX: [u8; GATHERED.prefix_bytes()] = GATHERED.prefix();

/// What the check of a log finds, by way of decoding it.
fn summary(body: &[u8]) -> Result<LogSummary, Malformed> {
    match decode(KIND_LOG, body)? {
        Record::Log(log, fields) => Ok(LogSummary {
            level: log.level,
            fields: fields.len() as u32,
            time: log.time,
            texts_at: if log.time.is_some() { 10 } else { 2 },
            fields_at: log.message.as_ptr().addr() + log.message.len() - body.as_ptr().addr(),
        }),
        other => panic!("a log was decoded as {other:?}"),
    }
}

/// The body of the smallest log, with its first bytes replaced.
fn check(body: &[u8], expect: &'static str) {
    assert_eq!(decode(KIND_LOG, body), Err(Malformed(expect)), "{body:?}");
    assert_eq!(check_log(body), Err(Malformed(expect)), "{body:?}");
}

#[test]
fn each_malformation_is_told_apart() {
    check(&[], "the record ends too early");
    check(&[6, 0, 0, 0, 0], "unknown level");
    check(&[0, 4, 0, 0, 0], "unknown flag bits");
    check(&[0, 0, 1, 0xff, 0, 0], "text is not UTF-8");
    check(&[0, 0, 0, 0, 1, 0, 9], "unknown kind of value");
    check(&[0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0], "a length has more than five bytes");
    check(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f], "a length is over 32 bits");
    check(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f], "the record ends too early");
    assert_eq!(decode(64, &[]), Err(Malformed("unknown kind of record")));
    assert_eq!(read(&[]), Err(Malformed("empty batch: the version byte is missing")));
    assert_eq!(read(&[VERSION_BATCHED + 1]), Err(Malformed("unknown version of the record format")));
    assert_eq!(read(&[VERSION_BATCHED, 1, 2, 3]), Err(Malformed("the batch ends in its serial number")));
    assert_eq!(read(&[VERSION]), Ok(0));
}

#[test]
fn a_label_that_is_no_text_is_malformed() {
    let metric = Metric { instrument: Instrument::Counter, name: "m", unit: "", value: 1.0 };
    let mut body = Vec::new();
    write_metric(&mut body, &metric, &[Field { name: "l", value: Value::Integer(1) }]);
    assert_eq!(decode(KIND_METRIC, &body), Err(Malformed("a label is not text")));
}

#[test]
fn the_bytes_of_version_1_stay_what_they_are() {
    let log = Log {
        level: Level::Warning,
        target: "t",
        message: "",
        source: Some(Source { file: "f", line: 300 }),
        time: Some(1),
    };
    let mut bytes = Vec::new();
    begin_batch(&mut bytes);
    record(&mut bytes, KIND_LOG, |body| {
        write_log(body, &log, format_args!("m"), &[Field { name: "b", value: Value::Boolean(true) }]);
    });
    let body = [3, 3, 1, 0, 0, 0, 0, 0, 0, 0, 1, b't', 1, b'f', 0xac, 2, 1, b'm', 1, 1, b'b', 4];
    let mut expected = vec![1, 1, body.len() as u8, 0, 0, 0];
    expected.extend_from_slice(&body);
    assert_eq!(bytes, expected);
    assert_eq!(expected.len(), 1 + RECORD_HEADER_BYTES + body.len());
}

#[test]
fn a_log_is_the_same_with_its_site_encoded_before() {
    const LITERAL: LogSite =
        LogSite { level: Level::Error, target: "house", file: "src/a.rs", line: 300, message: "broken \u{e9}" };
    const FORMATTED: LogSite = LogSite { message: "{} left", ..LITERAL };
    const { assert!(LITERAL.is_literal() && !FORMATTED.is_literal()) };
    let literal: [u8; LITERAL.prefix_bytes()] = LITERAL.prefix();
    let formatted: [u8; FORMATTED.prefix_bytes()] = FORMATTED.prefix();
    let long = "long".repeat(1000);
    let fields = [
        Field { name: "abc", value: Value::Text("defg") },
        Field { name: "a name of more than thirty-two bytes", value: Value::Integer(-1) },
        Field { name: "thirteen_long", value: Value::Text("eight_by") },
        Field { name: "", value: Value::Text(&long) },
        Field { name: "ab", value: Value::Float(0.5) },
        Field { name: "eighteen_or_so_long", value: Value::Boolean(true) },
    ];
    let source = Some(Source { file: LITERAL.file, line: LITERAL.line });
    let log = Log { level: LITERAL.level, target: LITERAL.target, message: "", source, time: None };
    let expect = |message: std::fmt::Arguments<'_>| {
        let mut batch = Vec::new();
        begin_batch(&mut batch);
        record(&mut batch, KIND_LOG, |body| write_log(body, &log, message, &fields));
        batch
    };
    let mut buffer = b"what was here before".to_vec();
    assert_eq!(write_log_at(&mut buffer, &literal, &fields), expect(format_args!("broken \u{e9}")));
    let left = 3;
    let sent = write_formatted_log_at(&mut buffer, &formatted, None, format_args!("{left} left"), &fields).to_vec();
    assert_eq!(sent, expect(format_args!("{left} left")));
    let timed = write_formatted_log_at(&mut buffer, &formatted, Some(-5), format_args!("{left} left"), &fields);
    let (kind, body) = records(timed).expect("a batch").next().expect("a record").expect("it is whole");
    assert_eq!(check_log(body).map(|log| (kind, log.time)), Ok((KIND_LOG, Some(-5))));
    assert_eq!((prefix_level(&literal), prefix_level(&[1, 1])), (Some(Level::Error), None));
}

#[test]
fn a_message_of_any_length_is_formatted_in_place() {
    for length in [0, 1, 127, 128, 20_000] {
        let (text, number) = ("x".repeat(length), 7);
        let log = Log { level: Level::Info, target: "", message: "", source: None, time: None };
        let mut body = Vec::new();
        write_log(&mut body, &log, format_args!("{text}{number}"), &[]);
        let Ok(Record::Log(log, _)) = decode(KIND_LOG, &body) else { panic!("a log of {length} bytes") };
        assert_eq!(log.message, format!("{text}{number}"));
    }
}

#[test]
fn varints_of_every_length_are_read_back() {
    for number in [0, 0x7f, 0x80, 0x3fff, 0x4000, 0x1f_ffff, 0x20_0000, 0xfff_ffff, 0x1000_0000, u32::MAX] {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, number);
        assert_eq!(glasshouse_wire::Reader::new(&bytes).varint(), Ok(number));
    }
}
