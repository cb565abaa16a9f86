// What this visitor may do at this node, and why not more.

import { authorization } from './api.js'

let health = null

// Until the node has told, it is as open as most are.
export const mayWrite = () => health?.may_write ?? true
export const mayRead = () => health?.may_read ?? true

// Whether the node has tokens, as far as it has told.
export const hasTokens = () => health?.writers === 'token'

// Asks the node, and offers no more than it would take.
export async function showRights() {
  const headers = authorization()
  const answer = await fetch('health', { headers })
  if (!answer.ok) return
  health = await answer.json()
  const why = whyNot(headers.Authorization !== undefined)
  const said = document.getElementById('upload-why')
  if (said.textContent !== why) said.textContent = why
  said.hidden = why === ''
  document.getElementById('drop').hidden = !mayWrite()
  // Who has entered one that gives every right is asked for no other.
  document.getElementById('enter-token').hidden = mayRead() && (mayWrite() || health.writers !== 'token')
}

function whyNot(hasToken) {
  if (!mayRead()) return 'Only who has a token sees what is here. Enter one to look, download and upload.'
  if (health.writers === 'nobody') return 'This node takes no changes from anybody: its files can be read only.'
  if (!health.may_write && health.knows_token === false) return 'This node does not know your token, so you can only read here. Enter another to upload, keep and delete.'
  if (!health.may_write && hasToken) return 'Your token gives the right to read only, so nothing can be uploaded, kept or deleted with it.'
  if (!health.may_write) return 'Who has no token can only read here. Enter one to upload, keep and delete.'
  if (!health.writable) return `This node takes no uploads now: ${health.reason}`
  return ''
}
