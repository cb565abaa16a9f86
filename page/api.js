// The REST interface of the node that served this page.

import { answered } from './dialog.js'
import { element } from './format.js'

const TOKEN = 'larder-token'

// A refusal of the node, as people may read it.
export class Refusal extends Error {
  constructor(status, body) {
    super(body.message ?? `the node answered ${status}`)
    this.status = status
    this.code = body.code ?? ''
  }
}

export function authorization() {
  const token = sessionStorage.getItem(TOKEN)
  return token ? { Authorization: `Bearer ${token}` } : {}
}

// Whether a token may help against this refusal.
export function wantsToken(refusal) {
  return ['no_token', 'wrong_token', 'read_only_token'].includes(refusal.code)
}

// Sends a request, and asks for a token where the node wants one; the answer is one of success.
export async function request(path, options = {}) {
  for (;;) {
    const headers = { ...options.headers, ...authorization() }
    const answer = await fetch(path, { ...options, headers })
    if (answer.ok) return answer
    const refusal = new Refusal(answer.status, await answer.json().catch(() => ({})))
    if (!wantsToken(refusal) || !(await askForToken(refusal.message))) throw refusal
  }
}

export async function read(path) {
  return (await request(path)).json()
}

export async function post(path, message) {
  const headers = { 'Content-Type': 'application/json' }
  const answer = await request(path, { method: 'POST', headers, body: JSON.stringify(message) })
  return answer.json()
}

let asking = null

// Asks once, however many wait for the answer; tells whether there is a new token.
export function askForToken(reason) {
  asking ??= ask(reason).finally(() => { asking = null })
  return asking
}

async function ask(reason) {
  const input = document.getElementById('token')
  document.getElementById('token-reason').textContent = reason
  input.value = ''
  const given = await answered(document.getElementById('ask-token'))
  if (given) sessionStorage.setItem(TOKEN, input.value)
  return given
}

// Listens to what changes, for ever: `heard` gets the name of each event and its data, and
// `state` whether the node is there. Not an EventSource, which can send no token.
export async function listen(heard, state) {
  for (;;) {
    try {
      const answer = await request('/api/events', { headers: { Accept: 'text/event-stream' } })
      state(true)
      await readEvents(answer.body, heard)
    } catch {
      // Whatever it was, the next try tells.
    }
    state(false)
    await new Promise((resolve) => { setTimeout(resolve, 2000) })
  }
}

async function readEvents(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    text += value
    const events = text.split('\n\n')
    text = events.pop()
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event)
      const data = /^data: (.*)$/m.exec(event)
      if (name && data) heard(name[1], JSON.parse(data[1]))
    }
  }
}

// Tells the user, visibly and to screen readers, for some seconds.
export function note(text, failed = false) {
  const line = element('p', { class: failed ? 'failed' : '' }, text)
  const notes = document.getElementById('notes')
  notes.append(line)
  while (notes.children.length > 4) notes.firstChild.remove()
  setTimeout(() => line.remove(), failed ? 12000 : 6000)
}
