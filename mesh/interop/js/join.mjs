// Joins a topic of an Aether mesh, says hello, and waits for an answer.
//
//     node join.mjs /ip4/127.0.0.1/tcp/4001/p2p/12D3KooW... mesh topic
//
// To take part in a topic a program needs libp2p with Noise, Yamux, identify and gossipsub, and the
// envelope (envelope.mjs). It isn't a member by that: nobody watches whether it is alive, and it
// can't ask for what gossip lost.
import './node20.mjs'
import { setTimeout as sleep } from 'node:timers/promises'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { gossipId, gossipName, meshId, open, seal, topicId } from './envelope.mjs'

const [address, meshName, topicName] = process.argv.slice(2)
if (!topicName) throw new Error('usage: node join.mjs <multiaddress> <mesh> <topic>')
const timer = setTimeout(() => {
  console.error('no answer within 60 seconds')
  process.exit(1)
}, 60_000)

const mesh = meshId(meshName)
const topic = topicId(mesh, topicName)
const name = gossipName(topic)

// One Ed25519 key is the peer's identity and signs its envelopes.
const privateKey = await generateKeyPair('Ed25519')
const seed = privateKey.raw.subarray(0, 32)

const node = await createLibp2p({
  privateKey,
  transports: [tcp(), webSockets()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    // The envelope is signed, so gossipsub doesn't sign, and a message's id is made of its bytes.
    pubsub: gossipsub({
      globalSignaturePolicy: 'StrictNoSign',
      msgIdFn: ({ topic, data }) => gossipId(topic, data)
    })
  }
})
const { pubsub } = node.services

// The validator decides before anything is delivered or forwarded: pass on no forgeries.
const answer = Promise.withResolvers()
pubsub.topicValidators.set(name, (peer, { data }) => {
  if (data[0] !== 1) return 'ignore' // A later version is nobody's fault.
  try {
    answer.resolve(open(mesh, topic, data))
    return 'accept'
  } catch (error) {
    console.error(`from ${peer}: ${error.message}`)
    return 'reject'
  }
})

pubsub.subscribe(name)
await node.dial(multiaddr(address))
while (pubsub.getSubscribers(name).length === 0) await sleep(50)

const now = Date.now()
const header = { incarnation: now, number: 1, first: 1, time: now }
await pubsub.publish(name, seal(seed, mesh, topic, header, ['hello from JavaScript']))

const { values } = await answer.promise
console.log(values[0])
await node.stop()
clearTimeout(timer)
