// Puts the page together: what changes at the node is read again and drawn.

import { listen, note, read, Refusal, wantsToken } from './api.js'
import { setUpFiles, showFiles, showKeeps, showRows } from './files.js'
import { showPeers } from './peers.js'
import { showStorage } from './storage.js'
import { setUpUploads } from './uploads.js'

// How long a change waits for others that come with it, in milliseconds.
const GATHER = 200

// Draws something anew, once for all changes that come together.
function gathered(draw) {
  let waiting = false
  let drawing = Promise.resolve()
  return () => {
    if (waiting) return
    waiting = true
    setTimeout(() => {
      waiting = false
      drawing = drawing.then(draw).catch(told)
    }, GATHER)
  }
}

// A node that is away is told beside its name.
function told(error) {
  if (error instanceof Refusal && !wantsToken(error)) note(error.message, true)
}

async function showNode() {
  const { self } = await read('api/peers')
  document.getElementById('node').textContent = `${self.address} · ${self.peer_id.slice(0, 8)}`
}

const drawFiles = gathered(showFiles)
const draw = {
  files: drawFiles,
  network: drawFiles,
  peers: gathered(async () => {
    await Promise.all([showPeers(), showNode()])
    // The files are told with the names of their peers, and with those that answer.
    showRows()
    drawFiles()
  }),
  keep: gathered(showKeeps),
  storage: gathered(async () => showStorage(await read('api/p2p/status'))),
}

function heard(name, data) {
  if (name === 'storage') showStorage(data)
  else draw[name]?.()
}

// Tells whether changes are told; if not, all is read again from time to time.
function live(problem) {
  const state = document.getElementById('live')
  const text = problem ?? 'live'
  state.classList.toggle('on', problem === null)
  // The same words again would be read out again.
  if (state.textContent !== text) state.textContent = text
  if (problem !== null) for (const drawAgain of Object.values(draw)) drawAgain()
}

setUpFiles(drawFiles)
setUpUploads()
// What is there does not wait for the first event, which a proxy may hold back.
for (const drawFirst of Object.values(draw)) drawFirst()
listen(heard, live)
