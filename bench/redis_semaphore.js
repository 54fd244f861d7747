// Waiters for one seat of npm's redis-semaphore, as it comes: each asks every 10 ms, in no order.
//
// Started by bench/line.py in a folder that has redis-semaphore and ioredis. Speaks as bench/load.py
// does: "ready", then for each line of seconds on stdin one line of JSON.
'use strict'

const readline = require('node:readline')
const Redis = require('ioredis')
const { Semaphore } = require('redis-semaphore')

const HOUR_MS = 3600 * 1000
const job = JSON.parse(process.argv[2])
const key = `bench:semaphore:${process.pid}` // the one before ended with its seat, for ten seconds more
let times = []
let freedAt
let another // called when the seat has a new holder

async function waitAgainAndAgain(client) {
  for (;;) {
    const semaphore = new Semaphore(client, key, 1, { acquireTimeout: HOUR_MS })
    await semaphore.acquire()
    const now = performance.now()
    if (freedAt !== undefined) times.push((now - freedAt) / 1000)
    if (another !== undefined) another()
    const passedOn = new Promise((resolve) => {
      another = resolve
    })
    freedAt = performance.now()
    await semaphore.release()
    await passedOn // else whoever gives it back is the one to have it next, nearly always
  }
}

function percentile(share) {
  const ordered = times.slice().sort((one, other) => one - other)
  return ordered[Math.max(1, Math.ceil(share * ordered.length)) - 1]
}

async function main() {
  const clients = Array.from({ length: job.waiters }, () => new Redis(job.socket))
  await Promise.all(clients.map((client) => client.ping()))
  console.log('ready')
  clients.forEach(waitAgainAndAgain)
  for await (const seconds of readline.createInterface({ input: process.stdin })) {
    times = []
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    const told = { operations: times.length, seconds: Number(seconds) }
    console.log(JSON.stringify({ ...told, p50: percentile(0.5), p99: percentile(0.99) }))
  }
  process.exit(0)
}

main()
