// What the network holds, to be searched, downloaded, kept and deleted.

import { isPrivate, note, post, read, request } from './api.js'
import { answered } from './dialog.js'
import { age, bytes, count, element, time } from './format.js'
import { peerName } from './peers.js'
import { setRows } from './rows.js'

// As many as the node lists at once; the search narrows them.
const MOST_READ = 1000
const SHOWN_AT_ONCE = 50

const ORDERS = {
  newest: (a, b) => b.date - a.date,
  name: (a, b) => a.name.localeCompare(b.name),
  largest: (a, b) => b.size - a.size,
}

// How often ages are told anew, in milliseconds.
const AGES_EVERY = 30_000

let shown = SHOWN_AT_ONCE
let files = []
let total = 0
// What was drawn of each file, and from what.
const rows = new Map()
let keeps = new Map()
let myself = ''
let isMore = false

export function setUpFiles(draw) {
  const again = () => {
    shown = SHOWN_AT_ONCE
    draw()
  }
  document.getElementById('search').addEventListener('input', again)
  document.getElementById('sort').addEventListener('change', showRows)
  document.getElementById('show-more').addEventListener('click', () => {
    const first = shown
    shown += SHOWN_AT_ONCE
    showRows()
    document.getElementById('file-list').children[first]?.querySelector('a').focus()
  })
  setInterval(showRows, AGES_EVERY)
}

const wanted = () => document.getElementById('search').value.trim()

export async function showFiles() {
  const name = wanted()
  const listed = []
  let answer = null
  do {
    const after = answer?.next
    const query = new URLSearchParams({ limit: MOST_READ, ...(name && { name }), ...(after && { after }) })
    answer = await read(`api/p2p/network?${query}`)
    listed.push(...answer.files)
    // A node looks at so many files for a name at a time, and may have found none among them.
  } while (name && answer.next !== null && listed.length < MOST_READ && name === wanted())
  if (name !== wanted()) return
  myself = answer.peer_id
  files = together(listed)
  total = answer.total_files
  isMore = answer.next !== null
  showRows()
}

export async function showKeeps() {
  const answer = await read('api/p2p/keep')
  keeps = new Map(answer.keeps.map((keep) => [keep.id, keep]))
  showRows()
}

// The same content under the same name is one file to people, however many hold it.
function together(listed) {
  const found = new Map()
  for (const file of listed) {
    const key = file.hash ? `${file.hash} ${file.original_name}` : file.file_id
    const known = found.get(key)
    if (known) {
      known.ids.push(file.file_id)
      known.damaged ||= file.damaged
      for (const peer of file.peers) known.peers.add(peer)
      for (const peer of file.reachable_peers) known.reachable.add(peer)
    } else {
      found.set(key, {
        key, ids: [file.file_id], name: file.original_name, size: file.size, hash: file.hash,
        date: time(file.uploaded_at), peers: new Set(file.peers),
        reachable: new Set(file.reachable_peers), damaged: file.damaged,
      })
    }
  }
  return [...found.values()]
}

export function showRows() {
  const list = document.getElementById('file-list')
  const order = ORDERS[document.getElementById('sort').value]
  // Of the same second the last one listed is the newest.
  const sorted = files.toReversed().sort(order)
  const drawn = new Map(sorted.slice(0, shown).map((file) => [file.key, drawnOf(file)]))
  const focused = document.activeElement?.dataset?.action
  setRows(list, [...drawn.values()].map((it) => it.row))
  if (focused && document.activeElement === document.body) focusAgain(list, focused)
  rows.clear()
  for (const [key, it] of drawn) rows.set(key, it)
  document.getElementById('show-more').hidden = sorted.length <= shown
  const text = told(sorted.length)
  const said = document.getElementById('files-note')
  if (said.textContent !== text) said.textContent = text
}

// The row of a file: the one that is there, unless it tells something else by now.
function drawnOf(file) {
  const here = file.peers.has(myself)
  const keep = keeps.get(file.hash ?? file.ids[0])
  const keeping = !here && keep && ['waiting', 'fetching'].includes(keep.state) ? keep : null
  const facts = `${bytes(file.size)} · ${age(file.date)} · ${holders(file, here)}`
  const from = JSON.stringify([facts, here, keeping, file.ids, file.damaged])
  const before = rows.get(file.key)
  return before?.from === from ? before : { from, row: row(file, here, keeping, facts) }
}

