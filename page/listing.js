// The files of the network in one order, read piece by piece as far as somebody looks, and again
// only where somebody looks.

import { read } from './api.js'

// How a cursor is sent that the listing goes on behind.
const BEHIND = { newest: 'before', oldest: 'after' }

// Who goes on that far wants more at a time.
const FAR = 5
const MANY = 1000

export class Listing {
  // Of files whose names hold `name`, at most `size` at a time.
  constructor(name, order, size) {
    Object.assign(this, { name, order, size, pieces: [], total: 0, myself: '', isWhole: false })
  }

  // Reads what comes next, and gives it.
  async readOn() {
    // A node looks at so many files for a name at a time, and may have found none among them.
    for (let from = this.pieces.at(-1)?.to ?? null; ;) {
      const piece = await this.readPiece(from)
      this.pieces.push(piece)
      this.isWhole = piece.to === null
      if (piece.files.length > 0 || this.isWhole) return piece
      from = piece.to
    }
  }

  // What was read may be otherwise by now.
  mark() {
    for (const piece of this.pieces) piece.isStale = true
  }

  // Reads these of its pieces again where they may have changed; tells whether any was read.
  async readAgain(pieces) {
    const stale = pieces.filter((it) => it.isStale && this.pieces.includes(it))
    for (const piece of stale) await this.readOneAgain(piece)
    return stale.length > 0
  }

  async readOneAgain(piece) {
    const now = []
    let from = piece.from
    for (;;) {
      const part = await this.readPiece(from)
      const goesOn = part.to !== null && part.to !== piece.to && this.isWithin(part.to, piece.to)
      // So many are new that what was read is far away: that is read when somebody looks.
      if (goesOn && from === null && this.order === 'newest') {
        this.pieces = [part]
        this.isWhole = false
        return
      }
      if (!goesOn) part.to = piece.to
      part.files = part.files.filter((file) => this.isWithin(keyOf(file), piece.to))
      now.push(part)
      from = part.to
      if (from === piece.to) break
      // Beyond the end there was nothing before; it is read when somebody looks.
      if (piece.to === null) {
        this.isWhole = false
        break
      }
    }
    this.pieces.splice(this.pieces.indexOf(piece), 1, ...now)
  }

  async readPiece(from) {
    const limit = this.pieces.length < FAR ? this.size : MANY
    const query = new URLSearchParams({ order: this.order, limit })
    if (this.name) query.set('name', this.name)
    if (from !== null) query.set(BEHIND[this.order], from)
    const answer = await read(`api/p2p/network?${query}`)
    this.total = answer.total_files
    this.myself = answer.peer_id
    const piece = { from, to: answer.next, files: answer.files, isStale: false }
    for (const file of piece.files) file.piece = piece
    return piece
  }

  // Whether this comes before the end of a piece. Ids, and so cursors, grow with time.
  isWithin(key, to) {
    if (to === null) return true
    return this.order === 'newest' ? key >= to : key <= to
  }
}

const keyOf = (file) => `${file.file_id}.${file.hash ?? ''}`
