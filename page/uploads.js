// Uploads that can be paused and go on, also after a reload, by tus-js-client: it remembers in
// the browser which upload at the node belongs to which file.

import { authorization, note, otherToken, Refusal, request, wantsToken } from './api.js'
import { dropped, isReadable, withoutStorage } from './dropped.js'
import { bytes, count, duration } from './format.js'
import { setUpText } from './shared_text.js'
import { UploadRow } from './upload_row.js'

const ENDPOINT = new URL('api/p2p/tus', document.baseURI).href
// More at once would only share the same wire.
const AT_ONCE = 3
// More rows than these help nobody.
const MOST_SHOWN = 100
// With more files than these the panel begins folded: its bar tells enough.
const MOST_OPEN = 5
// How often to ask a node that was away whether it is back, and how long to wait for the answer,
// in milliseconds.
const ASK_EVERY = 3000
const ANSWER_WITHIN = 5000
// How often to tell how far all uploads together are, in milliseconds.
const TELL_EVERY = 500

// Uploads that have not begun, in their order; those that are under way; and all since there
// was nothing to do, by what tells their files apart.
const waiting = []
const running = new Set()
// Uploads that go on when the node is back.
const away = new Set()
const failures = new Set()
const jobs = new Map()
// Unfinished uploads of earlier visits whose files have to be chosen again, by their keys.
const left = new Map()

const remembered = () => tus.defaultOptions.urlStorage
// The name has a path in it, which tells files of different folders apart.
const keyOf = (file, name) => ['larder', name, file.size, file.lastModified].join('/')

export function setUpUploads() {
  setUpDrop()
  setUpText(add)
  setUpChoice('choose-files', 'file-input')
  setUpChoice('choose-folder', 'folder-input')
  window.addEventListener('beforeunload', (event) => {
    if (running.size + waiting.length + away.size > 0) event.preventDefault()
  })
  setUpPanel()
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
    dropped(event.dataTransfer).then(({ files, unreadable }) => {
      addFolders(files)
      if (unreadable > 0) note(`${count(unreadable, 'thing', 'things')} of what was dropped cannot be read`, true)
    })
  })
}

function setUpChoice(button, input) {
  const chosen = document.getElementById(input)
  document.getElementById(button).addEventListener('click', () => chosen.click())
  chosen.addEventListener('change', () => {
    addFolders([...chosen.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })))
    chosen.value = ''
  })
}

function setUpPanel() {
  document.getElementById('uploads-retry').addEventListener('click', () => {
    for (const job of [...failures]) job.row.again()
  })
  document.getElementById('uploads-cancel').addEventListener('click', () => {
    for (const job of [...jobs.values()].filter(isOpen)) cancel(job)
    document.getElementById('choose-files').focus()
  })
  document.getElementById('uploads-clear').addEventListener('click', () => {
    for (const row of document.querySelectorAll('#uploads > .done')) row.remove()
    showTogether()
    document.getElementById('choose-files').focus()
  })
}

function addFolders(files) {
  const { sent, storage } = withoutStorage(files)
  add(sent)
  if (storage > 0) note(`${count(storage, 'storage directory of a node is', 'storage directories of nodes are')} left out, with the secret key in it`, true)
}

// Two uploads of one file at a time would be one for the node, and in each other's way.
function add(files) {
  const panel = document.getElementById('upload-panel')
  if (panel.hidden) panel.open = files.length <= MOST_OPEN
  const description = takeDescription()
  for (const { file, name, said } of files) {
    const key = keyOf(file, name)
    if (isOpen(jobs.get(key))) continue
    const job = { key, file, name, description: said ?? description, row: null, upload: null, over: false, isUploaded: false }
    jobs.set(key, job)
    waiting.push(job)
    if (document.getElementById('uploads').children.length < MOST_SHOWN) showWaiting(job)
  }
  startNext()
  showTogether()
}

// What was written of the next upload, for all of it.
function takeDescription() {
  const field = document.getElementById('description')
  const text = field.value.trim()
  field.value = ''
  return text
}

