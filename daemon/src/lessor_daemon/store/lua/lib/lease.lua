-- Leases: their records, and the two moments that count, the grant and the end.
--
-- A record is 4 bytes of ttl (ms, big endian) and 1 of flags, which are all that a renewal reads, then
-- a msgpack array: license, machine, token, granted_at (wall clock ms, for people), fingerprint of the
-- request, owner, joined (lease clock when it began to wait, -1 if it never did), holder (the daemon's
-- own), seats, group (lib/policy.lua), waited (ms in line until it was claimed).

local IS_ENDING = 1  -- see lib/ending.lua
local IS_NAMED = 2   -- on a named-user license
local IS_NOTICED = 4 -- there is a notice for its holder
local IS_OFFERED = 8 -- granted from the line, and not claimed yet
local IS_RANGED = 16 -- of a number of seats that another grant of the same id may not have had

local SEATS_AT_ONCE = 1000 -- Lua hands at most some 8,000 values to a call

local function has_flag(flags, flag) return flags % (2 * flag) >= flag end

local function write_record(id, lease)
  local flags = (lease.ending and IS_ENDING or 0) + (lease.named and IS_NAMED or 0)
    + (lease.noticed and IS_NOTICED or 0) + (lease.offered and IS_OFFERED or 0)
    + (lease.ranged and IS_RANGED or 0)
  redis.call('HSET', RECORDS, id, struct.pack('>I4B', lease.ttl, flags) .. cmsgpack.pack({
    lease.license, lease.machine, lease.token, lease.granted_at, lease.fingerprint, lease.owner,
    lease.joined, lease.holder, lease.seats, lease.group, lease.waited or 0,
  }))
end

local function parse_record(packed)
  local ttl, flags = struct.unpack('>I4B', packed)
  local fields = cmsgpack.unpack(string.sub(packed, 6))
  return {
    ttl = ttl, ending = has_flag(flags, IS_ENDING), named = has_flag(flags, IS_NAMED),
    noticed = has_flag(flags, IS_NOTICED), offered = has_flag(flags, IS_OFFERED),
    ranged = has_flag(flags, IS_RANGED),
    license = fields[1], machine = fields[2], token = fields[3], granted_at = fields[4],
    fingerprint = fields[5], owner = fields[6], joined = fields[7], holder = fields[8],
    seats = fields[9], group = fields[10], waited = fields[11],
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

-- Add the lease's seats to `use`, or remove them: its id, then its id with a number.
local function change_use(command, id, lease)
  for first = 0, lease.seats - 1, SEATS_AT_ONCE do
    local names = {}
    for number = first, math.min(first + SEATS_AT_ONCE, lease.seats) - 1 do
      names[#names + 1] = number == 0 and id or id .. struct.pack('>I2', number)
    end
    redis.call(command, use_key(lease.license), unpack(names))
  end
end

local function change_group_use(lease, seats)
  if lease.group == '' then return end
  if redis.call('HINCRBY', groups_key(lease.license), lease.group, seats) <= 0 then
    redis.call('HDEL', groups_key(lease.license), lease.group)
  end
end

local function take_seats(id, lease, until_ms)
  redis.call('ZADD', LEASES, until_ms, id)
  change_use('SADD', id, lease)
  change_group_use(lease, lease.seats)
  machine_busy(lease)
  register_machine(lease, lease.ephemeral or lease.offered)
  write_record(id, lease)
end

-- Grant a lease. The caller has checked both quotas in this same script.
local function grant(clock, id, lease, until_ms)
  lease.token = next_token(clock)
  take_seats(id, lease, until_ms)
end

local function leave_online(id, lease)
  local email = string.sub(lease.owner, #'member:' + 1)
  if redis.call('HGET', online_key(lease.license), email) == id then
    redis.call('HDEL', online_key(lease.license), email)
  end
end

-- Give the seat back, and remember the end; answers the reason that counts, which is the first: one
-- that was ending already did not end by its release. Two kinds of lapse leave no trace, so that an acquire
-- of the same id is decided anew: an offer that nobody claimed, and a lease from before the last loss of
-- memory, whose renewals the store may have forgotten, or whose client never heard of it.
local function end_lease(clock, id, lease, reason)
  local text = ''
  if lease.ending then
    reason, text = string.match(redis.call('HGET', ENDING, id), '^(%S+) (.*)$')
    redis.call('HDEL', ENDING, id)
  end
  if lease.noticed then redis.call('HDEL', NOTICES, id) end
  redis.call('ZREM', LEASES, id)
  redis.call('HDEL', RECORDS, id)
  change_use('SREM', id, lease)
  change_group_use(lease, -lease.seats)
  machine_less_busy(lease)
  if lease.named then leave_online(id, lease) end
  if not lease.offered then record_session(id, lease, reason, text) end
  local may_come_again = reason == 'unclaimed'
    or (reason == 'lapsed' and not is_since_loss(clock, lease.token))
  if not may_come_again then remember_ended(clock, id, reason) end
  return reason
end
