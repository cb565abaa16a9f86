// Puts the page together: what changes at the node is read again and drawn.

import { listen, note, read, wantsToken } from './api.js'
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

function told(error) {
  if (!wantsToken(error)) note(error.message, true)
}

async function showNode() {
  const { self } = await read('/api/peers')
  document.getElementById('node').textContent = `${self.address} · ${self.peer_id.slice(0, 8)}`
}

const drawFiles = gathered(showFiles)
const draw = {
  files: drawFiles,
  network: drawFiles,
  peers: gathered(async () => {
    await Promise.all([showPeers(), showNode()])
    // The files are told with the names of their peers.
    showRows()
  }),
  keep: gathered(showKeeps),
}

function heard(name, data) {
  if (name === 'storage') showStorage(data)
  else draw[name]?.()
}

function live(isThere) {
  const state = document.getElementById('live')
  state.classList.toggle('on', isThere)
  state.textContent = isThere ? 'live' : 'the node does not answer'
}

setUpFiles(drawFiles)
setUpUploads()
listen(heard, live)
