// What libp2p needs of Node.js 22, for version 20. On 22 and later this does nothing.
import { WebSocket } from 'ws'

globalThis.WebSocket ??= WebSocket

Promise.withResolvers ??= () => {
  const deferred = {}
  deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }))
  return deferred
}
