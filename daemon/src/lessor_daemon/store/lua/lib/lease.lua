-- Leases: their records, and the two moments that count, the grant and the end.
--
-- A record is 4 bytes of ttl (ms, big endian), then a msgpack array: license, machine, token,
-- granted_at (wall clock ms, for people), fingerprint of the request, owner, joined (lease clock
-- when it began to wait, -1 if it never did), offered (granted from the line, not claimed yet),
-- holder (the daemon's own, opaque here).

local LAPSE_AT_ONCE = 100 -- per call, so that no call pays for a burst

local function write_record(id, lease)
  redis.call('HSET', RECORDS, id, struct.pack('>I4', lease.ttl) .. cmsgpack.pack({
    lease.license, lease.machine, lease.token, lease.granted_at, lease.fingerprint, lease.owner,
    lease.joined, lease.offered, lease.holder,
  }))
end

local function parse_record(packed)
  local fields = cmsgpack.unpack(string.sub(packed, 5))
  return {
    ttl = struct.unpack('>I4', packed),
    license = fields[1], machine = fields[2], token = fields[3], granted_at = fields[4],
    fingerprint = fields[5], owner = fields[6], joined = fields[7], offered = fields[8],
    holder = fields[9],
  }
end

local function find_lease(id)
  local packed = redis.call('HGET', RECORDS, id)
  return packed and parse_record(packed)
end

-- Deadline of a lease that is granted or renewed now. `margin` is the fixed part of M.
local function deadline(clock, ttl, margin)
  return clock.now + ttl + margin + math.floor(ttl / 500)
end

-- Register the lease's machine: until its last lease ends, or for good. 'GT' keeps 'inf' over 0.
local function register_machine(lease, until_last_lease)
  redis.call('ZADD', machines_key(lease.license), 'GT', until_last_lease and 0 or 'inf', lease.machine)
end

local function take_seat(id, lease, until_ms)
  redis.call('ZADD', LEASES, until_ms, id)
  redis.call('SADD', use_key(lease.license), id)
  redis.call('HINCRBY', busy_key(lease.license), lease.machine, 1)
  register_machine(lease, lease.ephemeral or lease.offered)
  write_record(id, lease)
end

-- Grant a lease. The caller has checked both quotas in this same script.
local function grant(clock, id, lease, until_ms)
  lease.token = next_token(clock)
  take_seat(id, lease, until_ms)
end

-- Give the seat back, and remember the end. Two kinds of lapse leave no trace, so that an acquire
-- of the same id is decided anew: an offer that nobody claimed, and a lease of an earlier epoch,
-- whose renewals the store may have forgotten, or whose client never heard of it.
local function end_lease(clock, id, lease, reason)
  redis.call('ZREM', LEASES, id)
  redis.call('HDEL', RECORDS, id)
  redis.call('SREM', use_key(lease.license), id)
  if redis.call('HINCRBY', busy_key(lease.license), lease.machine, -1) <= 0 then
    redis.call('HDEL', busy_key(lease.license), lease.machine)
    if redis.call('ZSCORE', machines_key(lease.license), lease.machine) == '0' then
      redis.call('ZREM', machines_key(lease.license), lease.machine)
    end
  end
  local may_come_again = reason == 'unclaimed'
    or (reason == 'lapsed' and not is_of_this_epoch(clock, lease.token))
  if not may_come_again then remember_ended(clock, id, reason) end
end

local function lapse_reason(lease)
  return lease.offered and 'unclaimed' or 'lapsed'
end

-- End what has lapsed, oldest first. Answers the ended as {id, license, machine, token, reason}.
local function end_lapsed(clock)
  local ended = {}
  if clock.recovering then return ended end -- no deadline counts as passed
  local ids = redis.call('ZRANGEBYSCORE', LEASES, '-inf', '(' .. string.format('%.0f', clock.now),
    'LIMIT', 0, LAPSE_AT_ONCE)
  for i, id in ipairs(ids) do
    local lease = find_lease(id)
    local reason = lapse_reason(lease)
    end_lease(clock, id, lease, reason)
    ended[i] = {id, lease.license, lease.machine, lease.token, reason}
  end
  return ended
end
