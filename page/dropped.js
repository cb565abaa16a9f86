// What was dropped onto the page: files, and those in folders, however deep.

// What can be read of it, and how much cannot.
export async function dropped(transfer) {
  // The list is empty once the event is over.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean)
  const found = { files: [], unreadable: 0 }
  for (const entry of entries) await collect(entry, '', found)
  return found
}

// By these files, which each has, a storage directory of a node is known.
const OF_STORAGE = ['larder.format', 'larder.lock']

// Of files in folders, those that are in no storage directory, since everybody could read the secret
// key of the node in it; and how many such directories there are.
export function withoutStorage(files) {
  const parts = files.map(({ name }) => name.split('/'))
  const marks = parts.filter((it) => it.length > 1 && OF_STORAGE.includes(it.at(-1)))
  const storage = new Set(marks.map((it) => it.slice(0, -1).join('/')))
  const isWithin = (it) => it.some((_, at) => storage.has(it.slice(0, at).join('/')))
  return { sent: files.filter((_, at) => !isWithin(parts[at])), storage: storage.size }
}

async function collect(entry, folder, found) {
  try {
    const name = folder + entry.name
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => { entry.file(resolve, reject) })
      found.files.push({ file, name })
      return
    }
    const reader = entry.createReader()
    for (;;) {
      // It gives at most a hundred at a time.
      const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject) })
      if (some.length === 0) return
      for (const inside of some) await collect(inside, `${name}/`, found)
    }
  } catch {
    found.unreadable += 1
  }
}

// Whether a file is still there as it was when it was chosen; browsers read no other.
export async function isReadable(file) {
  try {
    // The last byte, which one that became shorter has no longer.
    await file.slice(-1).arrayBuffer()
    return true
  } catch {
    return false
  }
}
