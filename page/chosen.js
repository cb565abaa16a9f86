// Several files that are chosen, to be kept or deleted together.

import { note } from './api.js'
import { keepAll, removeAll } from './file_actions.js'
import { count, element } from './format.js'

// By what tells files apart.
const chosen = new Map()

export function setUpChosen() {
  act('chosen-keep', keepAll)
  act('chosen-delete', removeAll)
  act('chosen-none', async () => {})
}

// Does this with the chosen files, which are chosen no more then.
function act(id, does) {
  document.getElementById(id).addEventListener('click', async () => {
    const done = await does([...chosen.values()]).catch((error) => note(error.message, true))
    if (done === false) return
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
  document.getElementById('chosen').hidden = files.length === 0
  document.getElementById('chosen-count').textContent = `${count(files.length, 'file', 'files')} chosen`
  document.getElementById('chosen-keep').disabled = files.every((file) => file.here && !file.damaged)
  document.getElementById('chosen-delete').disabled = !files.some((file) => file.here)
}
