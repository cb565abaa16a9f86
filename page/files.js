// What the network holds, in order, as far as somebody looks.

import { note, read, Refusal } from './api.js'
import { holders } from './badge.js'
import { setUpChosen, showChosen } from './chosen.js'
import { row } from './file_row.js'
import { age, bytes, count, time } from './format.js'
import { Listing } from './listing.js'
import { mayWrite } from './rights.js'
import { LongList } from './rows.js'

// How many files are read at once, and where all have to be there to be put in order.
const PIECE = 200
const LARGE_PIECE = 1000
// With more files than these they are not put in an order that the node does not know.
const MOST_SORTED = 5000

// The orders of the node itself, and those of the page.
const ORDERS = ['newest', 'oldest']
const SORTED = {
  name: (a, b) => a.name.localeCompare(b.name),
  largest: (a, b) => b.size - a.size,
}

// How often ages are told anew, in milliseconds.
const AGES_EVERY = 30_000

let listing = new Listing('', 'newest', PIECE)
// What is one file to people, in the order of the node and in the one that is shown.
let found = new Map()
let shown = []
let list = null
// What was drawn of each file, and from what.
const rows = new Map()
let keeps = new Map()
// Reading that is under way; the next waits for it.
let reading = Promise.resolve()

export function setUpFiles() {
  setUpChosen()
  list = new LongList(document.getElementById('file-list'), drawnOf)
  for (const [id, event] of [['search', 'input'], ['sort', 'change']]) {
    document.getElementById(id).addEventListener(event, () => afresh().catch(tellFailure))
  }
  let waiting = false
  const look = () => {
    if (waiting) return
    waiting = true
    requestAnimationFrame(() => {
      waiting = false
      list.draw()
      readWhatIsSeen().catch(tellFailure)
    })
  }
  window.addEventListener('scroll', look, { passive: true })
  window.addEventListener('resize', look)
  setInterval(() => { if (!document.hidden) showRows() }, AGES_EVERY)
}

const tellFailure = (error) => { if (error instanceof Refusal) note(error.message, true) }
const wanted = () => document.getElementById('search').value.trim()
const wantedOrder = () => document.getElementById('sort').value

// Begins anew, with what is wanted now.
function afresh() {
  const order = wantedOrder()
  const isSorted = order in SORTED
  const size = isSorted ? LARGE_PIECE : PIECE
  listing = new Listing(wanted(), ORDERS.includes(order) ? order : 'newest', size)
  return readWhatIsSeen()
}

// Something has changed: what is seen is read again.
export function showFiles() {
  listing.mark()
  return readWhatIsSeen()
}

// Reads what is in the window, or near it, and was not read since it changed.
function readWhatIsSeen() {
  reading = reading.catch(() => {}).then(async () => {
    for (;;) {
      const of = listing
      if (!(await readSome(of))) return
      if (of !== listing) continue
      found = together(of.files)
      showRows()
    }
  })
  return reading
}

async function readSome(of) {
  if (of.pieces.length === 0) {
    await of.readOn()
    return true
  }
  const isSorted = wantedOrder() in SORTED
  list.place()
  const seen = shown.slice(list.first, list.last).map((file) => file.piece)
  // What is new comes first; and of nothing nothing is seen.
  if (list.first === 0) seen.push(of.pieces[0])
  if (list.last === shown.length) seen.push(of.pieces.at(-1))
  if (await of.readAgain(isSorted ? [...of.pieces] : [...new Set(seen)])) return true
  if (of.isWhole || (list.last < shown.length && !isSorted)) return false
  await of.readOn()
  return true
}

export async function showKeeps() {
  const answer = await read('api/p2p/keep')
  keeps = new Map(answer.keeps.map((keep) => [keep.id, keep]))
  showRows()
}

// The same content under the same name is one file to people, however many hold it.
function together(listed) {
  const merged = new Map()
  for (const file of listed) {
    const key = file.hash ? `${file.hash} ${file.original_name}` : file.file_id
    const known = merged.get(key)
    if (known) {
      known.ids.push(file.file_id)
      known.damaged ||= file.damaged
      for (const peer of file.peers) known.peers.add(peer)
      for (const peer of file.reachable_peers) known.reachable.add(peer)
    } else {
      merged.set(key, {
        key, ids: [file.file_id], name: file.original_name, size: file.size, hash: file.hash,
        type: file.content_type ?? '', date: time(file.uploaded_at), peers: new Set(file.peers),
        reachable: new Set(file.reachable_peers), damaged: file.damaged, piece: file.piece,
      })
    }
  }
  return merged
}

export function showRows() {
  const order = SORTED[wantedOrder()]
  shown = [...found.values()]
  if (order) shown.sort(order)
  const focused = document.activeElement?.dataset?.action
  list.show(shown)
  showChosen(found)
  if (focused && document.activeElement === document.body) focusAgain(list.list, focused)
  for (const [key, it] of rows) if (!it.row.isConnected) rows.delete(key)
  for (const option of document.getElementById('sort').options) {
    option.disabled = option.value in SORTED && !listing.isWhole && listing.total > MOST_SORTED
  }
  const text = told(shown.length)
  const said = document.getElementById('files-note')
  if (said.textContent !== text) said.textContent = text
}

// The row of a file: the one that is there, unless it tells something else by now.
function drawnOf(file) {
  const here = file.peers.has(listing.myself)
  file.here = here
  const keep = keeps.get(file.hash ?? file.ids[0])
  const keeping = !here && keep && ['waiting', 'fetching'].includes(keep.state) ? keep : null
  const facts = `${bytes(file.size)} · ${age(file.date)} · ${holders(file, here, listing.myself)}`
  const from = JSON.stringify([facts, here, keeping, file.ids, file.damaged, mayWrite()])
  const before = rows.get(file.key)
  if (before?.from === from) return before.row
  const made = row(file, keeping, facts, mayWrite())
  rows.set(file.key, { from, row: made })
  return made
}

function focusAgain(list, action) {
  const same = list.querySelector(`[data-action="${CSS.escape(action)}"]`)
  const ofFile = action.split(' ').at(-1)
  const next = same ?? list.querySelector(`a[data-action="open ${CSS.escape(ofFile)}"]`)
  const place = next ?? document.getElementById('files')
  place.focus()
}

function told(number) {
  const searching = wanted() !== ''
  const { isWhole, total } = listing
  if (number === 0 && !isWhole) return 'looking…'
  if (number === 0) return searching ? 'No file has such a name.' : 'Nothing is here yet.'
  const files = count(number, 'file', 'files')
  if (searching) return isWhole ? `${files} found` : `more than ${files} found`
  return isWhole ? files : `about ${count(total, 'file', 'files')}`
}
