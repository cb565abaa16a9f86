// Several files that are chosen, to be downloaded, kept or deleted together.

import { note } from './api.js'
import { downloadAll } from './archive.js'
import { keepAll, removeAll } from './file_actions.js'
import { bytes, count, element } from './format.js'
import { mayWrite } from './rights.js'

// By what tells files apart.
const chosen = new Map()

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

// Of what was chosen, what is known now: files that are gone are chosen no more.
export function showChosen(found) {
  for (const key of chosen.keys()) {
    if (found.has(key)) chosen.set(key, found.get(key))
    else chosen.delete(key)
  }
  show()
}

function show() {
  const files = [...chosen.values()]
  const size = files.reduce((sum, file) => sum + file.size, 0)
  document.getElementById('chosen').hidden = files.length === 0
  document.getElementById('chosen-count').textContent = `${count(files.length, 'file', 'files')} chosen, ${bytes(size)}`
  for (const [id, isUseless] of [
    ['chosen-keep', files.every((file) => file.here && !file.damaged)],
    ['chosen-delete', !files.some((file) => file.own)],
  ]) {
    document.getElementById(id).disabled = isUseless
    document.getElementById(id).hidden = !mayWrite()
  }
}
