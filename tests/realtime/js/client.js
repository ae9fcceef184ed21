// A client made with the Centrifuge SDK: does what lines on standard input say, prints what happens.
//
//   node client.js URL json|protobuf
//
// A line in is {"do": ..., ...}, a line out is {"event": ..., ...}; the events are those of
// fix_sdk.py. Data are JSON values on both sides, whatever the encoding of the protocol.
"use strict"

const { createInterface } = require("node:readline")
const WebSocket = require("ws")

const [url, encoding] = process.argv.slice(2)
const isBinary = encoding === "protobuf"
const { Centrifuge } = require(isBinary ? "centrifuge/build/protobuf" : "centrifuge")

const pack = (data) => (isBinary ? new TextEncoder().encode(JSON.stringify(data)) : data)
const unpack = (data) => (isBinary ? JSON.parse(new TextDecoder().decode(data)) : data)
const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }))

let client

const actions = {
  connect({ token, tokens }) {
    const getToken = async () => {
      say("token")
      return tokens.shift()
    }
    client = new Centrifuge(url, {
      websocket: WebSocket,
      token,
      getToken: tokens.length ? getToken : null,
      minReconnectDelay: 50,
      maxReconnectDelay: 200,
    })
    client.on("connecting", ({ code }) => say("connecting", { code }))
    client.on("connected", () => say("connected"))
    client.on("disconnected", ({ code }) => say("disconnected", { code }))
    client.connect()
  },

  subscribe({ channel, data, delta }) {
    const subscription = client.getSubscription(channel) ?? newSubscription(channel, data, delta)
    subscription.subscribe()
  },

  unsubscribe({ channel }) {
    client.getSubscription(channel).unsubscribe()
  },

  rpc({ call, method, data }) {
    client.rpc(method, pack(data)).then(
      (answer) => say("answer", { call, data: unpack(answer.data) }),
      ({ code, message }) => say("answer", { call, error: { code, message } }),
    )
  },
}

function newSubscription(channel, data, delta) {
  const options = { minResubscribeDelay: 50, maxResubscribeDelay: 200 }
  if (data !== null) options.data = pack(data)
  if (delta) options.delta = "fossil"
  return client
    .newSubscription(channel, options)
    .on("subscribing", ({ code }) => say("subscribing", { channel, code }))
    .on("subscribed", ({ recoverable, wasRecovering, recovered, streamPosition }) =>
      say("subscribed", {
        channel,
        recoverable,
        was_recovering: wasRecovering,
        recovered,
        ...streamPosition,
      }),
    )
    .on("unsubscribed", ({ code }) => say("unsubscribed", { channel, code }))
    .on("publication", ({ offset, data }) =>
      say("publication", { channel, offset, data: unpack(data) }),
    )
}

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { do: action, ...fields } = JSON.parse(line)
    actions[action](fields)
  })
  .on("close", () => client?.disconnect())