function focusAgain(list, action) {
  const same = list.querySelector(`[data-action="${CSS.escape(action)}"]`)
  const ofFile = action.split(' ').at(-1)
  const next = same ?? list.querySelector(`a[data-action="open ${CSS.escape(ofFile)}"]`)
  const place = next ?? document.getElementById('files')
  place.focus()
}

function told(found) {
  const searching = wanted() !== ''
  if (found === 0) return searching ? 'No file has such a name.' : 'Nothing is here yet.'
  const files = count(found, 'file', 'files')
  if (searching) return `${files} found${isMore ? '; there are more, which a longer text finds' : ''}`
  return isMore ? `${files} of ${total.toLocaleString('en')}; a search finds the others` : files
}

function row(file, here, keeping, facts) {
  return element('li', { class: 'file' },
    element('a', { class: 'name', title: file.name, href: address(file), download: file.name, click: (event) => download(event, file), ...action('open', file) }, file.name),
    element('span', { class: 'quiet facts' }, facts),
    file.damaged
      ? element('span', { class: 'badge damaged', title: 'What this node stored of it is damaged. Upload it again to mend it, or keep a copy from a node that has it.' }, 'damaged here')
      : file.hash
        ? element('span', { class: 'badge verified', title: `BLAKE3 ${file.hash}` }, 'verified')
        : element('span', { class: 'badge unverified', title: 'Its peer tells no hash: its bytes cannot be checked' }, 'not verified'),
    keeping ? element('progress', { max: Math.max(file.size, 1), value: keeping.fetched, 'aria-label': `Copy of ${file.name}` }) : null,
    element('span', { class: 'row-actions' },
      (here && !file.damaged) || keeping ? null : button('Keep a copy', file, keepHere),
      here ? button('Delete', file, remove) : null))
}

function holders(file, here) {
  const others = [...file.reachable].filter((peer) => peer !== myself)
  if (!here && others.length === 0) return 'not reachable now: no node that has it answers'
  const names = others.slice(0, 2).map(peerName)
  if (others.length > 2) names.push(`${others.length - 2} more`)
  return [here ? 'here' : null, names.length > 0 ? `at ${names.join(', ')}` : null].filter(Boolean).join(' and ')
}

// Tells where the focus was, when a row is made anew.
function action(name, file) {
  return { 'data-action': `${name} ${file.ids[0]}` }
}

function button(label, file, act) {
  const click = () => act(file).catch((error) => note(error.message, true))
  return element('button', { type: 'button', 'aria-label': `${label}: ${file.name}`, click, ...action(label, file) }, label)
}

function address(file) {
  if (file.hash) return `api/p2p/blob/${file.hash}?${new URLSearchParams({ name: file.name })}`
  const [peer] = file.peers
  return `api/p2p/download/${peer}/${file.ids[0]}`
}

// A link bears no token: where reading needs one, the page fetches the file itself.
async function download(event, file) {
  if (!isPrivate()) return
  event.preventDefault()
  try {
    const answer = await request(address(file))
    const url = URL.createObjectURL(await answer.blob())
    element('a', { href: url, download: file.name }).click()
    setTimeout(() => URL.revokeObjectURL(url), 60000)
  } catch (error) {
    note(error.message, true)
  }
}

async function keepHere(file) {
  const [peer] = file.peers
  await post('api/p2p/keep', file.hash ? { hash: file.hash } : { file_id: file.ids[0], peer_id: peer })
  note(`A copy of ${file.name} is being made`)
}

async function remove(file) {
  if (!(await confirmed(file))) return
  const query = new URLSearchParams({ name: file.name, limit: MOST_READ })
  const own = []
  for (let next = ''; next !== null; ) {
    const page = await read(`api/p2p/files?${query}${next && `&after=${next}`}`)
    own.push(...page.files)
    next = page.next
  }
  const same = own.filter((it) => it.hash === file.hash && it.original_name === file.name)
  for (const { file_id } of same) await request(`api/p2p/file/${file_id}`, { method: 'DELETE' })
  note(same.length > 0 ? `${file.name} was deleted` : `${file.name} is here under another name only`)
  document.getElementById('files').focus()
}

function confirmed(file) {
  const dialog = document.getElementById('confirm')
  const others = file.peers.size - 1
  const rest = others > 0 ? ` ${count(others, 'other node keeps', 'other nodes keep')} a copy.` : ' No other node has a copy.'
  document.getElementById('confirm-text').textContent = `${file.name} (${bytes(file.size)}) will be gone from this node.${rest}`
  return answered(dialog)
}
