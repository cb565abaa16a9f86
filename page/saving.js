// Saves what a link alone cannot, since it bears no token: the page fetches it, tells how far it is,
// and hands it to the browser when it is whole.

import { request } from './api.js'
import { element } from './format.js'

// How long the browser may take to save what it was handed, in milliseconds.
const SAVING = 60_000

export async function fetched(path, name) {
  const answer = await request(path)
  const length = Number(answer.headers.get('Content-Length'))
  const bar = element('progress', { 'aria-label': `Download of ${name}` })
  if (length > 0) Object.assign(bar, { max: length, value: 0 })
  const line = element('p', {}, `Fetching ${name}`, bar)
  document.getElementById('notes').append(line)
  try {
    const parts = await readAll(answer.body, (read) => { if (length > 0) bar.value = read })
    const url = URL.createObjectURL(new Blob(parts))
    element('a', { href: url, download: name }).click()
    setTimeout(() => URL.revokeObjectURL(url), SAVING)
  } catch {
    throw new Error(`${name} did not come whole; nothing of it is saved`)
  } finally {
    line.remove()
  }
}

async function readAll(body, tell) {
  const reader = body.getReader()
  const parts = []
  for (let read = 0; ;) {
    const { done, value } = await reader.read()
    if (done) return parts
    parts.push(value)
    read += value.length
    tell(read)
  }
}
