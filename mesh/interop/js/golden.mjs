// Checks envelope.mjs against the example that the Rust implementation is checked against.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js'
import { gossipId, gossipName, meshId, open, seal, topicId } from './envelope.mjs'

const text = readFileSync(new URL('../../tests/golden/envelope-v1.txt', import.meta.url), 'utf8')
const golden = Object.fromEntries(text.trim().split('\n').filter((line) => !line.startsWith('#')).map((line) => line.split(' ')))

const mesh = meshId('aether')
const topic = topicId(mesh, 'greetings')
const header = { incarnation: 1700000000000n, number: 3n, first: 7n, time: 1700000000999n }
const envelope = seal(new Uint8Array(32).fill(7), mesh, topic, header, ['hello', 42])
assert.deepEqual({
  mesh: bytesToHex(mesh),
  topic: bytesToHex(topic),
  'gossip-topic': gossipName(topic),
  envelope: bytesToHex(envelope),
  'gossip-id': bytesToHex(gossipId(gossipName(topic), envelope))
}, golden)

const { author, values, ...found } = open(mesh, topic, hexToBytes(golden.envelope))
assert.deepEqual([found, values], [header, ['hello', 42]])
assert.equal(bytesToHex(author), golden.envelope.slice(2, 66))

// Every byte is signed, and so are the mesh and the topic.
for (let at = 0; at < envelope.length; at++) {
  const changed = envelope.slice()
  changed[at] ^= 1
  assert.throws(() => open(mesh, topic, changed), undefined, `byte ${at}`)
}
assert.throws(() => open(meshId('other'), topic, envelope))
assert.throws(() => open(mesh, topicId(mesh, 'others'), envelope))
console.log('golden ok')
