// Uploads that can be paused and go on, also after a reload, by tus-js-client: it remembers in
// the browser which upload at the node belongs to which file.

import { authorization, note, otherToken, Refusal, request, wantsToken } from './api.js'
import { dropped } from './dropped.js'
import { bytes, count, duration, element } from './format.js'
import { UploadRow } from './upload_row.js'

const ENDPOINT = new URL('api/p2p/tus', document.baseURI).href
// More at once would only share the same wire.
const AT_ONCE = 3
// More rows than these help nobody.
const MOST_SHOWN = 50
// How often to tell how far all uploads together are, in milliseconds.
const TELL_EVERY = 500

// Uploads that have not begun, in their order; those that are under way; and all since there
// was nothing to do, by what tells their files apart.
const waiting = []
const running = new Set()
const jobs = new Map()
// Unfinished uploads of earlier visits whose files have to be chosen again, by their keys.
const left = new Map()

const remembered = () => tus.defaultOptions.urlStorage
// The name has a path in it, which tells files of different folders apart.
const keyOf = (file, name) => ['larder', name, file.size, file.lastModified].join('/')

export function setUpUploads() {
  setUpDrop()
  setUpChoice('choose-files', 'file-input')
  setUpChoice('choose-folder', 'folder-input')
  window.addEventListener('beforeunload', (event) => {
    if (running.size > 0 || waiting.length > 0) event.preventDefault()
  })
  setInterval(showTogether, TELL_EVERY)
  showLeft()
}

function setUpDrop() {
  const drop = document.getElementById('drop')
  for (const name of ['dragenter', 'dragover']) {
    document.addEventListener(name, (event) => {
      event.preventDefault()
      drop.classList.toggle('over', event.dataTransfer.types.includes('Files'))
    })
  }
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) drop.classList.remove('over')
  })
  document.addEventListener('drop', (event) => {
    event.preventDefault()
    drop.classList.remove('over')
    dropped(event.dataTransfer).then(add, () => note('What was dropped cannot be read', true))
  })
}

function setUpChoice(button, input) {
  const chosen = document.getElementById(input)
  document.getElementById(button).addEventListener('click', () => chosen.click())
  chosen.addEventListener('change', () => {
    add([...chosen.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })))
    chosen.value = ''
  })
}

// Two uploads of one file at a time would be one for the node, and in each other's way.
function add(files) {
  for (const { file, name } of files) {
    const key = keyOf(file, name)
    if (isOpen(jobs.get(key))) continue
    const job = { key, file, name, row: null, upload: null, over: false, isUploaded: false }
    jobs.set(key, job)
    waiting.push(job)
  }
  startNext()
}

const isOpen = (job) => job !== undefined && !job.over

function startNext() {
  while (running.size < AT_ONCE && waiting.length > 0) {
    const job = waiting.shift()
    prepare(job)
    start(job)
  }
}

function prepare(job) {
  job.row = new UploadRow(job.name, job.file.size)
  job.upload = new tus.Upload(job.file, {
    endpoint: ENDPOINT,
    metadata: { filename: job.name, filetype: job.file.type },
    fingerprint: async () => job.key,
    removeFingerprintOnSuccess: true,
    retryDelays: [0, 1000, 3000, 5000, 10000, 20000],
    onShouldRetry: (error) => worthAnotherTry(error.originalResponse),
    onBeforeRequest: (request) => bearToken(job, request),
    onProgress: (sent) => { if (running.has(job)) job.row.progress(sent) },
    onSuccess: () => {
      job.row.done()
      job.isUploaded = true
      end(job)
    },
    onError: (error) => failed(error, job),
  })
  job.row.controls({
    pause: () => {
      stop(job)
      job.upload.abort()
    },
    resume: () => start(job),
    cancel: () => cancel(job),
  })
  show(job.row)
}

function bearToken(job, request) {
  job.bore = authorization()
  for (const [header, value] of Object.entries(job.bore)) request.setHeader(header, value)
}

