// One file as the list shows it.

import { note } from './api.js'
import { badge } from './badge.js'
import { chooser } from './chosen.js'
import { address, download, keepHere, remove } from './file_actions.js'
import { element, moment } from './format.js'
import { look } from './look.js'

export function row(file, keeping, facts, mayWrite) {
  return element('li', { class: 'file' },
    chooser(file),
    element('a', { class: 'name', title: file.name, href: address(file), download: file.name, click: (event) => download(event, file), ...action('open', file) }, file.label),
    element('span', { class: 'quiet facts', title: `${facts} · ${moment(file.date)}` }, facts),
    badge(file),
    keeping ? element('progress', { max: Math.max(file.size, 1), value: keeping.fetched, 'aria-label': `Copy of ${file.name}` }) : null,
    element('span', { class: 'row-actions' },
      button('Look', file, look),
      mayWrite && !(file.own && !file.damaged) && !keeping ? button('Keep a copy', file, keepHere, 'wide') : null,
      mayWrite && file.own ? button('Delete', file, remove, 'wide') : null))
}

// Tells where the focus was, when a row is made anew.
function action(name, file) {
  return { 'data-action': `${name} ${file.key}` }
}

function button(label, file, act, kind = '') {
  const click = () => act(file).catch((error) => note(error.message, true))
  return element('button', { type: 'button', class: kind, 'aria-label': `${label}: ${file.name}`, click, ...action(label, file) }, label)
}
