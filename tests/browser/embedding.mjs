// embedding.mjs NODE PORT FILES UNKNOWN KIND: a page at http://page.example:PORT, another site than
// that of the node, has the browser fetch from it a picture, a sound and a text, and content that
// is nowhere. KIND is `stranger`, `untold` where the browser tells the node nothing of that, or
// `named` where the node lets the page have it.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { launch } from './browser.mjs'

const [node, port, files, unknown, kind] = process.argv.slice(2)
const [picture, sound, text] = files.split(' ').map((path) => node + path)

// How the page finds out whether something was there, each by what the element tells of it.
const WAYS = {
  img: ['img', 'src', 'load'],
  script: ['script', 'src', 'load'],
  style: ['link', 'href', 'load'],
  video: ['video', 'src', 'loadedmetadata'],
  object: ['object', 'data', 'load'],
}

function told([tag, attribute, event], url) {
  return new Promise((resolve) => {
    const element = document.createElement(tag)
    element.addEventListener(event, () => resolve('there'))
    element.addEventListener('error', () => resolve('nothing'))
    if (tag === 'link') element.rel = 'stylesheet'
    element[attribute] = url
    document.body.append(element)
  })
}

const fetched = (url) => fetch(url, { mode: 'no-cors' }).then(() => 'there', () => 'nothing')

// A frame whose file is saved stays what it was, and a page that was refused is not to be read.
function framed(url) {
  return new Promise((resolve) => {
    const frame = document.createElement('iframe')
    document.body.append(frame)
    frame.addEventListener('load', () => resolve(frame.contentDocument === null ? 'other' : 'own'))
    frame.src = url
  })
}

const server = createServer((_, answer) => {
  answer.setHeader('content-type', 'text/html')
  answer.end('<!doctype html><title>elsewhere</title><body>')
})
await new Promise((resolve) => { server.listen(Number(port), '127.0.0.1', resolve) })
const browser = await launch()
try {
  const page = await browser.newPage()
  page.setDefaultTimeout(30_000)
  const here = `http://page.example:${port}/`
  await page.goto(here)

  const isNamed = kind === 'named'
  for (const [name, way] of Object.entries(WAYS)) {
    // That is a frame, of which only a node that is told of it can keep what is there.
    if (kind === 'untold' && name === 'object') continue
    for (const url of [picture, sound, text, node + unknown, `${node}/health`, `${node}/metrics`]) {
      const seen = await page.evaluate(([it, of]) => (0, eval)(it[0])(it[1], of), [[`(${told})`, way], url])
      if (!isNamed) assert.equal(seen, 'nothing', `${name} ${url}`)
    }
  }
  const ask = (how, url) => page.evaluate(([it, of]) => (0, eval)(it)(of), [`(${how})`, url])
  const pictures = await page.evaluate(([it, of]) => (0, eval)(it[0])(it[1], of), [[`(${told})`, WAYS.img], picture])
  assert.equal(pictures, isNamed ? 'there' : 'nothing')
  for (const url of [picture, node + unknown, `${node}/health`]) {
    assert.equal(await ask(fetched, url), isNamed ? 'there' : 'nothing', url)
  }
  if (kind === 'stranger') {
    const saved = picture.replace('?inline=1', '')
    for (const url of [picture, saved, text, node + unknown]) {
      assert.equal(await ask(framed, url), 'other', url)
    }
  }

  // Whoever follows a link is where it leads, and sees what is there.
  const follow = async (url) => {
    await page.goto(here)
    await page.evaluate((to) => {
      const link = document.createElement('a')
      link.href = to
      link.textContent = 'there'
      document.body.append(link)
    }, url)
    await page.getByRole('link', { name: 'there' }).click()
    await page.waitForURL(url)
  }
  await follow(picture)
  await page.waitForFunction(() => document.images[0]?.naturalWidth === 1)
  await follow(sound)
  await page.waitForFunction(() => document.querySelector('video, audio')?.duration > 0.9)
  await follow(text)
  await page.getByText('a greeting').waitFor()
} finally {
  await browser.close()
  server.close()
}
