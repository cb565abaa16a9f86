// Something of a list that is pressed, with a pointer or a key: a click that has only begun, which is
// lost where what is under it is moved or made anew.

// How long after the end of a press its click may come, in milliseconds: with a finger it does so in a
// task of its own, and of a press that went elsewhere there is none.
const CLICK_WITHIN = 300

let press = null
let end = () => {}
let ending = 0

// Minds what is pressed within `list`.
export function setUpPress(list) {
  list.addEventListener('pointerdown', (event) => { if (event.button === 0) begin() })
  // Enter clicks as it goes down.
  list.addEventListener('keydown', (event) => { if (event.key === ' ') begin() })
  for (const [name, wait] of [
    ['pointerup', CLICK_WITHIN], ['keyup', CLICK_WITHIN],
    // Whoever listens, and the browser itself, has it first.
    ['click', 0],
    // Of these there is no click, nor always another end.
    ['pointercancel', 0], ['contextmenu', 0], ['blur', 0],
  ]) {
    window.addEventListener(name, () => {
      clearTimeout(ending)
      ending = setTimeout(() => end(), wait)
    })
  }
}

export const isPressed = () => press !== null

// Waits until nothing is pressed.
export async function released() {
  while (isPressed()) await press
}

function begin() {
  clearTimeout(ending)
  press ??= new Promise((resolve) => {
    end = () => {
      press = null
      resolve()
    }
  })
}
