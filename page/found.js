// What was read of the listing as people see it: files, of which those with the same content and name
// are one, and the folders that their names tell of.

import { time } from './format.js'

export class Found {
  constructor() {
    this.files = new Map()
  }

  // Takes what was read; what is read later may belong to a file that is there.
  add(listed, myself) {
    for (const file of listed) {
      const key = file.hash ? `${file.hash} ${file.original_name}` : file.file_id
      const known = this.files.get(key)
      if (known) join(known, file)
      else this.files.set(key, made(key, file, myself))
    }
  }

  // What lies in a folder, '' being the one of all: its files, and each folder in it once, where
  // its first file is.
  inside(folder) {
    const start = folder === '' ? '' : `${folder}/`
    const folders = new Map()
    const items = []
    for (const file of this.files.values()) {
      if (!file.name.startsWith(start)) continue
      const rest = file.name.slice(start.length)
      const end = rest.indexOf('/')
      if (end <= 0) {
        file.label = rest
        items.push(file)
        continue
      }
      const path = start + rest.slice(0, end)
      const known = folders.get(path)
      if (known) {
        gather(known, file)
        continue
      }
      const made = { key: `folder ${path}`, path, name: rest.slice(0, end), count: 0, size: 0, date: file.date, piece: file.piece }
      gather(made, file)
      folders.set(path, made)
      items.push(made)
    }
    return items
  }

  // All files under their whole names, wherever they lie.
  everywhere() {
    const files = [...this.files.values()]
    for (const file of files) file.label = file.name
    return files
  }
}

function made(key, file, myself) {
  return {
    key, ids: [file.file_id], name: file.original_name, label: file.original_name, size: file.size,
    hash: file.hash, type: file.content_type ?? '', date: time(file.uploaded_at),
    peers: new Set(file.peers), reachable: new Set(file.reachable_peers), damaged: file.damaged, own: file.own, copy: file.copy, copies: file.copies,
    piece: file.piece, myself,
    // Its content may be here for the sake of a file of another name.
    get here() { return this.peers.has(myself) },
  }
}

function join(known, file) {
  known.ids.push(file.file_id)
  known.damaged ||= file.damaged
  known.own ||= file.own
  known.copy &&= file.copy
  known.copies ??= file.copies
  for (const peer of file.peers) known.peers.add(peer)
  for (const peer of file.reachable_peers) known.reachable.add(peer)
}

function gather(folder, file) {
  folder.count += 1
  folder.size += file.size
  if (file.date > folder.date) folder.date = file.date
}
