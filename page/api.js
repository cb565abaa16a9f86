// The REST interface of the node that served this page. Paths are relative, as the node may be
// below a path of another server.

import { answered } from './dialog.js'
import { element } from './format.js'

const TOKEN = 'larder-token'
// What stands before a token in an address: behind it nothing is sent to anybody.
export const TOKEN_MARK = '#token='
// Is there once reading needed a token.
const PRIVATE = 'larder-private'

// What the node tells programs of tokens, as people may read it.
const OF_TOKENS = {
  no_token: 'Only who has a token may do this. It is in the settings of the node, or whoever runs it gave it to you.',
  wrong_token: 'This node does not know the token. Look whether all of it is there.',
  read_only_token: 'Your token gives the right to read only. Another may give more.',
}

// A refusal of the node, as people may read it.
export class Refusal extends Error {
  constructor(status, body) {
    super(OF_TOKENS[body.code] ?? body.message ?? unsaid(status))
    this.status = status
    this.code = body.code ?? ''
  }
}

// What larder did not say itself, whatever is before it did.
function unsaid(status) {
  if (status === 401) return OF_TOKENS.no_token
  if (status !== 413) return `the node, or a server before it, answered ${status}`
  return 'a server before the node takes nothing so long; whoever runs it can raise its limit (client_max_body_size in nginx)'
}

export function authorization() {
  const token = sessionStorage.getItem(TOKEN)
  return token ? { Authorization: `Bearer ${token}` } : {}
}

// Whether links alone cannot download, since they bear no token.
export function isPrivate() {
  return sessionStorage.getItem(PRIVATE) !== null
}

// Whether a token may help against this refusal; one of a HEAD request has no code.
export function wantsToken(refusal) {
  return refusal.status === 401 || refusal.code === 'read_only_token'
}

// Sends a request, and asks for a token where the node wants one; the answer is one of success.
// What nobody asked for (`background`) does not ask again for a token that was not given.
export async function request(path, { background = false, ...options } = {}) {
  for (;;) {
    const sent = authorization()
    const answer = await fetch(path, { ...options, headers: { ...options.headers, ...sent } })
    if (answer.ok) return answer
    const refusal = new Refusal(answer.status, await answer.json().catch(() => ({})))
    if (!wantsToken(refusal)) throw refusal
    if (!options.method) sessionStorage.setItem(PRIVATE, 'yes')
    if (!(await otherToken(sent, refusal.message, background))) throw refusal
  }
}

// Why the node would not send what is at this path, if it would not; nothing of it is fetched.
export async function refusalOf(path) {
  const answer = await fetch(path, { method: 'HEAD' })
  if (answer.ok) return null
  // Only the answer to this says why.
  const told = await fetch(path)
  return told.ok ? null : new Refusal(told.status, await told.json().catch(() => ({})))
}

export async function read(path) {
  return (await request(path, { background: true })).json()
}

export async function post(path, message) {
  const headers = { 'Content-Type': 'application/json' }
  const answer = await request(path, { method: 'POST', headers, body: JSON.stringify(message) })
  return answer.json()
}

let asking = null
let declined = false
let tokenReason = OF_TOKENS.no_token

export function setUpToken() {
  takeToken()
  window.addEventListener('hashchange', takeToken)
  document.getElementById('enter-token').addEventListener('click', () => askForToken(tokenReason))
}

// Takes the token that another device has handed over in the address, and leaves it nowhere to see.
function takeToken() {
  if (!location.hash.startsWith(TOKEN_MARK)) return
  const token = unescaped(location.hash.slice(TOKEN_MARK.length))
  history.replaceState(null, '', location.pathname + location.search)
  sessionStorage.setItem(TOKEN, token)
  document.dispatchEvent(new Event('token'))
}

// What somebody has typed may be no escape.
export function unescaped(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

// Whether there is another token than the one `sent`, which was refused; asks for one if need be.
export async function otherToken(sent, reason, background = false) {
  if (sent.Authorization !== authorization().Authorization) return true
  document.getElementById('enter-token').hidden = false
  tokenReason = reason
  return background && declined ? false : askForToken(reason)
}

// Asks once, however many wait for the answer; tells whether there is a new token.
function askForToken(reason) {
  asking ??= ask(reason).finally(() => { asking = null })
  return asking
}

async function ask(reason) {
  const input = document.getElementById('token')
  document.getElementById('token-reason').textContent = reason
  input.value = ''
  const given = await answered(document.getElementById('ask-token'))
  if (given) sessionStorage.setItem(TOKEN, input.value.trim())
  declined = !given
  // Who may do more is offered more.
  if (given) document.dispatchEvent(new Event('token'))
  return given
}

// Tells the user, visibly and to screen readers, for some seconds.
export function note(text, failed = false) {
  const line = element('p', { class: failed ? 'failed' : '' }, text)
  const notes = document.getElementById('notes')
  notes.append(line)
  while (notes.children.length > 4) notes.firstChild.remove()
  setTimeout(() => line.remove(), failed ? 12000 : 6000)
}
