// Numbers and times as people read them, and elements made of text.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

export function bytes(count) {
  let unit = 0
  while (count >= 1000 && unit < UNITS.length - 1) {
    count /= 1024
    unit += 1
  }
  const digits = unit === 0 || count >= 100 ? 0 : 1
  return `${count.toFixed(digits)} ${UNITS[unit]}`
}

export function count(number, one, many) {
  return `${number.toLocaleString('en')} ${number === 1 ? one : many}`
}

// How long something takes, from seconds.
export function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`
  return `${(seconds / 3600).toFixed(1)} h`
}

// A time of the API, which is UTC without saying so.
export function time(text) {
  return new Date(/Z|[+-]\d\d:\d\d$/.test(text) ? text : `${text}Z`)
}

const MOMENTS = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'long' })

// A time exactly, by the clock of whoever looks.
export function moment(date) {
  return Number.isNaN(date.getTime()) ? '' : MOMENTS.format(date)
}

export function age(date) {
  const seconds = (Date.now() - date.getTime()) / 1000
  if (Number.isNaN(seconds)) return ''
  const steps = [[60, 'second'], [60, 'minute'], [24, 'hour'], [30, 'day'], [12, 'month'], [Infinity, 'year']]
  const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
  let number = Math.max(0, seconds)
  if (number < 10) return 'just now'
  for (const [size, unit] of steps) {
    if (number < size) return words.format(-Math.floor(number), unit)
    number /= size
  }
  return ''
}

// What commands rather than being shown, or has what stands around it shown in another order or not
// at all: names, types and reasons come from anybody. The commands of larder escape the same.
const UNSAFE = /[\p{Cc}\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu
const escaped = (mark) => `\\u{${mark.codePointAt(0).toString(16)}}`

// A text of one line as it may be shown.
export function plain(text) {
  return String(text).replace(UNSAFE, escaped)
}

// A text of several lines as it may be shown.
export function plainLines(text) {
  return text.replace(/\r\n/g, '\n').replace(UNSAFE, (mark) => (mark === '\n' || mark === '\t' ? mark : escaped(mark)))
}

// Attributes that are shown or read out; others mean something to the browser.
const SHOWN = new Set(['title', 'alt', 'aria-label'])

// An element with attributes and children; texts stay texts of one line, whatever they hold.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name)
  fill(made, attributes, children)
  return made
}

export function picture(name, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name)
  fill(made, attributes, children)
  return made
}

function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(key, value)
    else if (value === true) made.setAttribute(key, '')
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, SHOWN.has(key) ? plain(value) : value)
  }
  const there = children.filter((child) => child !== null && child !== undefined)
  made.append(...there.map((child) => (child instanceof Node ? child : plain(child))))
}
