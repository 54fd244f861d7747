-- The line: who waits for a seat of a license, in order of their tickets.
--
-- A waiter's record is a msgpack array: license, machine, ephemeral, fingerprint, owner, joined
-- (lease clock), granted_at (wall clock ms of its last call), holder. It keeps its place by asking
-- again. A free seat is offered to the first waiter who may take it; who does not claim the offer in
-- time loses it to the next.

local GONE_MS = 10000 -- a waiter that has not asked for so long has left
local OFFER_MS = 3000 -- an offered seat is claimed within this; waiters ask at least every second
local SERVE_AT_ONCE = 100 -- waiters looked at per call, so that no call pays for a long line

local function read_waiter(id)
  local packed = redis.call('HGET', WAITERS, id)
  if not packed then return nil end
  local fields = cmsgpack.unpack(packed)
  return {
    license = fields[1], machine = fields[2], ephemeral = fields[3], fingerprint = fields[4],
    owner = fields[5], joined = fields[6], granted_at = fields[7], holder = fields[8],
  }
end

local function join_line(clock, id, waiter)
  local queue = queue_key(waiter.license)
  if not redis.call('ZSCORE', queue, id) then
    redis.call('ZADD', queue, redis.call('HINCRBY', CLOCK, 'tickets', 1), id)
  end
  redis.call('ZADD', WAITING, clock.now + GONE_MS, id)
  redis.call('HSET', WAITERS, id, cmsgpack.pack({
    waiter.license, waiter.machine, waiter.ephemeral, waiter.fingerprint, waiter.owner,
    waiter.joined, waiter.granted_at, waiter.holder,
  }))
end

local function leave_line(id, license)
  redis.call('ZREM', queue_key(license), id)
  redis.call('ZREM', WAITING, id)
  redis.call('HDEL', WAITERS, id)
end

local function drop_gone(clock)
  if clock.recovering then return end -- the line stands still and keeps its order
  local ids = redis.call('ZRANGEBYSCORE', WAITING, '-inf', '(' .. string.format('%.0f', clock.now),
    'LIMIT', 0, SERVE_AT_ONCE)
  for _, id in ipairs(ids) do
    leave_line(id, read_waiter(id).license)
  end
end

-- Offer what is free, first come first served. One whose machine is not admitted is passed over.
local function serve_line(clock, license)
  local queue = queue_key(license)
  if clock.recovering or redis.call('EXISTS', queue) == 0 then return end
  local quota = read_quota(license)
  if not quota then return end
  drop_gone(clock)
  for _, id in ipairs(redis.call('ZRANGE', queue, 0, SERVE_AT_ONCE - 1)) do
    local waiter = read_waiter(id)
    local blocked = blocked_by(license, quota, waiter.machine)
    if blocked == 'seats' then return end
    if not blocked then
      leave_line(id, license)
      waiter.ttl = quota.ttl
      waiter.offered = true
      grant(clock, id, waiter, clock.now + OFFER_MS)
    end
  end
end

-- Hand on the seats of the leases that `end_lapsed` ended.
local function serve_lines(clock, ended)
  local served = {}
  for _, lease in ipairs(ended) do
    if not served[lease[2]] then
      served[lease[2]] = true
      serve_line(clock, lease[2])
    end
  end
end
