// The peers that this node knows, as a picture; whoever comes or goes is told.

import { note, read } from './api.js'
import { age, bytes, count, element, picture, time } from './format.js'

// More than these would be a blot.
const MOST_DRAWN = 24

let known = null
let names = new Map()

// What people call a peer: where it is.
export function peerName(id) {
  return names.get(id) ?? id.slice(0, 8)
}

export async function showPeers() {
  const { peers, self } = await read('api/peers')
  names = new Map(peers.map((peer) => [peer.peer_id, host(peer)]))
  names.set(self.peer_id, 'this node')
  tellChanges(new Map(names))
  const place = document.getElementById('peers')
  if (peers.length === 0) {
    place.replaceChildren(element('p', { class: 'quiet' }, 'No other node is known yet.'))
    return
  }
  const unverified = peers.filter((peer) => !peer.verified).length
  const silent = peers.filter((peer) => peer.reachable === false).length
  place.replaceChildren(
    element('p', { class: 'figure' },
      element('strong', {}, count(peers.length, 'peer', 'peers')),
      unverified > 0 ? `, ${unverified} of them unverified` : '',
      silent > 0 ? `, ${silent} not reachable now` : ''),
    drawn(peers),
    element('ul', { class: 'peers' }, ...peers.slice(0, MOST_DRAWN).map((peer) => element('li', {
      class: mark(peer),
    }, host(peer), element('span', { class: 'quiet' }, `${standing(peer)}${offered(peer)}, ${peer.reachable === false ? 'not reachable now, ' : ''}seen ${age(time(peer.last_seen))}`)))),
    peers.length > MOST_DRAWN ? element('p', { class: 'quiet' }, `and ${peers.length - MOST_DRAWN} more`) : '',
  )
}

const standing = ({ member, verified }) => (member ? `member until ${time(member.expires).toLocaleDateString('en-GB')}` : verified ? 'verified' : 'not verified')

// How much it holds for other members, where this node knows.
function offered({ copies }) {
  if (!copies) return ''
  if (copies.gone) return ', gone: others hold what it held'
  if (copies.offer_bytes === 0 && copies.used_bytes === 0) return ', offers no room'
  return `, offers ${bytes(copies.offer_bytes)}, ${bytes(copies.used_bytes)} used, ${bytes(copies.left_bytes ?? 0)} left`
}

// Green is who can be believed and asked.
const mark = (peer) => (peer.verified && peer.reachable !== false ? 'verified' : 'unverified')

function host(peer) {
  try {
    return new URL(peer.address).host
  } catch {
    return peer.peer_id.slice(0, 8)
  }
}

function tellChanges(now) {
  if (known !== null) {
    for (const [id, name] of now) if (!known.has(id)) note(`Peer ${name} came`)
    for (const [id, name] of known) if (!now.has(id)) note(`Peer ${name} went`)
  }
  known = now
}

function drawn(peers) {
  const shown = peers.slice(0, MOST_DRAWN)
  const places = shown.map((peer, at) => {
    const angle = (2 * Math.PI * at) / shown.length
    return { peer, x: 100 + 75 * Math.cos(angle), y: 75 * Math.sin(angle) }
  })
  // No higher than it must be.
  const reach = Math.max(...places.map(({ y }) => Math.abs(y)), 6) + 12
  return picture('svg', {
    viewBox: `0 ${-reach} 200 ${2 * reach}`, class: 'net', role: 'img',
    'aria-label': `This node and ${count(peers.length, 'peer', 'peers')} around it`,
  },
  ...places.map(({ x, y }) => picture('line', { x1: 100, y1: 0, x2: x, y2: y })),
  ...places.map(({ peer, x, y }) => picture('circle', {
    cx: x, cy: y, r: 9, class: mark(peer),
  }, picture('title', {}, host(peer)))),
  picture('circle', { cx: 100, cy: 0, r: 14, class: 'self' }, picture('title', {}, 'this node')))
}
