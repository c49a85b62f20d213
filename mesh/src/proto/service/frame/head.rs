//! The heads of calls and their errors, as values and as CBOR.

use std::{fmt, sync::Arc, time::Duration};

use aether_core::wire::{WireError, from_cbor};
use minicbor::{Decode, Encode, bytes::ByteArray};

use super::{FrameError, MAX_MESSAGE, MAX_NAME, Shape};

const IDEMPOTENT: u64 = 1;
const STREAMING: u64 = 2;

/// The head of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Name of the service, 1 to [`MAX_NAME`] bytes.
    pub service: Arc<str>,
    /// Name of what is asked of it, 1 to [`MAX_NAME`] bytes.
    pub endpoint: Arc<str>,
    /// Time left until the deadline when it was sent. Travels in whole milliseconds, rounded down.
    pub remaining: Duration,
    /// Whether the call may be made twice with the effect of once.
    pub idempotent: bool,
    /// Whether the reply is a stream of items.
    pub streaming: bool,
    /// The span that the call belongs to.
    pub trace: Option<Trace>,
    /// Bytes of the body.
    pub length: u32,
}

impl Request {
    /// Whether both names have an allowed length.
    pub fn has_valid_names(&self) -> bool {
        [&self.service, &self.endpoint].iter().all(|name| is_name(name))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        write(
            &RequestBody {
                service: &self.service,
                endpoint: &self.endpoint,
                remaining: to_millis(self.remaining),
                flags: flag(self.idempotent, IDEMPOTENT) | flag(self.streaming, STREAMING),
                trace: self.trace.map(|trace| trace.to_bytes().into()),
                length: self.length,
            },
            out,
        );
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let body: RequestBody<'_> = from_cbor(bytes)?;
        for name in [body.service, body.endpoint] {
            if !is_name(name) {
                return Err(FrameError::Name { len: name.len() });
            }
        }
        Ok(Self {
            service: body.service.into(),
            endpoint: body.endpoint.into(),
            remaining: Duration::from_millis(body.remaining),
            idempotent: body.flags & IDEMPOTENT != 0,
            streaming: body.flags & STREAMING != 0,
            trace: body.trace.and_then(|bytes| Trace::from_bytes(&bytes)),
            length: body.length,
        })
    }
}

/// Whether this is allowed as the name of a service or an endpoint.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
}

/// The trace context of a call: `traceparent` of W3C Trace Context, section 3.2, version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace, not all zero.
    pub trace: [u8; 16],
    /// The caller's span, not all zero.
    pub span: [u8; 8],
    /// Bit 0: the caller records it.
    pub flags: u8,
}

impl Trace {
    fn to_bytes(self) -> [u8; 25] {
        let mut bytes = [0; 25];
        bytes[..16].copy_from_slice(&self.trace);
        bytes[16..24].copy_from_slice(&self.span);
        bytes[24] = self.flags;
        bytes
    }

    /// An id of zeros is invalid, and an invalid context is ignored (sections 3.2.2.3, 3.2.2.4).
    fn from_bytes(bytes: &[u8; 25]) -> Option<Self> {
        let (trace, rest) = bytes.split_first_chunk()?;
        let (span, _) = rest.split_first_chunk()?;
        let is_valid = trace != &[0; 16] && span != &[0; 8];
        is_valid.then_some(Self { trace: *trace, span: *span, flags: bytes[24] })
    }
}

/// As in the header `traceparent`.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |bytes| data_encoding::HEXLOWER.encode(bytes);
        write!(f, "00-{}-{}-{:02x}", hex(&self.trace), hex(&self.span), self.flags)
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct CallError {
    /// The kind of failure.
    pub code: Code,
    /// For a person to read; at most [`MAX_MESSAGE`] bytes travel.
    pub message: String,
    /// How long to leave this server alone, in whole milliseconds.
    pub retry_after: Option<Duration>,
}

impl CallError {
    /// An error that says nothing about another try.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }
}

/// The kind of a call's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// 1: there is no such service or endpoint here. The handler was not started.
    NotFound,
    /// 2: the request can't be read, or is too large. The handler was not started.
    Malformed,
    /// 3: too much to do. The handler was not started.
    Overloaded,
    /// 4: the deadline passed. The handler may have run.
    DeadlineExceeded,
    /// 5: the caller cancelled. The handler may have run.
    Cancelled,
    /// 6: the handler panicked.
    Panicked,
    /// 7: the caller may not. The handler was not started.
    Refused,
    /// 8: the handler ran, and its reply was dropped: too large, or the caller reads too slowly.
    Dropped,
    /// 9: the handler's own error, with its own code.
    Application(u32),
    /// Of a later release.
    Unknown(u64),
}

