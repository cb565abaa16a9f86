// Questions to the user.

import { plain } from './format.js'

let asked = 0

// Opens a dialog. The focus goes back to where it was when it closes, also where that was made anew
// meanwhile.
export function open(dialog) {
  const { action } = document.activeElement?.dataset ?? {}
  dialog.showModal()
  if (!action) return
  const back = () => {
    // What had it in the dialog may keep it, unseen.
    const at = document.activeElement
    if (at !== document.body && !dialog.contains(at)) return
    document.querySelector(`[data-action="${CSS.escape(action)}"]`)?.focus()
  }
  dialog.addEventListener('close', back, { once: true })
}

// Opens a dialog; tells whether it was answered with yes.
export function answered(dialog) {
  asked += 1
  const mine = asked
  dialog.returnValue = 'no'
  open(dialog)
  return new Promise((resolve) => {
    const closed = () => {
      // Its event may come when the dialog is open again, for the next question.
      if (mine === asked && dialog.open) return
      dialog.removeEventListener('close', closed)
      resolve(mine === asked && dialog.returnValue === 'yes')
    }
    dialog.addEventListener('close', closed)
  })
}

// Asks whether something is to be deleted; tells whether it is.
export function confirmed(title, text) {
  document.getElementById('confirm-title').textContent = title
  document.getElementById('confirm-text').textContent = plain(text)
  return answered(document.getElementById('confirm'))
}
