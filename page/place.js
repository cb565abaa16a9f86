// Which folder is looked at: it stands in the address, so that the way back leads out of it.

import { unescaped } from './api.js'

const IN = '#in/'

// The path of the folder; '' for all.
export function place() {
  if (!location.hash.startsWith(IN)) return ''
  return location.hash.slice(IN.length).split('/').map(unescaped).join('/')
}

// The address of a folder within this page.
export function wayTo(path) {
  return path === '' ? '#files' : IN + path.split('/').map(encodeURIComponent).join('/')
}
