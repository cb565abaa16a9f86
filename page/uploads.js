// Uploads that can be paused and go on, also after a reload, by tus-js-client: it remembers in
// the browser which upload at the node belongs to which file.

import { askForToken, authorization, note, Refusal, request, wantsToken } from './api.js'
import { dropped } from './dropped.js'
import { element } from './format.js'
import { UploadRow } from './upload_row.js'

const ENDPOINT = '/api/p2p/tus'
// More at once would only share the same wire.
const AT_ONCE = 3
// More rows than these help nobody.
const MOST_SHOWN = 50

const waiting = []
const running = new Set()
// Unfinished uploads of earlier visits whose files have to be chosen again, by their keys.
const left = new Map()

const remembered = () => tus.defaultOptions.urlStorage

export function setUpUploads() {
  const drop = document.getElementById('drop')
  for (const name of ['dragenter', 'dragover']) {
    document.addEventListener(name, (event) => {
      event.preventDefault()
      drop.classList.add('over')
    })
  }
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) drop.classList.remove('over')
  })
  document.addEventListener('drop', async (event) => {
    event.preventDefault()
    drop.classList.remove('over')
    add(await dropped(event.dataTransfer))
  })
  setUpChoice('choose-files', 'file-input')
  setUpChoice('choose-folder', 'folder-input')
  window.addEventListener('beforeunload', (event) => {
    if (running.size > 0 || waiting.length > 0) event.preventDefault()
  })
  showLeft()
}

function setUpChoice(button, input) {
  const chosen = document.getElementById(input)
  document.getElementById(button).addEventListener('click', () => chosen.click())
  chosen.addEventListener('change', () => {
    add([...chosen.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })))
    chosen.value = ''
  })
}

function add(files) {
  for (const { file, name } of files) waiting.push({ file, name })
  startNext()
}

function startNext() {
  while (running.size < AT_ONCE && waiting.length > 0) start(waiting.shift())
  const more = document.getElementById('uploads-more')
  more.hidden = waiting.length === 0
  more.textContent = `${waiting.length} more wait for their turn`
}

async function start({ file, name }) {
  const row = new UploadRow(name, file.size)
  running.add(row)
  const upload = new tus.Upload(file, {
    endpoint: ENDPOINT,
    metadata: { filename: name, filetype: file.type },
    // The name tells files of different folders apart.
    fingerprint: async () => ['larder', name, file.size, file.lastModified].join('/'),
    removeFingerprintOnSuccess: true,
    retryDelays: [0, 1000, 3000, 5000, 10000, 20000],
    onShouldRetry: (error) => worthAnotherTry(error.originalResponse),
    onBeforeRequest: (sent) => {
      for (const [header, value] of Object.entries(authorization())) sent.setHeader(header, value)
    },
    onProgress: (sent) => row.progress(sent),
    onSuccess: ({ lastResponse }) => {
      row.done(lastResponse.getHeader('Larder-File-Id'))
      end(row)
    },
    onError: (error) => failed(error, row, upload),
  })
  row.controls({
    pause: () => upload.abort(),
    resume: () => upload.start(),
    cancel: async () => {
      await upload.abort(true).catch(() => {})
      row.remove()
      end(row)
    },
  })
  show(row)
  const [previous] = await upload.findPreviousUploads()
  if (previous) {
    left.get(previous.urlStorageKey)?.remove()
    left.delete(previous.urlStorageKey)
    upload.resumeFromPreviousUpload(previous)
  }
  upload.start()
}

function end(row) {
  running.delete(row)
  startNext()
}

function worthAnotherTry(answer) {
  const status = answer ? answer.getStatus() : 0
  return status === 0 || status === 409 || status === 423 || status === 429 || (status >= 500 && status !== 507)
}

async function failed(error, row, upload) {
  const answer = error.originalResponse
  const body = answer ? parsed(answer.getBody()) : {}
  const refusal = new Refusal(answer ? answer.getStatus() : 0, body)
  if (answer && wantsToken(refusal) && (await askForToken(refusal.message))) {
    upload.start()
    return
  }
  row.failed(answer ? refusal.message : 'the node does not answer')
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return {}
  }
}

function show(row) {
  const rows = document.getElementById('uploads')
  rows.prepend(row.element)
  const over = [...rows.children].slice(MOST_SHOWN).filter((it) => it.classList.contains('done'))
  for (const old of over) old.remove()
}

// Shows what earlier visits began and did not end.
async function showLeft() {
  for (const entry of await remembered().findAllUploads()) {
    try {
      const answer = await request(entry.uploadUrl, { method: 'HEAD', headers: { 'Tus-Resumable': '1.0.0' } })
      if (answer.headers.has('Larder-File-Id')) await remembered().removeUpload(entry.urlStorageKey)
      else showOneLeft(entry, Number(answer.headers.get('Upload-Offset')))
    } catch (error) {
      // The node knows it no longer; whatever else it is, the next visit may find it.
      if (error.status === 404) await remembered().removeUpload(entry.urlStorageKey)
    }
  }
}

function showOneLeft(entry, offset) {
  const row = new UploadRow(entry.metadata.filename, entry.size)
  const input = element('input', { type: 'file', hidden: true, 'aria-label': `The file ${entry.metadata.filename}` })
  input.addEventListener('change', () => {
    const [file] = input.files
    if (file.size !== entry.size) note('That is another file: its size differs', true)
    else add([{ file, name: entry.metadata.filename }])
    input.value = ''
  })
  row.element.append(input)
  row.left(offset, () => input.click(), async () => {
    await tus.Upload.terminate(entry.uploadUrl, { headers: authorization() }).catch(() => {})
    await remembered().removeUpload(entry.urlStorageKey)
    row.remove()
    left.delete(entry.urlStorageKey)
  })
  left.set(entry.urlStorageKey, row)
  show(row)
}
