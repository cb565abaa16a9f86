// One upload as the page shows it: how far it is, how fast, how long still.

import { bytes, duration, element } from './format.js'

// How much a new speed counts against the ones before.
const NEWEST = 0.3
// How often the speed is looked at, in milliseconds.
const EVERY = 500

export class UploadRow {
  constructor(name, size) {
    this.size = size
    this.bar = element('progress', { max: Math.max(size, 1), value: 0, 'aria-label': `Upload of ${name}` })
    this.state = element('span', { class: 'quiet' }, 'beginning')
    this.actions = element('span', { class: 'row-actions' })
    this.element = element('li', { class: 'upload' },
      element('span', { class: 'name' }, name), this.bar, this.state, this.actions)
    this.name = name
    this.looked = null
    this.speed = null
    this.sent = 0
  }

  button(label, act, kind = '') {
    return element('button', { type: 'button', class: kind, 'aria-label': `${label} ${this.name}`, click: act }, label)
  }

  waiting(cancel) {
    this.state.textContent = `${bytes(this.size)}, waits for its turn`
    this.actions.replaceChildren(this.button('Cancel', cancel))
  }

  controls({ pause, resume, cancel }) {
    this.pauseButton = this.button('Pause', () => {
      this.paused()
      pause()
    })
    this.resumeButton = this.button('Resume', () => {
      this.looked = null
      this.speed = null
      this.state.textContent = 'going on'
      this.actions.replaceChildren(this.pauseButton, this.cancelButton)
      resume()
      this.pauseButton.focus()
    })
    this.cancelButton = this.button('Cancel', cancel)
    this.actions.replaceChildren(this.pauseButton, this.cancelButton)
  }

  progress(sent) {
    this.bar.value = sent
    this.sent = sent
    const now = performance.now()
    if (this.looked === null) {
      this.looked = { now, sent }
    } else if (now - this.looked.now >= EVERY) {
      const speed = ((sent - this.looked.sent) * 1000) / (now - this.looked.now)
      this.speed = this.speed === null ? speed : this.speed + NEWEST * (speed - this.speed)
      this.looked = { now, sent }
    }
    const parts = [`${bytes(sent)} of ${bytes(this.size)}`]
    if (this.speed) parts.push(`${bytes(this.speed)}/s`, `${duration((this.size - sent) / this.speed)} left`)
    this.state.textContent = parts.join(' · ')
  }

  // What speed it had says nothing of when it ends.
  stalled(reason = 'the node does not answer; trying again') {
    this.looked = null
    this.speed = null
    this.state.textContent = `${bytes(this.sent)} of ${bytes(this.size)} · ${reason}`
  }

  away(reason) {
    this.stalled(`${reason}; it goes on by itself when the node is back`)
  }

  paused() {
    this.state.textContent = `paused at ${bytes(this.sent)} of ${bytes(this.size)}`
    this.actions.replaceChildren(this.resumeButton, this.cancelButton)
    this.resumeButton.focus()
  }

  failed(reason) {
    this.element.classList.add('failed')
    this.state.textContent = `failed: ${reason}`
    this.actions.replaceChildren(this.button('Try again', () => this.again()), this.cancelButton)
  }

  again() {
    this.element.classList.remove('failed')
    this.resumeButton.click()
  }

  done() {
    this.element.classList.add('done')
    this.bar.value = this.bar.max
    this.state.textContent = `${bytes(this.size)} uploaded`
    this.actions.replaceChildren(
      this.button('Dismiss', () => this.remove()))
  }

  // One whose file is not what it was when it was chosen.
  lost(choose, discard) {
    this.element.classList.add('failed')
    this.state.textContent = 'failed: this file has changed or is gone; choose it again'
    this.offerChoice(choose, discard)
  }

  // One of an earlier visit, whose file the browser no longer has.
  left(offset, choose, discard) {
    this.bar.value = offset ?? 0
    const place = offset === null ? '' : ` at ${bytes(offset)} of ${bytes(this.size)}`
    this.state.textContent = `stopped${place}; choose the file again to go on`
    this.offerChoice(choose, discard)
  }

  offerChoice(choose, discard) {
    const input = element('input', { type: 'file', hidden: true, 'aria-label': `The file ${this.name}` })
    input.addEventListener('change', () => {
      const [file] = input.files
      input.value = ''
      choose(file)
    })
    this.actions.replaceChildren(
      input,
      this.button('Choose again', () => input.click(), 'primary'),
      this.button('Discard', discard))
  }

  remove() {
    const rows = this.element.parentElement
    const focused = this.element.contains(document.activeElement)
    this.element.remove()
    // Who uses the keyboard goes on from here.
    if (focused) (rows.querySelector('button') ?? document.getElementById('choose-files')).focus()
  }
}
