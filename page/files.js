// What the network holds, in order, as far as somebody looks.

import { note, read, Refusal } from './api.js'
import { copies, holders } from './badge.js'
import { setUpChosen, showChosen } from './chosen.js'
import { row } from './file_row.js'
import { folderRow, showWay } from './folder_row.js'
import { age, bytes, count } from './format.js'
import { Found } from './found.js'
import { Listing } from './listing.js'
import { place } from './place.js'
import { isPressed, released, setUpPress } from './press.js'
import { mayRead, mayWrite } from './rights.js'
import { LongList } from './rows.js'
import { pattern } from './searched.js'

// How many files are read at once, and where all have to be there to be put in order.
const PIECE = 200
const LARGE_PIECE = 1000
// How many pieces are read that show nothing new, as of one large folder, until somebody asks for
// more.
const MOST_SILENT = 5
// With more files than these they are not put in an order that the node does not know.
const MOST_SORTED = 5000

// The orders of the node itself, and those of the page.
const ORDERS = ['newest', 'oldest']
const SORTED = {
  // As people count: 2 before 10.
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
  largest: (a, b) => b.size - a.size,
}

// How often ages are told anew, in milliseconds.
const AGES_EVERY = 30_000

let listing = new Listing('', 'newest', PIECE)
// What is one file to people, in the order of the node, and what is shown of it, in the order in
// which that is.
let found = new Found()
let shown = []
// How many pieces were read one after the other that showed nothing new.
let silent = 0
let list = null
// What was drawn of each file, and from what.
const rows = new Map()
let keeps = new Map()
// Reading that is under way; the next waits for it.
let reading = Promise.resolve()

export function setUpFiles() {
  setUpChosen()
  list = new LongList(document.getElementById('file-list'), drawnOf)
  setUpPress(list.list)
  for (const [id, event] of [['search', 'input'], ['sort', 'change']]) {
    document.getElementById(id).addEventListener(event, () => afresh().catch(tellFailure))
  }
  let at = place()
  window.addEventListener('hashchange', () => {
    // The address leads to parts of the page, too.
    if (place() === at) return
    at = place()
    const files = document.getElementById('files')
    if (files.getBoundingClientRect().top < 0) files.scrollIntoView()
    // Where the focus was is gone.
    files.focus({ preventScroll: true })
    afresh().catch(tellFailure)
  })
  // The address tells which folder is looked at.
  document.querySelector('.skip').addEventListener('click', (event) => {
    if (place() === '') return
    event.preventDefault()
    document.getElementById('files').focus()
  })
  document.getElementById('look-further').addEventListener('click', () => {
    silent = 0
    readWhatIsSeen().catch(tellFailure)
  })
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
const searched = () => document.getElementById('search').value.trim()
// What is searched for is looked for in all folders.
const folder = () => (searched() === '' ? place() : '')
const wantedOrder = () => document.getElementById('sort').value

// Whether a file would be listed now, if it is there.
function covers(file) {
  if (folder() !== '') return file.name.startsWith(`${folder()}/`)
  const wanted = pattern(searched())
  if (wanted) return wanted.means(file.name)
  return file.name.toLowerCase().includes(searched().toLowerCase())
}

// Begins anew, with what is wanted now.
function afresh() {
  const order = wantedOrder()
  const isSorted = order in SORTED
  const size = isSorted ? LARGE_PIECE : PIECE
  const name = folder() === '' ? pattern(searched())?.part ?? searched() : `${folder()}/`
  listing = new Listing(name, ORDERS.includes(order) ? order : 'newest', size)
  silent = 0
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
      const piece = await readSome(of)
      if (piece === null) return
      if (of !== listing) continue
      const before = shown.length
      const isAnew = piece === 'again' || of.pieces.length === 1
      if (isAnew) found = new Found()
      for (const { files } of isAnew ? of.pieces : [piece]) found.add(files, of.myself)
      shown = listed()
      silent = !isAnew && shown.length === before ? silent + 1 : 0
      await showRows()
    }
  })
  return reading
}

