// lost.mjs URL NAME: what is damaged here and nobody else has is told, with the files that it concerns.
import { visit } from './browser.mjs'

const [url, name] = process.argv.slice(2)
await visit(url, async (page) => {
  const told = page.getByText('1 content is damaged here, and no other node has what is missing')
  await told.click()
  await page.locator('#lost').getByText(name, { exact: true }).waitFor()
})
