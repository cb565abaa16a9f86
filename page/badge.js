// What is known of a file's bytes and of who holds it, in few words.

import { element } from './format.js'
import { peerName } from './peers.js'

// What is known of its bytes: only this node's own were held against their hash.
export function badge(file) {
  if (file.damaged) return said('damaged', 'damaged here', 'What this node stored of it is damaged. It comes again from any node that has it; where none does, upload it again to mend it.')
  if (!file.hash) return said('unverified', 'not verified', 'Its peer tells no hash: its bytes cannot be checked')
  if (file.here) return said('verified', 'verified', `This node computed its hash from the bytes it keeps: BLAKE3 ${file.hash}`)
  return said('unverified', 'checked as it comes', `This node has not read it yet. Each byte is checked against BLAKE3 ${file.hash} before it is passed on.`)
}

const said = (kind, text, title) => element('span', { class: `badge ${kind}`, title }, text)

// On how many members of the network it is, where this node's files are to be on several.
export function copies(file) {
  if (!file.copies || (file.copies.wanted === 1 && file.copies.there === 1)) return ''
  const { wanted, there } = file.copies
  return ` · on ${there} of ${wanted} ${wanted === 1 ? 'member' : 'members'}`
}

// Where it is held; the file itself, or what it holds under another name.
export function holders(file) {
  const others = [...file.reachable].filter((peer) => peer !== file.myself)
  if (!file.here && others.length === 0) return 'not reachable now: no node that has it answers'
  const names = others.slice(0, 2).map(peerName)
  if (others.length > 2) names.push(`${others.length - 2} more`)
  const here = file.own ? 'here' : file.copy ? 'held here for another member' : 'here under another name'
  const where = [file.here ? here : null, names.length > 0 ? `at ${names.join(', ')}` : null].filter(Boolean).join(' and ')
  const silent = [...file.peers].filter((peer) => peer !== file.myself && !file.reachable.has(peer)).length
  return silent > 0 ? `${where} (${silent} more ${silent === 1 ? 'does' : 'do'} not answer)` : where
}
