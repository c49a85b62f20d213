//! Chunks built by hand: every part can be given as it should never be.

use sha2::{Digest, Sha256};

pub(crate) type Id = (u32, u32);

/// Writes LEB128.
pub(crate) fn unsigned(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes signed LEB128.
pub(crate) fn signed(mut value: i64, out: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Reads what [`unsigned`] writes, from the front.
fn take_unsigned(bytes: &mut &[u8]) -> u64 {
    let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let value = (0..=end).map(|place| u64::from(bytes[place] & 0x7f) << (7 * place)).sum();
    *bytes = &bytes[end + 1..];
    value
}

fn take<'a>(bytes: &mut &'a [u8], len: u64) -> &'a [u8] {
    let (head, rest) = bytes.split_at(len as usize);
    *bytes = rest;
    head
}

/// Run-length encodes values, of which each writes itself by `write`.
fn rle<T: PartialEq>(values: &[Option<T>], write: impl Fn(&T, &mut Vec<u8>)) -> Vec<u8> {
    let (mut out, mut literal) = (Vec::new(), Vec::new());
    let flush = |literal: &mut Vec<&T>, out: &mut Vec<u8>| {
        if !literal.is_empty() {
            signed(-(literal.len() as i64), out);
            literal.drain(..).for_each(|value| write(value, out));
        }
    };
    if values.iter().all(Option::is_none) {
        return out;
    }
    for group in values.chunk_by(|a, b| a == b) {
        match &group[0] {
            Some(value) if group.len() == 1 => literal.push(value),
            Some(value) => {
                flush(&mut literal, &mut out);
                signed(group.len() as i64, &mut out);
                write(value, &mut out);
            }
            None => {
                flush(&mut literal, &mut out);
                out.push(0);
                unsigned(group.len() as u64, &mut out);
            }
        }
    }
    flush(&mut literal, &mut out);
    out
}

fn numbers(values: &[Option<u64>]) -> Vec<u8> {
    rle(values, |value, out| unsigned(*value, out))
}

fn strings(values: &[Option<String>]) -> Vec<u8> {
    rle(values, |value, out| {
        unsigned(value.len() as u64, out);
        out.extend(value.as_bytes());
    })
}

fn deltas(values: &[Option<u64>]) -> Vec<u8> {
    let mut last = 0;
    let deltas: Vec<Option<i64>> = values
        .iter()
        .map(|value| {
            let delta = (*value)? as i64 - last;
            last += delta;
            Some(delta)
        })
        .collect();
    rle(&deltas, |delta, out| signed(*delta, out))
}

fn booleans(values: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    if values.first() == Some(&true) {
        out.push(0);
    }
    values.chunk_by(|a, b| a == b).for_each(|group| unsigned(group.len() as u64, &mut out));
    out
}

#[derive(Clone, Debug)]
pub(crate) enum Key {
    Map(String),
    Head,
    Element(Id),
}

/// An operation, field by field. Ids are (number, index of the actor).
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) object: Option<Id>,
    pub(crate) key: Key,
    pub(crate) insert: bool,
    pub(crate) action: u64,
    pub(crate) kind: u8,
    pub(crate) value: Vec<u8>,
    pub(crate) preds: Vec<Id>,
    pub(crate) expand: bool,
    pub(crate) name: Option<String>,
}

impl Op {
    /// Sets `key` of the root to null.
    pub(crate) fn put(key: &str) -> Self {
        Self {
            object: None,
            key: Key::Map(key.into()),
            insert: false,
            action: 1,
            kind: 0,
            value: Vec::new(),
            preds: Vec::new(),
            expand: false,
            name: None,
        }
    }

    /// Inserts a null into the sequence `object`, at its head.
    pub(crate) fn insert(object: Id) -> Self {
        Self { object: Some(object), key: Key::Head, insert: true, ..Self::put("") }
    }

    pub(crate) fn does(self, action: u64) -> Self {
        Self { action, ..self }
    }

    pub(crate) fn value(self, kind: u8, value: &[u8]) -> Self {
        Self { kind, value: value.to_vec(), ..self }
    }

    pub(crate) fn over(self, preds: &[Id]) -> Self {
        Self { preds: preds.to_vec(), ..self }
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: Some(name.into()), ..self }
    }
}

/// A change, part by part. Columns have the numbers of the format.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) kind: u8,
    pub(crate) deps: Vec<[u8; 32]>,
    pub(crate) actor: Vec<u8>,
    pub(crate) seq: u64,
    pub(crate) start_op: u64,
    pub(crate) time: Vec<u8>,
    pub(crate) message: Vec<u8>,
    pub(crate) others: Vec<Vec<u8>>,
    pub(crate) columns: Vec<(u64, Vec<u8>)>,
    pub(crate) extra: Vec<u8>,
}

/// Who writes the changes that are built here.
pub(crate) const AUTHOR: [u8; 16] = [7; 16];

