// What was dropped onto the page: files, and those in folders, however deep.

export async function dropped(transfer) {
  // The list is empty once the event is over.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean)
  const found = []
  for (const entry of entries) await collect(entry, '', found)
  return found
}

async function collect(entry, folder, found) {
  const name = folder + entry.name
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject) })
    found.push({ file, name })
    return
  }
  const reader = entry.createReader()
  for (;;) {
    // It gives at most a hundred at a time.
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject) })
    if (some.length === 0) return
    for (const inside of some) await collect(inside, `${name}/`, found)
  }
}
