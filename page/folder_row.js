// Folders: as rows of the list, and as the way that leads to the one that is looked at.

import { downloadFolder, zipOfFolder } from './archive.js'
import { folderChooser } from './chosen.js'
import { age, bytes, count, element, moment } from './format.js'
import { wayTo } from './place.js'

// A folder as the list shows it; while not all is read it may hold more.
export function folderRow(folder, isWhole) {
  const number = count(folder.count, 'file', 'files')
  const facts = `${isWhole ? number : `at least ${number}`} · ${bytes(folder.size)} · ${age(folder.date)}`
  return element('li', { class: 'file folder' },
    folderChooser(folder),
    element('a', { class: 'name', title: folder.path, href: wayTo(folder.path), 'data-action': `open ${folder.path}` }, folder.name),
    element('span', { class: 'quiet facts', title: `${facts} · the newest ${moment(folder.date)}` }, facts),
    element('span', { class: 'row-actions' },
      element('a', {
        class: 'button', href: zipOfFolder(folder.path), download: `${folder.name}.zip`,
        'aria-label': `Download the folder ${folder.path}`, 'data-action': `zip ${folder.path}`,
        click: (event) => downloadFolder(event, folder.path),
      }, 'Download')))
}

// The way to a folder, each of whose parts leads to itself.
export function showWay(path) {
  const way = document.getElementById('way')
  way.hidden = path === ''
  if (way.dataset.path === path) return
  way.dataset.path = path
  if (path === '') {
    way.replaceChildren()
    return
  }
  const parts = path.split('/')
  const steps = parts.map((name, at) => {
    const to = parts.slice(0, at + 1).join('/')
    const isLast = at === parts.length - 1
    return element('li', {}, isLast
      ? element('span', { 'aria-current': 'location' }, name)
      : element('a', { href: wayTo(to) }, name))
  })
  const all = element('li', {}, element('a', { href: wayTo('') }, 'All files'))
  const last = parts.at(-1)
  way.replaceChildren(
    element('ol', {}, all, ...steps),
    element('a', {
      class: 'button', href: zipOfFolder(path), download: `${last}.zip`,
      'aria-label': `Download all of the folder ${path}`, click: (event) => downloadFolder(event, path),
    }, 'Download all'))
}
