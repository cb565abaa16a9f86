// Lists that change while somebody uses them.

// Has `list` show exactly these rows in this order. What is in its place already is not moved,
// as that would take away the focus, and a click that has only begun.
export function setRows(list, rows) {
  const wanted = new Set(rows)
  for (const row of [...list.children]) if (!wanted.has(row)) row.remove()
  let place = list.firstElementChild
  for (const row of rows) {
    if (row === place) place = place.nextElementSibling
    else list.insertBefore(row, place)
  }
}

// How many rows beyond the window are there already.
const BEYOND = 6
// The space between two rows, and the height of one until there is one, in pixels.
const GAP = 8
const GUESSED = 72

// A list of rows of one height, of which only those in the window, and the one with the focus, are
// on the page.
export class LongList {
  // `make` makes the row of an item, or gives the one that is there.
  constructor(list, make) {
    Object.assign(this, { list, make, items: [], slot: GUESSED + GAP, first: 0, last: 0 })
  }

  show(items) {
    this.items = items
    this.draw()
  }

  // Which items are in the window, or near it.
  place() {
    const above = -this.list.getBoundingClientRect().top
    this.first = Math.max(0, Math.min(Math.floor(above / this.slot) - BEYOND, this.items.length))
    const end = Math.ceil((above + window.innerHeight) / this.slot) + BEYOND
    this.last = Math.max(this.first, Math.min(end, this.items.length))
  }

  draw() {
    this.place()
    const places = []
    for (let at = this.first; at < this.last; at += 1) places.push(at)
    const focused = this.focused()
    if (focused !== null && focused < this.first) places.unshift(focused)
    if (focused !== null && focused >= this.last) places.push(focused)
    const drawn = places.map((at) => this.drawn(at))
    setRows(this.list, drawn)
    this.list.style.height = `${this.items.length * this.slot}px`
    const height = drawn[0]?.offsetHeight
    if (!height || Math.abs(height + GAP - this.slot) < 1) return
    this.slot = height + GAP
    this.draw()
  }

  // Where the row with the focus is, which stays.
  focused() {
    const row = document.activeElement?.closest('li')
    if (row?.parentElement !== this.list) return null
    const at = Number(row.getAttribute('aria-posinset')) - 1
    return this.items[at]?.key === row.dataset.key ? at : null
  }

  drawn(at) {
    const row = this.make(this.items[at])
    row.dataset.key = this.items[at].key
    row.style.top = `${at * this.slot}px`
    row.setAttribute('aria-posinset', at + 1)
    row.setAttribute('aria-setsize', this.items.length)
    return row
  }
}
