// Uploads a file by tus-js-client, going on where an earlier run stopped.
//
//   node upload.mjs ENDPOINT FILE URL-STORE [PARALLEL]
//
// PARALLEL is how many parts are sent at once, each by an upload of its own.
// PACKAGES names the directory that holds node_modules.
import { createReadStream } from 'node:fs'
import { createRequire } from 'node:module'
import { basename } from 'node:path'

const require = createRequire(`${process.env.PACKAGES}/`)
const { FileUrlStorage, Upload } = require('tus-js-client')

const [endpoint, path, urlStore, parallel = '1'] = process.argv.slice(2)
const upload = new Upload(createReadStream(path), {
  endpoint,
  parallelUploads: Number(parallel),
  urlStorage: new FileUrlStorage(urlStore),
  storeFingerprintForResuming: true,
  removeFingerprintOnSuccess: false,
  metadata: { filename: basename(path), filetype: 'application/x-test', description: 'naïve' },
  retryDelays: new Array(100).fill(100),
  onError: (error) => {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess: ({ lastResponse }) => {
    console.log(lastResponse.getHeader('larder-file-id'))
  },
})
const [previous] = await upload.findPreviousUploads()
if (previous) {
  upload.resumeFromPreviousUpload(previous)
}
upload.start()
