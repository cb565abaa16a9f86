// What changes at the node, told as it happens. A browser has six connections to a server that
// speaks HTTP/1.1, and a stream of events holds one as long as it lasts: so one tab listens for
// all, and none where nobody looks.

import { Refusal, request } from './api.js'

// How long to wait for the next stream of events, in milliseconds.
const LISTEN_AGAIN = 2000
// The node says something at least each 15 s; a stream that is silent for so long is none.
const SILENT = 40_000
// How often the tab that listens tells that it is there.
const BEAT = 1000
// How long without that until another one listens.
const LOST = 3500
// The most that a tab waits for another one to come first.
const TURN = 400

const me = crypto.getRandomValues(new Uint32Array(4)).join('-')
const channel = new BroadcastChannel(`larder ${new URL('.', document.baseURI).pathname}`)

// The stream of this tab, while it has one or tries to.
let listening = null
// When another tab last told that it listens; null when this one was told that it stopped.
let heardOther = null
let problem = null
let isKnown = false
let tellChange = () => {}
let tellState = () => {}

// Listens to what changes, for ever: `heard` gets the name of each change, and `state` null while
// changes are told and else why they are not. Nothing is told while the page is hidden.
export function listen(heard, state) {
  tellChange = heard
  tellState = state
  channel.addEventListener('message', (event) => onMessage(event.data))
  document.addEventListener('visibilitychange', () => (document.hidden ? leave() : takeTurn(true)))
  window.addEventListener('pagehide', leave)
  window.addEventListener('pageshow', (event) => { if (event.persisted) takeTurn(true) })
  setInterval(beat, BEAT)
  takeTurn(true)
}

function send(kind, more = {}) {
  channel.postMessage({ kind, from: me, ...more })
}

function onMessage({ kind, from, name, ...told }) {
  if (kind === 'ask' && isTelling()) beat()
  if (kind === 'gone') takeTurn(false)
  if (document.hidden) return
  if (kind === 'change') tellChange(name)
  if (kind !== 'beat') return
  // Of two that listen one goes on.
  if (isTelling() && from > me) return beat()
  heardOther = Date.now()
  stop()
  if (told.isTry || !isKnown || told.problem !== problem) tellsState(told.problem)
}

// Whether this tab listens for all; one that the node refuses listens for nobody.
const isTelling = () => listening !== null && listening.isAllowed

function beat() {
  if (document.hidden) return
  if (isTelling()) send('beat', { problem })
  else if (listening === null && (heardOther === null || Date.now() - heardOther > LOST)) takeTurn(false)
}

// Listens, unless another tab says soon enough that it does.
function takeTurn(asks) {
  heardOther = null
  if (document.hidden || listening !== null) return
  if (asks) send('ask')
  setTimeout(() => {
    if (heardOther === null && listening === null && !document.hidden) follow()
  }, TURN * (0.5 + Math.random() / 2))
}

function leave() {
  if (isTelling()) send('gone')
  stop()
}

function stop() {
  listening?.abort.abort()
  listening = null
}

function tellsState(text) {
  problem = text
  isKnown = true
  tellState(text)
}

async function follow() {
  const mine = { abort: new AbortController(), isAllowed: false }
  listening = mine
  while (listening === mine) {
    const told = await oneStream(mine)
    if (listening !== mine) return
    tellsState(told)
    if (mine.isAllowed) send('beat', { problem, isTry: true })
    await new Promise((resolve) => { setTimeout(resolve, LISTEN_AGAIN) })
  }
}

// Reads one stream to its end, and tells why there is none.
async function oneStream(mine) {
  // One of its own, which a silence ends without ending the others.
  const stream = new AbortController()
  const end = () => stream.abort()
  mine.abort.signal.addEventListener('abort', end)
  try {
    const headers = { Accept: 'text/event-stream' }
    const answer = await request('api/events', { headers, background: true, signal: stream.signal })
    await readEvents(answer.body, end, mine)
  } catch (error) {
    if (error instanceof Refusal) {
      mine.isAllowed = false
      return error.message
    }
  } finally {
    mine.abort.signal.removeEventListener('abort', end)
  }
  mine.isAllowed = true
  return 'the node does not answer'
}

// Not an EventSource, which can send no token.
async function readEvents(body, end, mine) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  let isFirst = true
  for (;;) {
    const silence = setTimeout(end, SILENT)
    const { done, value } = await reader.read().finally(() => clearTimeout(silence))
    if (done || listening !== mine) return
    if (isFirst) {
      // Not before: a proxy may hold back what comes behind the head of the answer.
      mine.isAllowed = true
      tellsState(null)
      send('beat', { problem })
    }
    isFirst = false
    text += value
    const events = text.split('\n\n')
    text = events.pop()
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event)
      if (!name) continue
      tellChange(name[1])
      send('change', { name: name[1] })
    }
  }
}
