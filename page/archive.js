// Several files in one archive, which the node makes while it sends it.

import { isPrivate, note, refusalOf } from './api.js'
import { count, element } from './format.js'
import { fetched } from './saving.js'

// More ids than these make an address that proxies do not take (nginx: 8 KiB).
const MOST = 190

export function zipOfFolder(path) {
  return `api/p2p/zip/${path.split('/').map(encodeURIComponent).join('/')}`
}

function zipOf(files) {
  return `api/p2p/zip?${new URLSearchParams(files.map((file) => ['id', file.ids[0]]))}`
}

// Downloads the chosen files; those that nothing proves go by themselves only.
export async function downloadAll(files) {
  const proven = files.filter((file) => file.hash)
  if (proven.length === 0) throw new Error('Files without a hash go into no archive; download each by itself.')
  if (proven.length > MOST) throw new Error(`At most ${MOST} chosen files go into one archive; a folder goes into one as a whole.`)
  await save(zipOf(proven), 'files.zip')
  const left = files.length - proven.length
  if (left > 0) note(`${count(left, 'file has', 'files have')} no hash and ${left === 1 ? 'is' : 'are'} left out; download each by itself`, true)
  return false
}

export function downloadFolder(event, path) {
  event.preventDefault()
  save(zipOfFolder(path), `${path.split('/').at(-1)}.zip`).catch((error) => note(error.message, true))
}

// A refusal is told here: of a download that fails a browser tells no reason.
async function save(address, name) {
  if (isPrivate()) return fetched(address, name)
  const refusal = await refusalOf(address)
  if (refusal !== null) throw refusal
  element('a', { href: address, download: name }).click()
}
