// Aether's envelope, version 1: mesh/src/proto/envelope.rs describes it byte by byte.
import { ed25519 } from '@noble/curves/ed25519.js'
import { blake3 } from '@noble/hashes/blake3.js'
import { bytesToHex, concatBytes, utf8ToBytes } from '@noble/hashes/utils.js'
import { decodeFirst, encode } from 'cborg'

const HEADER = 65
const SIGNATURE = 64
const MAX_PAYLOAD = 65536

// BLAKE3 in its key derivation mode: the context says what the hash is of.
const hash = (purpose, ...parts) =>
  blake3(concatBytes(...parts), { context: utf8ToBytes(`aether 2026-11 ${purpose} v1`) })

// The id of an open mesh is the hash of its genesis: version 1, mode 0, the name, no admins.
export function meshId (name) {
  const utf8 = utf8ToBytes(name)
  return hash('mesh genesis', Uint8Array.of(1, 0, utf8.length >> 8, utf8.length), utf8, Uint8Array.of(0, 0))
}

export const topicId = (mesh, name) => hash('topic', mesh, utf8ToBytes(name))
export const gossipName = (topic) => bytesToHex(topic.subarray(0, 20))
export const gossipId = (name, envelope) => hash('gossip id', utf8ToBytes(name), envelope).subarray(0, 20)

// The mesh and the topic are signed with it, so that an envelope is worth nothing elsewhere.
const digest = (mesh, topic, signed) => hash('envelope', mesh, topic, signed)

// Signs values with `seed`, the 32 bytes of an Ed25519 secret key. `incarnation` is larger each
// time the program starts; `number` counts envelopes and `first` messages, both from 1.
export function seal (seed, mesh, topic, { incarnation, number, first, time }, values) {
  const fields = new DataView(new ArrayBuffer(32))
  ;[incarnation, number, first, time].forEach((field, i) => fields.setBigUint64(8 * i, BigInt(field)))
  const payload = concatBytes(...values.map((value) => encode(value)))
  const author = ed25519.getPublicKey(seed)
  const signed = concatBytes(Uint8Array.of(1), author, new Uint8Array(fields.buffer), payload)
  return concatBytes(signed, ed25519.sign(digest(mesh, topic, signed), seed))
}

// What an envelope says, or an error if it isn't its author's, in this mesh, on this topic.
export function open (mesh, topic, envelope) {
  const length = envelope.length - HEADER - SIGNATURE
  if (length < 1 || length > MAX_PAYLOAD || envelope[0] !== 1) throw new Error('no envelope of version 1')
  const signed = envelope.subarray(0, -SIGNATURE)
  const author = envelope.subarray(1, 33)
  // Strictly, as RFC 8032 has it: no other encodings than the canonical, no keys of small order.
  if (!ed25519.verify(envelope.subarray(-SIGNATURE), digest(mesh, topic, signed), author, { zip215: false })) {
    throw new Error('the signature is not by the author, in this mesh, on this topic')
  }
  const fields = new DataView(envelope.buffer, envelope.byteOffset + 33, 32)
  const [incarnation, number, first, time] = [0, 8, 16, 24].map((at) => fields.getBigUint64(at))
  if (number === 0n || first === 0n) throw new Error('envelopes and messages count from 1')
  const values = []
  for (let rest = signed.subarray(HEADER); rest.length > 0;) {
    const [value, after] = decodeFirst(rest)
    values.push(value)
    rest = after
  }
  return { author, incarnation, number, first, time, values }
}
