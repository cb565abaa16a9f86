// notices.mjs URL ADDRESS NAME: that no peer reaches the node at its address, and that some and then
// all holders of a file do not answer, is told while the page is looked at.
import { row, visit } from './browser.mjs'

const [url, address, name] = process.argv.slice(2)
await visit(url, async (page) => {
  await page.getByText(`No peer reaches this node at ${address}`).waitFor()
  const file = row(page, 'Files', name)
  await file.getByText(/· at localhost:\d+, localhost:\d+$/).waitFor()
  console.log('two hold it')
  await file.getByText(/· at localhost:\d+ \(1 more does not answer\)$/).waitFor()
  await page.getByText(', 1 not reachable now').waitFor()
  console.log('one does not answer')
  await file.getByText(/not reachable now: no node that has it answers$/).waitFor()
  await page.getByText(', 2 not reachable now').waitFor()
})
