// A file looked at without leaving the page, and what can be done with it.

import { isPrivate, note, read, request } from './api.js'
import { badge, copies, holders } from './badge.js'
import { open } from './dialog.js'
import { address, download, keepHere, remove } from './file_actions.js'
import { age, bytes, element, moment, plain, plainLines } from './format.js'
import { mayWrite } from './rights.js'

// How much of a text is shown, and how long a picture, sound or video may be that the page has to
// fetch itself, in bytes.
const TEXT = 64 << 10
const FETCHED = 64 << 20

const dialog = () => document.getElementById('look')
// What the page fetched for the file that is looked at.
let url = null
let shown = null

export async function look(file) {
  shown = file
  document.getElementById('look-title').textContent = plain(file.name)
  document.getElementById('look-facts').replaceChildren(
    plain(`${bytes(file.size)}${file.type ? ` · ${file.type}` : ''} · ${age(file.date)} (${moment(file.date)}) · ${holders(file)}${copies(file)} · `), badge(file))
  const place = document.getElementById('look-show')
  place.replaceChildren(element('p', { class: 'quiet' }, 'One moment…'))
  showActions(file)
  tellDescription(file).catch(() => {})
  dialog().onclose = close
  open(dialog())
  const made = await showing(file).catch((error) => element('p', { class: 'warning' }, error.message))
  if (shown === file) place.replaceChildren(made)
}

// Only this node's own files have one that it could tell.
async function tellDescription(file) {
  const place = document.getElementById('look-description')
  place.hidden = true
  if (!file.own) return
  const { files: [own] } = await read(`api/p2p/network?${new URLSearchParams({ id: file.ids[0] })}`)
  if (shown !== file || !own?.description) return
  place.textContent = plainLines(own.description)
  place.hidden = false
}

function close() {
  shown = null
  // Also ends what is played.
  document.getElementById('look-show').replaceChildren()
  if (url !== null) URL.revokeObjectURL(url)
  url = null
}

function showActions(file) {
  const act = (label, does) => element('button', { type: 'button', click: () => does(file).catch((error) => note(error.message, true)) }, label)
  const then = (does) => async () => {
    dialog().close()
    await does(file)
  }
  document.getElementById('look-actions').replaceChildren(...[
    element('a', { class: 'button primary', href: address(file), download: file.name, click: (event) => download(event, file) }, 'Download'),
    act('Copy the link', () => copy(new URL(address(file), document.baseURI).href, 'The link')),
    file.hash ? act('Copy the hash', () => copy(file.hash, 'The hash')) : null,
    mayWrite() && (!file.own || file.damaged) ? act('Keep a copy', then(keepHere)) : null,
    mayWrite() && file.own ? act('Delete', then(remove)) : null,
  ].filter(Boolean))
}

// Where a page may not reach the clipboard, over HTTP from another machine, a selected text is
// copied as a person would.
async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    const field = element('textarea', { class: 'visually-hidden', 'aria-hidden': 'true' })
    field.value = text
    dialog().append(field)
    field.select()
    const isCopied = document.execCommand('copy')
    field.remove()
    if (!isCopied) throw new Error(`${what} cannot be copied here: ${text}`)
  }
  document.getElementById('look-told').textContent = `${what} is copied`
  setTimeout(() => { document.getElementById('look-told').textContent = '' }, 4000)
}

async function showing(file) {
  const [kind] = file.type.split('/')
  const isText = kind === 'text' || /json|xml|javascript|toml|yaml/.test(file.type)
  const title = `What ${file.name} shows`
  if (kind === 'image') return element('img', { src: await source(file), alt: file.name })
  if (kind === 'video') return element('video', { src: await source(file), controls: true, 'aria-label': title })
  if (kind === 'audio') return element('audio', { src: await source(file), controls: true, 'aria-label': title })
  if (isText) return text(file)
  if (file.type === 'application/pdf' && !isPrivate()) return element('iframe', { src: inline(file), title })
  return element('p', { class: 'quiet' }, 'There is nothing to show of a file of this type; it can be downloaded.')
}

function inline(file) {
  const path = address(file)
  return `${path}${path.includes('?') ? '&' : '?'}inline=1`
}

// A picture's address bears no token either.
async function source(file) {
  if (!isPrivate()) return inline(file)
  if (file.size > FETCHED) throw new Error('It is too long to be shown where reading needs a token; it can be downloaded.')
  const answer = await request(inline(file))
  url = URL.createObjectURL(await answer.blob())
  return url
}

async function text(file) {
  const headers = file.size > TEXT ? { Range: `bytes=0-${TEXT - 1}` } : {}
  const answer = await request(inline(file), { headers })
  const rest = file.size > TEXT ? element('p', { class: 'quiet' }, `These are the first ${bytes(TEXT)}.`) : null
  const shown = element('pre', { tabindex: '0' })
  shown.textContent = plainLines(decoded(await answer.arrayBuffer()))
  return element('div', {}, shown, rest)
}

// Texts that are not UTF-8 begin with a mark that says so (Encoding Standard, BOM sniff); of others
// UTF-16 has a zero in each letter of ours.
function decoded(buffer) {
  const bytes = new Uint8Array(buffer)
  const [first, second] = bytes
  const is = (one, other) => first === one && second === other
  const isWide = (at) => bytes.length > 3 && bytes.slice(0, 64).every((it, place) => (place % 2 === at) === (it === 0))
  if (is(0xff, 0xfe) || isWide(1)) return new TextDecoder('utf-16le').decode(bytes)
  if (is(0xfe, 0xff) || isWide(0)) return new TextDecoder('utf-16be').decode(bytes)
  return new TextDecoder().decode(bytes)
}