impl Parts {
    /// The first change of [`AUTHOR`], of these operations.
    pub(crate) fn of(ops: &[Op]) -> Self {
        let preds = || ops.iter().flat_map(|op| &op.preds);
        let element = |op: &Op| match op.key {
            Key::Map(_) => None,
            Key::Head => Some((0, None)),
            Key::Element((counter, actor)) => Some((u64::from(counter), Some(u64::from(actor)))),
        };
        let each = |field: &dyn Fn(&Op) -> Option<u64>| -> Vec<Option<u64>> {
            ops.iter().map(field).collect()
        };
        let expand: Vec<bool> = ops.iter().map(|op| op.expand).collect();
        let flags = if expand.contains(&true) { booleans(&expand) } else { Vec::new() };
        let key = |op: &Op| match &op.key {
            Key::Map(key) => Some(key.clone()),
            Key::Head | Key::Element(_) => None,
        };
        let columns = [
            (0x01, numbers(&each(&|op| Some(op.object?.1.into())))),
            (0x02, numbers(&each(&|op| Some(op.object?.0.into())))),
            (0x11, numbers(&each(&|op| element(op)?.1))),
            (0x13, deltas(&each(&|op| Some(element(op)?.0)))),
            (0x15, strings(&ops.iter().map(key).collect::<Vec<_>>())),
            (0x34, booleans(&ops.iter().map(|op| op.insert).collect::<Vec<_>>())),
            (0x42, numbers(&each(&|op| Some(op.action)))),
            (0x56, numbers(&each(&|op| Some((op.value.len() as u64) << 4 | u64::from(op.kind))))),
            (0x57, ops.iter().flat_map(|op| op.value.clone()).collect()),
            (0x70, numbers(&each(&|op| Some(op.preds.len() as u64)))),
            (0x71, numbers(&preds().map(|pred| Some(pred.1.into())).collect::<Vec<_>>())),
            (0x73, deltas(&preds().map(|pred| Some(pred.0.into())).collect::<Vec<_>>())),
            (0x94, flags),
            (0xa5, strings(&ops.iter().map(|op| op.name.clone()).collect::<Vec<_>>())),
        ];
        Self {
            kind: 1,
            deps: Vec::new(),
            actor: AUTHOR.to_vec(),
            seq: 1,
            start_op: 1,
            time: vec![0],
            message: Vec::new(),
            others: Vec::new(),
            columns: columns.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect(),
            extra: Vec::new(),
        }
    }

    /// Takes a change apart that is in order.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut rest = &bytes[9..];
        let bytes = &mut rest;
        take_unsigned(bytes);
        let deps = (0..take_unsigned(bytes)).map(|_| take(bytes, 32).try_into().unwrap());
        let deps = deps.collect();
        let len = take_unsigned(bytes);
        let actor = take(bytes, len).to_vec();
        let (seq, start_op) = (take_unsigned(bytes), take_unsigned(bytes));
        let end = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
        let time = take(bytes, end as u64 + 1).to_vec();
        let len = take_unsigned(bytes);
        let message = take(bytes, len).to_vec();
        let mut others = Vec::new();
        for _ in 0..take_unsigned(bytes) {
            let len = take_unsigned(bytes);
            others.push(take(bytes, len).to_vec());
        }
        let count = take_unsigned(bytes);
        let list: Vec<(u64, u64)> =
            (0..count).map(|_| (take_unsigned(bytes), take_unsigned(bytes))).collect();
        let columns =
            list.into_iter().map(|(spec, len)| (spec, take(bytes, len).to_vec())).collect();
        let extra = bytes.to_vec();
        Self { kind: 1, deps, actor, seq, start_op, time, message, others, columns, extra }
    }

    /// The bytes of a column, to be changed.
    pub(crate) fn column(&mut self, spec: u64) -> &mut Vec<u8> {
        &mut self.columns.iter_mut().find(|column| column.0 == spec).unwrap().1
    }

    /// Everything but the header.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        unsigned(self.deps.len() as u64, &mut out);
        out.extend(self.deps.iter().flatten());
        unsigned(self.actor.len() as u64, &mut out);
        out.extend(&self.actor);
        unsigned(self.seq, &mut out);
        unsigned(self.start_op, &mut out);
        out.extend(&self.time);
        unsigned(self.message.len() as u64, &mut out);
        out.extend(&self.message);
        unsigned(self.others.len() as u64, &mut out);
        for other in &self.others {
            unsigned(other.len() as u64, &mut out);
            out.extend(other);
        }
        unsigned(self.columns.len() as u64, &mut out);
        for (spec, bytes) in &self.columns {
            unsigned(*spec, &mut out);
            unsigned(bytes.len() as u64, &mut out);
        }
        self.columns.iter().for_each(|(_, bytes)| out.extend(bytes));
        out.extend(&self.extra);
        out
    }

    /// The chunk, with the right length and checksum.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        seal(self.kind, &self.body())
    }
}

/// A chunk of a type around a body, with the right length and checksum.
pub(crate) fn seal(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut hashed = vec![kind];
    unsigned(body.len() as u64, &mut hashed);
    hashed.extend(body);
    let mut out = vec![0x85, 0x6f, 0x4a, 0x83];
    out.extend(&Sha256::digest(&hashed)[..4]);
    out.extend(hashed);
    out
}
