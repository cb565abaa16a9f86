// Questions to the user.

let asked = 0

// Opens a dialog; tells whether it was answered with yes.
export function answered(dialog) {
  asked += 1
  const mine = asked
  dialog.returnValue = 'no'
  dialog.showModal()
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
