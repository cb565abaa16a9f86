// The way to this node for another device, such as the phone beside you: an address, and the same as
// a QR code.

import { authorization, read, TOKEN_MARK } from './api.js'
import { element, picture } from './format.js'
import { hasTokens } from './rights.js'
import { correction, generate } from './vendor/lean-qr.mjs'

// How much stays white around a code, in modules (ISO/IEC 18004).
const QUIET = 4

const dialog = () => document.getElementById('phone')

export function setUpPhone() {
  document.getElementById('show-phone').addEventListener('click', async () => {
    document.getElementById('phone-place').replaceChildren(element('p', { class: 'quiet' }, 'One moment…'))
    dialog().showModal()
    await show().catch((error) => {
      document.getElementById('phone-place').replaceChildren(element('p', { class: 'warning' }, error.message))
    })
  })
}

async function show() {
  const page = new URL('.', document.baseURI)
  // Who came by an address that others can come by hands that on; else the node knows its own.
  const address = isLocal(page) ? new URL('.', `${(await read('api/peers')).self.address}/`) : page
  document.getElementById('phone-place').replaceChildren(...(isLocal(address) ? howToListen() : code(address)))
}

const isLocal = ({ hostname }) => /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)

// Of a node that nobody else reaches.
function howToListen() {
  const port = new URL(document.baseURI).port || '5004'
  if (!hasTokens()) return howToBegin(port)
  return [
    element('p', {}, 'This node listens on this machine alone, so no phone reaches it. Stop it, and start it as you did, with its token and all else that you set, but so that your network reaches it:'),
    element('pre', { tabindex: '0', 'aria-label': 'What to add' }, `--listen 0.0.0.0:${port}`),
  ]
}

// Of one that anybody may use who reaches it, which is nobody else so far.
function howToBegin(port) {
  const token = [...crypto.getRandomValues(new Uint8Array(16))].map((it) => it.toString(16).padStart(2, '0')).join('')
  return [
    element('p', {}, 'This node listens on this machine alone, so no phone reaches it. Stop it, and start it as you did, with all else that you set, but so that your network reaches it, and with a token without which nobody there can change anything:'),
    element('pre', { tabindex: '0', 'aria-label': 'What to add' }, `LARDER_TOKEN=${token} larder … --listen 0.0.0.0:${port}`),
    element('p', { class: 'quiet' }, 'The token was made up here, just now, and is kept nowhere. Enter it on this page when it asks for one. Whoever is in your network can then read what is here, unless you add --private.'),
  ]
}

function code(address) {
  const place = element('div', {})
  const token = authorization().Authorization?.split(' ')[1]
  const draw = (isTokenIn) => {
    const url = isTokenIn ? `${address}${TOKEN_MARK}${encodeURIComponent(token)}` : address.href
    place.replaceChildren(drawn(url))
  }
  draw(false)
  const box = element('input', { type: 'checkbox', change: () => draw(box.checked) })
  const hint = 'Both devices have to be in one network. Point the camera of the phone at the code, or type the address.'
  return [
    element('p', {}, element('a', { href: address.href }, address.href)),
    place,
    token ? element('label', { class: 'hand-over' }, box, ' Hand over my token, too: whoever sees the code can then do here what I can') : null,
    element('p', { class: 'quiet' }, hint),
  ].filter(Boolean)
}

// Dark on white in every theme, as not every camera reads it otherwise.
function drawn(url) {
  const code = generate(url, { minCorrectionLevel: correction.L })
  const size = code.size + 2 * QUIET
  let path = ''
  for (let y = 0; y < code.size; y += 1) {
    for (let x = 0; x < code.size; x += 1) if (code.get(x, y)) path += `M${x + QUIET} ${y + QUIET}h1v1h-1z`
  }
  return picture('svg', { viewBox: `0 0 ${size} ${size}`, class: 'qr', role: 'img', 'aria-label': 'The address as a QR code' },
    picture('rect', { width: size, height: size, fill: '#fff' }),
    picture('path', { d: path, fill: '#000' }))
}
