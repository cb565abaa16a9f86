// What was removed from this node and can be restored, where it keeps that for a while.

import { note, post, read, request } from './api.js'
import { confirmed } from './dialog.js'
import { bytes, count, duration, element, moment, time } from './format.js'
import { released } from './press.js'
import { mayWrite } from './rights.js'

// As many are shown; the command and the interface tell of all.
const SHOWN = 100

// How long a file that is removed now can be restored, in seconds; null where it cannot.
let keeps = null

// What is said of a file before it is deleted: whether that can be undone.
export function undone() {
  return keeps === null ? '' : ` It can be restored from the trash for ${duration(keeps)}.`
}

export async function showTrash({ trash }) {
  keeps = trash?.keeps_seconds ?? null
  const card = document.getElementById('trash')
  const isThere = keeps !== null || trash?.files > 0
  if (!isThere) {
    card.hidden = true
    return
  }
  const { files, total_files: total } = await read(`api/p2p/trash?limit=${SHOWN}`)
  await released()
  document.getElementById('trash-told').textContent = total === 0
    ? `Empty. What is deleted stays here for ${duration(keeps)}.`
    : `${count(total, 'file', 'files')} (${bytes(trash.bytes)})`
  document.getElementById('trash-files').replaceChildren(...files.map(row))
  const rest = document.getElementById('trash-rest')
  rest.hidden = total <= files.length
  rest.textContent = `and ${count(total - files.length, 'file', 'files')} more, which larder trash lists`
  const empty = document.getElementById('empty-trash')
  empty.hidden = total === 0 || !mayWrite()
  empty.onclick = () => emptied(total).catch(failed)
  card.hidden = false
}

function row(file) {
  const facts = `${bytes(file.size)} · goes in ${duration(file.stays_seconds)}`
  const restore = () => restored(file).catch(failed)
  return element('li', { class: 'file' },
    element('span', { class: 'name', title: file.original_name }, file.original_name),
    element('span', { class: 'quiet facts', title: `removed ${moment(time(file.removed_at))}` }, facts),
    mayWrite()
      ? element('span', { class: 'row-actions' },
        element('button', { type: 'button', click: restore, 'data-action': `restore ${file.file_id}`, 'aria-label': `Restore ${file.original_name}` }, 'Restore'))
      : null)
}

async function restored(file) {
  await post(`api/p2p/trash/${file.file_id}`, {})
  note(`${file.original_name} is restored`)
}

async function emptied(total) {
  const text = `${count(total, 'file', 'files')} will be gone for good.`
  if (!(await confirmed('Empty the trash?', text))) return
  await request('api/p2p/trash', { method: 'DELETE' })
  note('The trash is empty')
}

const failed = (error) => note(error.message, true)
