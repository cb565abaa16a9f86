// What is pasted onto the page or written there: files, pictures, and texts, which become files.

import { answered } from './dialog.js'
import { mayWrite } from './rights.js'

// Hands each file with its name to `add`.
export function setUpText(add) {
  const write = (text) => askForText(text).then((file) => { if (file) add([file]) })
  document.getElementById('write-text').addEventListener('click', () => write(''))
  document.addEventListener('paste', (event) => {
    const isElsewhere = event.target.closest?.('input, textarea') || document.querySelector('dialog[open]')
    if (isElsewhere || !mayWrite()) return
    const files = [...event.clipboardData.files]
    const text = event.clipboardData.getData('text/plain')
    if (files.length > 0) add(files.map((file) => ({ file, name: pastedName(file.name) })))
    else if (text !== '') write(text)
    else return
    event.preventDefault()
  })
}

// Browsers call all pictures alike that come from no file.
function pastedName(name) {
  const [, ending] = /^image(\.\w+)$/.exec(name) ?? []
  return ending ? `pasted ${now()}${ending}` : name
}

// The time as people here tell it, in letters that every file system takes.
function now() {
  const date = new Date()
  const two = (number) => String(number).padStart(2, '0')
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-')
  return `${day} ${two(date.getHours())}.${two(date.getMinutes())}.${two(date.getSeconds())}`
}

// A pasted text may be a secret, so it goes nowhere before somebody has looked at it.
async function askForText(text) {
  const [written, named] = ['text', 'text-name'].map((id) => document.getElementById(id))
  written.value = text
  named.value = `text ${now()}.txt`
  const isWanted = await answered(document.getElementById('ask-text'))
  const content = written.value
  written.value = ''
  if (!isWanted || content === '') return null
  const name = named.value.trim() || 'text.txt'
  return { file: new File([content], name, { type: 'text/plain' }), name }
}