// Reads the piece that is needed most, and gives it; 'again' where it is not behind all others, and
// null where none is needed.
async function readSome(of) {
  if (of.pieces.length === 0) return of.readOn()
  const isSorted = wantedOrder() in SORTED
  list.place()
  const seen = shown.slice(list.first, list.last).map((file) => file.piece)
  // What is new comes first; and of nothing nothing is seen.
  if (list.first === 0) seen.push(of.pieces[0])
  if (list.last === shown.length) seen.push(of.pieces.at(-1))
  if (await of.readAgain(isSorted ? [...of.pieces] : [...new Set(seen)])) return 'again'
  if (of.isWhole || (list.last < shown.length && !isSorted)) return null
  return silent < MOST_SILENT || isSorted ? of.readOn() : null
}

export async function showKeeps() {
  const answer = await read('api/p2p/keep')
  keeps = new Map(answer.keeps.map((keep) => [keep.id, keep]))
  await showRows()
}

// What is shown of all that was found.
function listed() {
  const wanted = pattern(searched())
  const all = searched() === '' ? found.inside(folder()) : found.everywhere()
  // The node finds all that has a part of the pattern.
  const items = wanted ? all.filter((file) => wanted.means(file.name)) : all
  const order = SORTED[wantedOrder()]
  return order ? items.sort(order) : items
}

// Draws what is known by now, once no click is under way there.
export async function showRows() {
  await released()
  shown = listed()
  const focused = document.activeElement?.dataset?.action
  list.show(shown)
  showChosen(found.files, listing, covers)
  showWay(folder())
  document.getElementById('files-further').hidden = listing.isWhole || silent < MOST_SILENT
  if (focused && document.activeElement === document.body) focusAgain(list.list, focused)
  for (const [key, it] of rows) if (!it.row.isConnected) rows.delete(key)
  for (const option of document.getElementById('sort').options) {
    option.disabled = option.value in SORTED && !listing.isWhole && listing.total > MOST_SORTED
  }
  const text = told(shown.reduce((sum, it) => sum + (it.count ?? 1), 0))
  const said = document.getElementById('files-note')
  if (said.textContent !== text) said.textContent = text
}

// The row of a file or a folder: the one that is there, unless it tells something else by now and
// nothing is pressed, as where the list is scrolled meanwhile.
function drawnOf(item) {
  if (item.path === undefined) return fileDrawn(item)
  const { isWhole } = listing
  return drawn(item, [item.count, item.size, age(item.date), isWhole], () => folderRow(item, isWhole))
}

function fileDrawn(file) {
  const keep = keeps.get(file.hash ?? file.ids[0])
  const keeping = !file.here && keep && ['waiting', 'fetching'].includes(keep.state) ? keep : null
  const facts = `${bytes(file.size)} · ${age(file.date)}${copies(file)} · ${holders(file)}`
  const from = [facts, file.here, file.own, keeping, file.ids, file.damaged, file.label, mayWrite()]
  return drawn(file, from, () => row(file, keeping, facts, mayWrite()))
}

function drawn(item, facts, make) {
  const from = JSON.stringify(facts)
  const before = rows.get(item.key)
  if (before && (before.from === from || isPressed())) return before.row
  const made = make()
  rows.set(item.key, { from, row: made })
  return made
}

function focusAgain(list, action) {
  const same = list.querySelector(`[data-action="${CSS.escape(action)}"]`)
  const ofFile = action.slice(action.indexOf(' ') + 1)
  const next = same ?? list.querySelector(`a[data-action="open ${CSS.escape(ofFile)}"]`)
  const there = next ?? document.getElementById('files')
  there.focus()
}

function told(number) {
  const searching = searched() !== ''
  const { isWhole, total } = listing
  if (number === 0 && searching && !isWhole && silent >= MOST_SILENT) return 'None is found yet.'
  if (number === 0 && !isWhole) return mayRead() ? 'looking…' : 'Files are told once you have entered a token.'
  if (number === 0 && folder() !== '') return 'Nothing is in this folder.'
  if (number === 0) return searching ? 'No file has such a name.' : 'Nothing is here yet.'
  const files = count(number, 'file', 'files')
  if (folder() !== '') return isWhole ? files : `at least ${files}`
  if (searching) return isWhole ? `${files} found` : `at least ${files} found`
  return isWhole ? files : `about ${count(total, 'file', 'files')}`
}
