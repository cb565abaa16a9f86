// Uploads standard input by tus-js-client, which learns its length at the end.
//
//   node deferred.mjs ENDPOINT
//
// PACKAGES names the directory that holds node_modules.
import { createRequire } from 'node:module'

const require = createRequire(`${process.env.PACKAGES}/`)
const { Upload } = require('tus-js-client')

new Upload(process.stdin, {
  endpoint: process.argv[2],
  uploadLengthDeferred: true,
  chunkSize: 200_000,
  metadata: { filename: 'piped.bin' },
  onError: (error) => {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess: ({ lastResponse }) => {
    console.log(lastResponse.getHeader('larder-file-id'))
  },
}).start()