impl Code {
    /// Whether the handler was certainly not started, so that another try can't repeat an effect.
    pub const fn is_unstarted(self) -> bool {
        matches!(self, Self::NotFound | Self::Malformed | Self::Overloaded | Self::Refused)
    }

    const fn number(self) -> u64 {
        match self {
            Self::NotFound => 1,
            Self::Malformed => 2,
            Self::Overloaded => 3,
            Self::DeadlineExceeded => 4,
            Self::Cancelled => 5,
            Self::Panicked => 6,
            Self::Refused => 7,
            Self::Dropped => 8,
            Self::Application(_) => 9,
            Self::Unknown(code) => code,
        }
    }

    const fn from_number(number: u64, application: u32) -> Self {
        match number {
            1 => Self::NotFound,
            2 => Self::Malformed,
            3 => Self::Overloaded,
            4 => Self::DeadlineExceeded,
            5 => Self::Cancelled,
            6 => Self::Panicked,
            7 => Self::Refused,
            8 => Self::Dropped,
            9 => Self::Application(application),
            code => Self::Unknown(code),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::Malformed => f.write_str("malformed"),
            Self::Overloaded => f.write_str("overloaded"),
            Self::DeadlineExceeded => f.write_str("deadline exceeded"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Panicked => f.write_str("panicked"),
            Self::Refused => f.write_str("refused"),
            Self::Dropped => f.write_str("reply dropped"),
            Self::Application(code) => write!(f, "application error {code}"),
            Self::Unknown(code) => write!(f, "unknown error {code}"),
        }
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct RequestBody<'a> {
    #[b(0)]
    service: &'a str,
    #[b(1)]
    endpoint: &'a str,
    #[n(2)]
    remaining: u64,
    #[n(3)]
    flags: u64,
    #[n(4)]
    trace: Option<ByteArray<25>>,
    #[n(5)]
    length: u32,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct ReplyBody<'a> {
    #[n(0)]
    length: Option<u32>,
    #[b(1)]
    error: Option<ErrorBody<'a>>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct ErrorBody<'a> {
    #[n(0)]
    code: u64,
    #[b(1)]
    message: &'a str,
    #[n(2)]
    retry_after: Option<u64>,
    #[n(3)]
    application: Option<u32>,
}

impl<'a> From<&'a CallError> for ErrorBody<'a> {
    fn from(error: &'a CallError) -> Self {
        let application = match error.code {
            Code::Application(code) => Some(code),
            _ => None,
        };
        Self {
            code: error.code.number(),
            message: cut(&error.message),
            retry_after: error.retry_after.map(to_millis),
            application,
        }
    }
}

impl TryFrom<ErrorBody<'_>> for CallError {
    type Error = FrameError;

    fn try_from(body: ErrorBody<'_>) -> Result<Self, FrameError> {
        let len = body.message.len();
        if len > MAX_MESSAGE {
            return Err(WireError::TooLong { len, max: MAX_MESSAGE }.into());
        }
        Ok(Self {
            code: Code::from_number(body.code, body.application.unwrap_or(0)),
            message: body.message.to_owned(),
            retry_after: body.retry_after.map(Duration::from_millis),
        })
    }
}

pub(super) fn encode_reply(reply: &Result<Shape, CallError>, out: &mut Vec<u8>) {
    let body = match reply {
        Ok(Shape::Whole(length)) => ReplyBody { length: Some(*length), error: None },
        Ok(Shape::Items) => ReplyBody { length: None, error: None },
        Err(error) => ReplyBody { length: None, error: Some(error.into()) },
    };
    write(&body, out);
}

pub(super) fn decode_reply(bytes: &[u8]) -> Result<Result<Shape, CallError>, FrameError> {
    let body: ReplyBody<'_> = from_cbor(bytes)?;
    match (body.length, body.error) {
        (Some(length), None) => Ok(Ok(Shape::Whole(length))),
        (None, None) => Ok(Ok(Shape::Items)),
        (None, Some(error)) => Ok(Err(error.try_into()?)),
        (Some(_), Some(_)) => Err(WireError::Cbor.into()),
    }
}

pub(super) fn encode_end(error: Option<&CallError>, out: &mut Vec<u8>) {
    write(&ReplyBody { length: None, error: error.map(ErrorBody::from) }, out);
}

pub(super) fn decode_end(bytes: &[u8]) -> Result<Option<CallError>, FrameError> {
    let body: ReplyBody<'_> = from_cbor(bytes)?;
    body.error.map(CallError::try_from).transpose()
}

fn write<T: Encode<()>>(value: &T, out: &mut Vec<u8>) {
    minicbor::encode(value, out).expect("encoding to memory does not fail");
}

fn to_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The longest beginning of a message that may travel.
fn cut(message: &str) -> &str {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}
