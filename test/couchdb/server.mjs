// A CouchDB for tests: PouchDB's server, in memory. It wants the user and the password of its
// environment, and prints its address once it listens.
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url) // the packages are from before modules
const express = require('express')
const PouchDB = require('pouchdb-core').plugin(require('pouchdb-adapter-memory')).defaults({ adapter: 'memory' })

const { COUCHDB_USER: user, COUCHDB_PASSWORD: password } = process.env
const secret = 'Basic ' + Buffer.from(`${user}:${password}`).toString('base64')

const app = express()
app.use((request, response, next) => {
  if (request.headers.authorization === secret) {
    delete request.headers.authorization // PouchDB would look for the user
    return next()
  }
  response.status(401).json({ error: 'unauthorized', reason: 'Name or password is incorrect.' })
})
app.use(require('express-pouchdb')(PouchDB, { inMemoryConfig: true, mode: 'minimumForPouchDB', logPath: '/dev/null' }))
const server = app.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
