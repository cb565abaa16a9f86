// Puts the page together: what changes at the node is read again and drawn.

import { note, read, Refusal, setUpToken, wantsToken } from './api.js'
import { setUpFiles, showFiles, showKeeps, showRows } from './files.js'
import { listen } from './live.js'
import { showPeers } from './peers.js'
import { setUpPhone } from './phone.js'
import { showRights } from './rights.js'
import { showStorage } from './storage.js'
import { showTrash } from './trash.js'
import { setUpUploads } from './uploads.js'

// How long a change waits for others that come with it, and how long what was drawn stays as it is
// under many changes, in milliseconds.
const GATHER = 200
const REST = 2000

// Draws something anew, once for all changes that come together, and not while nobody looks.
function gathered(draw) {
  let isWaiting = false
  let drawing = Promise.resolve()
  let rested = 0
  return () => {
    if (isWaiting || document.hidden) return
    isWaiting = true
    setTimeout(() => {
      isWaiting = false
      if (document.hidden) return
      drawing = drawing.then(draw).catch(told)
      rested = Date.now() + REST
    }, Math.max(GATHER, rested - Date.now()))
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
    await showRows()
    drawFiles()
  }),
  keep: gathered(showKeeps),
  storage: gathered(async () => {
    await showRights()
    await showRows()
    const status = await read('api/p2p/status')
    showStorage(status)
    await showTrash(status)
  }),
}

function drawAll() {
  for (const drawAgain of Object.values(draw)) drawAgain()
}

// Tells whether changes are told; if not, all is read again from time to time.
function live(problem) {
  const state = document.getElementById('live')
  const text = problem ?? 'live'
  state.classList.toggle('on', problem === null)
  // The same words again would be read out again.
  if (state.textContent !== text) state.textContent = text
  if (problem !== null) drawAll()
}

// On a phone the files are what matters; the rest unfolds.
if (matchMedia('(max-width: 46rem)').matches) {
  for (const card of document.querySelectorAll('aside > details')) card.open = false
}
setUpToken()
setUpFiles()
setUpUploads()
setUpPhone()
// What is there does not wait for the first event, which a proxy may hold back.
drawAll()
for (const event of ['visibilitychange', 'token']) document.addEventListener(event, drawAll)
// What whoever has just given a token may do is not told late.
document.addEventListener('token', () => showRights().then(showRows).catch(told))
listen((name) => draw[name]?.(), live)