function showWaiting(job) {
  job.row = new UploadRow(job.name, job.file.size)
  job.row.waiting(() => cancel(job))
  show(job.row)
}

const isOpen = (job) => job !== undefined && !job.over

function startNext() {
  while (running.size < AT_ONCE && waiting.length > 0 && away.size === 0) {
    const job = waiting.shift()
    prepare(job)
    start(job)
  }
}

function prepare(job) {
  if (job.row === null) showWaiting(job)
  job.upload = new tus.Upload(job.file, {
    endpoint: ENDPOINT,
    metadata: metadataOf(job),
    fingerprint: async () => job.key,
    removeFingerprintOnSuccess: true,
    retryDelays: [0, 1000, 3000, 5000],
    onShouldRetry: (error) => {
      const isWorth = worthAnotherTry(error.originalResponse)
      if (isWorth && running.has(job)) job.row.stalled()
      // A browser tells nothing of a file that it cannot read but that no answer came.
      if (!error.originalResponse) endIfLost(job)
      return isWorth
    },
    onBeforeRequest: (request) => bearToken(job, request),
    onProgress: (sent) => { if (running.has(job)) job.row.progress(sent) },
    onSuccess: () => {
      job.row.done()
      // What is under way stays on top.
      if (!job.row.element.contains(document.activeElement)) document.getElementById('uploads').append(job.row.element)
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
}

function metadataOf({ name, file, description }) {
  const said = description === '' ? {} : { description }
  return { filename: name, filetype: file.type, ...said }
}

function bearToken(job, request) {
  job.bore = authorization()
  for (const [header, value] of Object.entries(job.bore)) request.setHeader(header, value)
}

// Begins, or goes on where this visit or an earlier one stopped.
async function start(job) {
  failures.delete(job)
  running.add(job)
  if (await endIfLost(job)) return
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

// Ends an upload whose file is gone or was changed since it was chosen: no try will ever read it.
// Tells whether that is so.
async function endIfLost(job) {
  if (await isReadable(job.file)) return false
  // Meanwhile it may have been paused or cancelled, or this was found out before.
  if (!running.has(job)) return true
  job.upload.abort()
  job.row.lost((file) => chooseAgain(job, file), () => cancel(job))
  note(`${job.name} has changed or is gone; choose it again`, true)
  end(job)
  return true
}

function chooseAgain(job, file) {
  job.row.remove()
  jobs.delete(job.key)
  // What the node has of the file as it was belongs to no other.
  if (keyOf(file, job.name) !== job.key) job.upload.abort(true).catch(() => {})
  add([{ file, name: job.name, said: job.description }])
}

// Leaves its place to another one.
function stop(job) {
  for (const some of [running, away, failures]) some.delete(job)
  startNext()
}

function end(job) {
  job.over = true
  stop(job)
}

async function cancel(job) {
  if (waiting.includes(job)) waiting.splice(waiting.indexOf(job), 1)
  jobs.delete(job.key)
  job.row?.remove()
  end(job)
  await job.upload?.abort(true).catch((error) => note(error.message, true))
}

// Whether whatever stands between, or nothing, answered instead of the node.
function isAway(answer) {
  return [0, 502, 503, 504].includes(answer ? answer.getStatus() : 0)
}

// Leaves all as it is until the node is back, however long that takes.
function waitForNode(job, reason) {
  running.delete(job)
  away.add(job)
  job.row.away(reason)
  if (away.size === 1) setTimeout(askNode, ASK_EVERY)
}

async function askNode() {
  const answer = await fetch('health', { signal: AbortSignal.timeout(ANSWER_WITHIN) }).catch(() => null)
  if (!answer?.ok) {
    if (away.size > 0) setTimeout(askNode, ASK_EVERY)
    return
  }
  const back = [...away]
  away.clear()
  for (const job of back) start(job)
  startNext()
}

function worthAnotherTry(answer) {
  const status = answer ? answer.getStatus() : 0
  return status === 0 || status === 409 || status === 423 || status === 429 || (status >= 500 && status !== 507)
}

async function failed(error, job) {
  const answer = error.originalResponse
  if (!answer && (await endIfLost(job))) return
  const body = answer ? parsed(answer.getBody()) : {}
  const refusal = new Refusal(answer ? answer.getStatus() : 0, body)
  if (wantsToken(refusal) && (await otherToken(job.bore, refusal.message))) {
    job.upload.start()
    return
  }
  const reason = answer ? refusal.message : 'the node does not answer'
  // Meanwhile it may have been paused or cancelled.
  if (!running.has(job)) return
  if (isAway(answer)) {
    waitForNode(job, reason)
    return
  }
  job.row.failed(reason)
  note(`${job.name}: ${reason}`, true)
  stop(job)
  failures.add(job)
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
  rows.insertBefore(row.element, rows.querySelector(':scope > .done'))
  const over = [...rows.children].slice(MOST_SHOWN).filter((it) => it.classList.contains('done'))
  for (const old of over) old.remove()
}

// Tells how far all uploads are together, and offers what can be done with them.
function showTogether() {
  const all = [...jobs.values()]
  const open = all.filter(isOpen)
  const rows = document.getElementById('uploads')
  const has = (id, is) => { document.getElementById(id).hidden = !is }
  has('upload-panel', rows.children.length > 0 || open.length > 0)
  has('uploads-retry', failures.size > 0)
  has('uploads-cancel', open.length > 0)
  has('uploads-clear', rows.querySelector(':scope > .done') !== null)
  const hidden = waiting.filter(({ row }) => row === null).length
  has('uploads-rest', hidden > 0)
  document.getElementById('uploads-rest').textContent = `and ${count(hidden, 'more file waits', 'more files wait')}`
  if (open.length > 0) showSum(all, open)
  else if (all.length > 0) tellUploaded(all)
}

function showSum(all, open) {
  const size = all.reduce((sum, { file }) => sum + file.size, 0)
  const rest = open.reduce((sum, { file, row }) => sum + file.size - (row?.sent ?? 0), 0)
  const bar = document.getElementById('uploads-bar')
  bar.max = Math.max(size, 1)
  bar.value = size - rest
  const speed = [...running].reduce((sum, { row }) => sum + (row.speed ?? 0), 0)
  const uploaded = all.filter((it) => it.isUploaded).length
  const parts = [`${uploaded} of ${count(all.length, 'file', 'files')} done`, `${bytes(rest)} left`]
  if (speed > 0) parts.push(`${bytes(speed)}/s`, `about ${duration(rest / speed)}`)
  const failed = all.length - open.length - uploaded + failures.size
  if (failed > 0) parts.push(`${failed} failed`)
  if (away.size > 0) parts.push('waiting for the node')
  document.getElementById('uploads-together').textContent = parts.join(' · ')
}

// Once for all that ended together.
function tellUploaded(all) {
  const uploaded = all.filter((it) => it.isUploaded)
  const failed = all.length - uploaded.length
  jobs.clear()
  const bar = document.getElementById('uploads-bar')
  bar.value = bar.max
  document.getElementById('uploads-together').textContent = `${count(uploaded.length, 'file', 'files')} uploaded${failed > 0 ? `, ${failed} failed` : ''}`
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
  row.left(offset, (file) => goOn(entry, file), async () => {
    row.remove()
    left.delete(entry.urlStorageKey)
    await tus.Upload.terminate(entry.uploadUrl, { headers: authorization() }).catch(() => {})
    await remembered().removeUpload(entry.urlStorageKey)
  })
  left.set(entry.urlStorageKey, row)
  show(row)
  document.getElementById('uploads-together').textContent = `${count(left.size, 'upload', 'uploads')} of an earlier visit`
  showTogether()
}

// The rest of another file would make one that never was.
async function goOn(entry, file) {
  const name = entry.metadata.filename
  const same = await remembered().findUploadsByFingerprint(keyOf(file, name))
  if (same.some((it) => it.urlStorageKey === entry.urlStorageKey)) add([{ file, name }])
  else note(`This is not ${name} as it was. Discard the unfinished upload to begin anew.`, true)
}