// Begins, or goes on where this visit or an earlier one stopped.
async function start(job) {
  running.add(job)
  if (job.upload.url === null) {
    const [previous] = await job.upload.findPreviousUploads()
    if (previous) {
      left.get(previous.urlStorageKey)?.remove()
      left.delete(previous.urlStorageKey)
      job.upload.resumeFromPreviousUpload(previous)
    }
  }
  // Meanwhile it may have been paused.
  if (running.has(job)) job.upload.start()
}

// Leaves its place to another one.
function stop(job) {
  running.delete(job)
  startNext()
}

function end(job) {
  job.over = true
  stop(job)
}

async function cancel(job) {
  job.row.remove()
  end(job)
  await job.upload.abort(true).catch((error) => note(error.message, true))
}

function worthAnotherTry(answer) {
  const status = answer ? answer.getStatus() : 0
  return status === 0 || status === 409 || status === 423 || status === 429 || (status >= 500 && status !== 507)
}

async function failed(error, job) {
  const answer = error.originalResponse
  const body = answer ? parsed(answer.getBody()) : {}
  const refusal = new Refusal(answer ? answer.getStatus() : 0, body)
  if (wantsToken(refusal) && (await otherToken(job.bore, refusal.message))) {
    job.upload.start()
    return
  }
  const reason = answer ? refusal.message : 'the node does not answer'
  job.row.failed(reason)
  note(`${job.name}: ${reason}`, true)
  stop(job)
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

// Tells how far several uploads are together.
function showTogether() {
  const all = [...jobs.values()]
  const open = all.filter(isOpen)
  const together = document.getElementById('uploads-together')
  together.hidden = all.length < 2 || open.length === 0
  if (open.length === 0) tellUploaded(all.filter((it) => it.isUploaded))
  if (together.hidden) return
  const rest = open.reduce((sum, { file, row }) => sum + file.size - (row?.sent ?? 0), 0)
  const speed = [...running].reduce((sum, { row }) => sum + (row.speed ?? 0), 0)
  const parts = [`${all.length - open.length} of ${count(all.length, 'file', 'files')} done`, `${bytes(rest)} left`]
  if (speed > 0) parts.push(`${bytes(speed)}/s`, `about ${duration(rest / speed)}`)
  together.textContent = parts.join(' · ')
}

// Once for all that ended together.
function tellUploaded(uploaded) {
  jobs.clear()
  if (uploaded.length === 1) note(`${uploaded[0].name} was uploaded`)
  else if (uploaded.length > 1) note(`${count(uploaded.length, 'file', 'files')} were uploaded`)
}

// Shows what earlier visits began and did not end.
async function showLeft() {
  for (const entry of await remembered().findAllUploads()) {
    try {
      const headers = { 'Tus-Resumable': '1.0.0' }
      const answer = await request(entry.uploadUrl, { method: 'HEAD', headers, background: true })
      if (answer.headers.has('Larder-File-Id')) await remembered().removeUpload(entry.urlStorageKey)
      else showOneLeft(entry, Number(answer.headers.get('Upload-Offset')))
    } catch (error) {
      // The node knows it no longer, or cannot be asked now.
      if ([404, 410].includes(error.status)) await remembered().removeUpload(entry.urlStorageKey)
      else showOneLeft(entry, null)
    }
  }
}

function showOneLeft(entry, offset) {
  const row = new UploadRow(entry.metadata.filename, entry.size)
  const input = element('input', { type: 'file', hidden: true, 'aria-label': `The file ${entry.metadata.filename}` })
  input.addEventListener('change', () => {
    goOn(entry, input.files[0])
    input.value = ''
  })
  row.element.append(input)
  row.left(offset, () => input.click(), async () => {
    row.remove()
    left.delete(entry.urlStorageKey)
    await tus.Upload.terminate(entry.uploadUrl, { headers: authorization() }).catch(() => {})
    await remembered().removeUpload(entry.urlStorageKey)
  })
  left.set(entry.urlStorageKey, row)
  show(row)
}

// The rest of another file would make one that never was.
async function goOn(entry, file) {
  const name = entry.metadata.filename
  const same = await remembered().findUploadsByFingerprint(keyOf(file, name))
  if (same.some((it) => it.urlStorageKey === entry.urlStorageKey)) add([{ file, name }])
  else note(`This is not ${name} as it was. Discard the unfinished upload to begin anew.`, true)
}
