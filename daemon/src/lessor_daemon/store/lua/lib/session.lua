-- Past sessions: one entry of the stream `{org}:events` for each lease that ended. The entry's id
-- tells when, on the store's wall clock.
--
-- An entry's `session` is a msgpack array: lease id, license, machine, token, granted_at (wall
-- clock ms), owner, reason, text, holder, seats, waited (ms in line before it was granted).

local SESSIONS_KEPT = 100000 -- some 400 bytes each; sweep.lua trims by age and by weight

local function record_session(id, lease, reason, text)
  redis.call('XADD', EVENTS, 'MAXLEN', '~', SESSIONS_KEPT, '*', 'session', cmsgpack.pack({
    id, lease.license, lease.machine, lease.token, lease.granted_at, lease.owner, reason, text,
    lease.holder, lease.seats, lease.waited or 0,
  }))
end
