// Several files that are chosen, to be downloaded, kept or deleted together.

import { note } from './api.js'
import { downloadAll } from './archive.js'
import { keepAll, removeAll } from './file_actions.js'
import { bytes, count, element } from './format.js'
import { Found } from './found.js'
import { Listing } from './listing.js'
import { mayWrite } from './rights.js'

// How many files of a folder are read at once.
const AT_ONCE = 1000

// By what tells files apart.
const chosen = new Map()
// In which listing each was found last.
const foundIn = new Map()
// Folders of which all is being chosen.
const choosing = new Set()

export function setUpChosen() {
  act('chosen-download', downloadAll)
  act('chosen-keep', keepAll)
  act('chosen-delete', removeAll)
  act('chosen-none', async () => {})
}

// Does this with the chosen files, which are chosen no more then unless it says so.
function act(id, does) {
  document.getElementById(id).addEventListener('click', async () => {
    let isDone = false
    try {
      isDone = await does([...chosen.values()]) !== false
    } catch (error) {
      note(error.message, true)
    }
    if (!isDone) return
    chosen.clear()
    for (const box of document.querySelectorAll('#file-list .choose input')) box.checked = false
    show()
    document.getElementById('files').focus()
  })
}

export function chooser(file) {
  const box = element('input', { type: 'checkbox', 'aria-label': `Choose ${file.name}` })
  box.checked = chosen.has(file.key)
  box.addEventListener('change', () => {
    if (box.checked) chosen.set(file.key, file)
    else chosen.delete(file.key)
    show()
  })
  return element('label', { class: 'choose' }, box)
}

// A box for all that is in a folder, wherever in it.
export function folderChooser(folder) {
  const box = element('input', { type: 'checkbox', 'aria-label': `Choose the folder ${folder.path}`, 'data-folder': folder.path })
  box.addEventListener('change', () => {
    if (box.checked) chooseAll(folder.path).catch((error) => note(error.message, true))
    else leaveAll(folder.path)
  })
  showFolder(box)
  return element('label', { class: 'choose' }, box)
}

const isIn = (path) => (file) => file.name.startsWith(`${path}/`)

// All of it is read first, of which the list may show a part only.
async function chooseAll(path) {
  choosing.add(path)
  try {
    const listing = new Listing(`${path}/`, 'newest', AT_ONCE)
    const found = new Found()
    while (!listing.isWhole) found.add((await listing.readOn()).files, listing.myself)
    // Meanwhile somebody may want it no more.
    if (choosing.has(path)) for (const file of [...found.files.values()].filter(isIn(path))) chosen.set(file.key, file)
  } finally {
    choosing.delete(path)
    show()
  }
}

function leaveAll(path) {
  choosing.delete(path)
  for (const file of [...chosen.values()].filter(isIn(path))) chosen.delete(file.key)
  show()
}

// Of what was chosen, what is known now: files that are gone are chosen no more, and those that are
// not listed now, as in another folder, stay so.
export function showChosen(found, listing, covers) {
  for (const [key, file] of chosen) {
    if (found.has(key)) {
      chosen.set(key, found.get(key))
      foundIn.set(key, listing)
    } else if (foundIn.get(key) === listing || (listing.isWhole && covers(file))) {
      chosen.delete(key)
    }
  }
  for (const key of foundIn.keys()) if (!chosen.has(key)) foundIn.delete(key)
  show()
}

function showFolder(box) {
  const some = [...chosen.values()].some(isIn(box.dataset.folder))
  box.checked = some || choosing.has(box.dataset.folder)
}

function show() {
  const files = [...chosen.values()]
  const size = files.reduce((sum, file) => sum + file.size, 0)
  for (const box of document.querySelectorAll('#file-list .choose [data-folder]')) showFolder(box)
  document.getElementById('chosen').hidden = files.length === 0
  document.getElementById('chosen-count').textContent = `${count(files.length, 'file', 'files')} chosen, ${bytes(size)}`
  for (const [id, isUseless] of [
    ['chosen-keep', files.every((file) => file.own && !file.damaged)],
    ['chosen-delete', !files.some((file) => file.own)],
  ]) {
    document.getElementById(id).disabled = isUseless
    document.getElementById(id).hidden = !mayWrite()
  }
}
