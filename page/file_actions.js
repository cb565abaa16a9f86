// What can be done with files: downloaded, kept here and deleted.

import { isPrivate, note, post, read, request } from './api.js'
import { confirmed } from './dialog.js'
import { bytes, count } from './format.js'
import { fetched } from './saving.js'
import { undone } from './trash.js'

// As many as are read at once to find those of a name.
const AT_ONCE = 1000

export function address(file) {
  if (file.hash) return `api/p2p/blob/${file.hash}?${new URLSearchParams({ name: file.name })}`
  const [peer] = file.peers
  return `api/p2p/download/${peer}/${file.ids[0]}`
}

// A link bears no token: where reading needs one, the page fetches the file itself.
export function download(event, file) {
  if (!isPrivate()) return
  event.preventDefault()
  fetched(address(file), file.name).catch((error) => note(error.message, true))
}

export async function keepHere(file) {
  const { keep: { state } } = await keep(file)
  note(state === 'kept' ? `${file.name} is kept here` : `A copy of ${file.name} is being made`)
}

function keep(file) {
  const [peer] = file.peers
  const wanted = file.hash ? { hash: file.hash } : { file_id: file.ids[0], peer_id: peer }
  // The copy is called as the row that was clicked.
  return post('api/p2p/keep', { ...wanted, original_name: file.name })
}

export async function remove(file) {
  const others = file.peers.size - 1
  const rest = others > 0 ? ` ${count(others, 'other node keeps', 'other nodes keep')} a copy.` : ' No other node has a copy.'
  const text = `${file.name} (${bytes(file.size)}) will be gone from this node.${rest}${undone()}`
  if (!(await confirmed('Delete this file?', text))) return
  const isGone = await removed(file)
  note(isGone ? `${file.name} was deleted` : `${file.name} was gone already`)
  document.getElementById('files').focus()
}

// Whether there was such a file.
async function removed(file) {
  const query = new URLSearchParams({ name: file.name, limit: AT_ONCE })
  const own = []
  for (let next = ''; next !== null;) {
    const page = await read(`api/p2p/files?${query}${next && `&after=${next}`}`)
    own.push(...page.files)
    next = page.next
  }
  const same = own.filter((it) => it.hash === file.hash && it.original_name === file.name)
  for (const { file_id } of same) await request(`api/p2p/file/${file_id}`, { method: 'DELETE' })
  return same.length > 0
}

export async function keepAll(files) {
  const missing = files.filter((file) => !file.own || file.damaged)
  const failures = await each(missing, keep)
  const made = missing.length - failures
  note(`${count(made, 'copy is', 'copies are')} being made${failed(failures)}`, failures > 0)
}

// Tells whether it was wanted.
export async function removeAll(files) {
  const own = files.filter((file) => file.own)
  const lone = own.filter((file) => file.peers.size === 1).length
  const sum = own.reduce((all, file) => all + file.size, 0)
  const which = lone === own.length ? 'any of them' : `${lone} of them`
  const text = `${count(own.length, 'file', 'files')} (${bytes(sum)}) will be gone from this node.${lone > 0 ? ` No other node has a copy of ${which}.` : ''}${undone()}`
  if (!(await confirmed('Delete these files?', text))) return false
  const failures = await each(own, removed)
  note(`${count(own.length - failures, 'file was', 'files were')} deleted${failed(failures)}`, failures > 0)
  document.getElementById('files').focus()
  return true
}

const failed = (failures) => (failures > 0 ? `, ${failures} could not be` : '')

// Does this with each, also where it fails for one; tells for how many it failed.
async function each(files, act) {
  let failures = 0
  for (const file of files) {
    await act(file).catch(() => { failures += 1 })
  }
  return failures
}
