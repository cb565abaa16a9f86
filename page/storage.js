// What this node keeps, as a picture: what is on its disk, and what it did not have to keep
// twice.

import { isPrivate, read } from './api.js'
import { age, bytes, count, element, moment, picture, time } from './format.js'

export function showStorage(status) {
  const all = status.file_bytes + (status.trash?.bytes ?? 0)
  const saved = Math.max(0, all - status.blob_bytes)
  tellWarnings(status)
  const place = document.getElementById('storage')
  place.replaceChildren(
    element('p', { class: 'figure' },
      element('strong', {}, bytes(status.blob_bytes)), ' kept for ',
      count(status.local_files, 'file', 'files'),
      // The list has those once that are one to people.
      status.local_files > status.blobs ? ', each upload counted' : ''),
    status.room_bytes > 0 ? element('p', {}, `Room for ${bytes(status.room_bytes)} more`) : '',
    scrubbed(status.scrub),
    notWhole(status.repair),
    ...copied(status.copies),
    percentSaved(status.blob_bytes, saved) > 0 ? ring(status.blob_bytes, saved) : '',
    element('ul', { class: 'legend' },
      element('li', { class: 'stored' }, `${bytes(status.blob_bytes)} on disk, in ${count(status.blobs, 'content', 'contents')}`),
      saved > 0 ? element('li', { class: 'saved' }, `${bytes(saved)} saved by deduplication`) : null),
  )
}

// When what was stored was last read and proven, which is done in the background.
function scrubbed(scrub) {
  if (!scrub?.last?.blobs) return ''
  const at = time(scrub.last.ended_at)
  return element('p', { title: moment(at) }, `Last read and proven ${age(at)}`)
}

// How it stands with copies among the members of a network.
function copied(copies) {
  if (!copies) return []
  const { copies: wanted, under_replicated: fewer, files, members, gone } = copies
  const others = `${count(members, 'other member', 'other members')} there${gone > 0 ? `, ${gone} gone` : ''}`
  const spread = fewer > 0
    ? `${count(fewer, 'file is', 'files are')} on fewer members than ${fewer === 1 ? 'it is' : 'they are'} to be`
    : files > 0 ? `${count(files, 'file is', 'files are')} on as many members as ${files === 1 ? 'it is' : 'they are'} to be` : null
  const held = copies.offer_bytes > 0 || copies.held_files > 0
    ? `Holds ${count(copies.held_files, 'file', 'files')} for others; offers ${bytes(copies.offer_bytes)}, ${bytes(copies.used_bytes)} used`
    : null
  return [
    element('p', {}, `${wanted > 1 ? `Files are to be on ${wanted} members; ` : ''}${others}`),
    spread ? element('p', fewer > 0 ? { class: 'warning', title: 'larder copies --under-replicated lists them' } : {}, spread) : '',
    held ? element('p', {}, held) : '',
    copies.damaged > 0 ? element('p', { class: 'warning' }, `${count(copies.damaged, 'content', 'contents')} held for others ${copies.damaged === 1 ? 'is' : 'are'} damaged, and ${copies.damaged === 1 ? 'comes' : 'come'} again from them`) : '',
    copies.held_files > 0 && copies.scrub?.last?.blobs ? element('p', { title: moment(time(copies.scrub.last.ended_at)) }, `What it holds was last read and proven ${age(time(copies.scrub.last.ended_at))}`) : '',
  ]
}

// It stays so when all is drawn again.
let isUnfolded = false

// What is damaged here and held by no other node that is known, with the files that it concerns.
function notWhole(repair) {
  if (!repair?.unobtainable) return ''
  const lost = count(repair.unobtainable, 'content is', 'contents are')
  const names = element('ul', { id: 'lost' })
  const found = element('details', {},
    element('summary', {}, `${lost} damaged here, and no other node has what is missing`), names)
  found.addEventListener('toggle', () => {
    isUnfolded = found.open
    if (found.open) listNotWhole(names)
  })
  found.open = isUnfolded
  return found
}

async function listNotWhole(list) {
  const { unsound } = await read('api/p2p/scrub?files=1')
  const lost = unsound.filter((content) => !content.repairable).flatMap((content) => content.files)
  list.replaceChildren(...lost.map((file) => element('li', {}, file.original_name)))
}

let said = ''

// What its visitors have to know stands above all else, also where the rest is folded.
function tellWarnings(status) {
  const full = 'There is no room for more: delete something, or give the node more.'
  const alone = `No peer reaches this node at ${status.peer.address}, so others do not see its files: set its base URL to an address where they do.`
  const partial = 'Some peers tell of more files than this node has room for: of theirs, only the newest are shown.'
  const secret = 'This node is private: only who has a token sees its files.'
  const told = [
    status.room_bytes === 0 ? element('p', { class: 'why warning' }, full) : null,
    status.reachable === false ? element('p', { class: 'why warning' }, alone) : null,
    status.partial ? element('p', { class: 'why' }, partial) : null,
    isPrivate() ? element('p', { class: 'why' }, secret) : null,
  ].filter(Boolean)
  const words = told.map((it) => it.textContent).join(' ')
  // The same words again would be read out again.
  if (words === said) return
  said = words
  document.getElementById('warnings').replaceChildren(...told)
}

const shareSaved = (stored, saved) => saved / Math.max(stored + saved, 1)
const percentSaved = (stored, saved) => Math.round(100 * shareSaved(stored, saved))

function ring(stored, saved) {
  const share = shareSaved(stored, saved)
  const percent = `${percentSaved(stored, saved)} %`
  const around = 2 * Math.PI * 40
  return picture('svg', {
    viewBox: '0 0 100 100', class: 'ring', role: 'img',
    'aria-label': `${percent} of the files' bytes are saved by deduplication`,
  },
  picture('circle', { cx: 50, cy: 50, r: 40, class: 'stored' }),
  picture('circle', {
    cx: 50, cy: 50, r: 40, class: 'saved', transform: 'rotate(-90 50 50)',
    'stroke-dasharray': `${share * around} ${around}`,
  }),
  picture('text', { x: 50, y: 50, class: 'big' }, percent),
  picture('text', { x: 50, y: 64, class: 'small' }, 'saved'))
}
