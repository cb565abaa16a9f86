// tabs.mjs URL NAME: seven tabs show the files and hear of changes by one stream, also when the
// tab that listens is closed; and under many changes the lists are read seldom.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, name] = process.argv.slice(2)
const upload = (it) => {
  const form = new FormData()
  form.append('file', new Blob([it]), it)
  return fetch(new URL('api/p2p/upload', url), { method: 'POST', body: form })
}
await visit(url, async (page) => {
  const streams = new Map()
  const context = page.context()
  const isStream = (request) => request.url().endsWith('/api/events')
  context.on('request', (request) => { if (isStream(request)) streams.set(request, request.frame().page()) })
  for (const event of ['requestfinished', 'requestfailed']) context.on(event, (request) => streams.delete(request))
  const tabs = [page]
  await page.getByText('live', { exact: true }).waitFor()
  await page.goto('about:blank')
  streams.clear()
  await page.goto(url)
  while (tabs.length < 7) {
    tabs.push(await context.newPage())
    await tabs.at(-1).goto(url)
  }
  for (const tab of tabs) {
    await row(tab, 'Files', name).waitFor()
    await tab.getByText('live', { exact: true }).waitFor()
  }
  assert.equal(streams.size, 1)
  await upload('heard by all.txt')
  for (const tab of tabs) await row(tab, 'Files', 'heard by all.txt').waitFor()

  const [listening] = streams.values()
  await listening.close()
  const others = tabs.filter((tab) => tab !== listening)
  await others[0].waitForRequest(isStream, { timeout: 1 }).catch(() => {})
  await upload('heard by the others.txt')
  for (const tab of others) await row(tab, 'Files', 'heard by the others.txt').waitFor()

  let reads = 0
  others[0].on('request', (request) => { if (request.url().includes('/api/p2p/network')) reads += 1 })
  const began = Date.now()
  for (let at = 0; Date.now() - began < 8000; at += 1) await upload(`one of many ${at}.txt`)
  const seconds = (Date.now() - began) / 1000
  assert.ok(reads > 0 && reads <= seconds / 2 + 1, `${reads} reads in ${seconds} s`)
})
