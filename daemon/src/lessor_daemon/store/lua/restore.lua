-- restore: put leases back that a store which lost its memory does not know, on the word of their
-- certificates; even above the quota, since whatever exceeds it can only be ghosts. Only while
-- recovering; a certificate of a later epoch than the store's (`highest`) opens recovery itself.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 margin, fixed part, ms   3 wall clock, ms
--            then for each lease, at most 500: id, and msgpack of {license, machine, ephemeral,
--            token, ttl ms, fingerprint, owner, holder, seats, group, named}
-- Output  reply(clock, 'restored', results): per lease, in order, its ttl in ms, or why it is lost:
--   a reason of lib/ended.lua, with a text behind it while it is ending | 'unknown'
-- @include keys clock ended machine session lease ending audit policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local margin, wall_ms = tonumber(ARGV[2]), tonumber(ARGV[3])

-- Whether administration took the user off the list: the fact of lib/audit.lua, since the list itself
-- may not be back yet. Not before the epoch of the grant: then they had been assigned again by that time,
-- which the store forgot.
local function is_withdrawn(license, email, token)
  local fact = redis.call('HGET', FACTS, 'user ' .. license .. ' ' .. email)
  if not fact then return false end
  local version, value = unpack(cmsgpack.unpack(fact))
  return value == '' and math.floor(version / CHANGES_AN_EPOCH) >= math.floor(token / TOKENS_AN_EPOCH)
end

-- A registered user is online again. Of two activations the later one, which has the larger token,
-- took over, whichever is put back first.
local function put_back_online(id, lease)
  local email = string.match(lease.owner, '^member:(.+)$')
  if not email then return end
  local other_id = redis.call('HGET', online_key(lease.license), email)
  local other = other_id and find_lease(other_id)
  if other and other.token > lease.token then
    mark_ending(id, lease, 'taken_over', 'activated on machine ' .. other.machine)
    return
  end
  if other then mark_ending(other_id, other, 'taken_over', 'activated on machine ' .. lease.machine) end
  redis.call('HSET', online_key(lease.license), email, id)
  if is_withdrawn(lease.license, email, lease.token) then
    mark_ending(id, lease, 'withdrawn', 'the license was withdrawn from you')
  end
end

-- Answers its ttl, or why it is ending: it was when the store forgot it, or should have been.
local function put_back(id, packed)
  local claims = cmsgpack.unpack(packed)
  local lease = {
    license = claims[1], machine = claims[2], ephemeral = claims[3], token = claims[4],
    ttl = claims[5], fingerprint = claims[6], owner = claims[7], holder = claims[8],
    seats = claims[9], group = claims[10], named = claims[11], granted_at = wall_ms, joined = -1,
    offered = false, ending = redis.call('HEXISTS', ENDING, id) == 1,
  }
  local stands = read_waiter(id) -- the store forgot that it was served
  if stands then leave_line(id, stands) end
  take_seats(id, lease, deadline(clock, lease.ttl, margin))
  unpark(lease.license, lease.machine)
  if lease.named then put_back_online(id, lease) end
  return lease.ending and redis.call('HGET', ENDING, id) or lease.ttl
end

local results = {}
for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local lease = find_lease(id)
  if lease and lease.offered then
    -- The store forgot that the offer was claimed. The claim is what counts, and its seats.
    if clock.recovering then
      end_lease(clock, id, lease, 'unclaimed')
      redis.call('HDEL', WAITERS, id)
    end
    lease = nil
  elseif lease and clock.recovering and not lease.ending
    and cmsgpack.unpack(ARGV[i + 1])[4] > lease.token
  then
    -- It lapsed and was decided anew, which the store forgot. The later grant counts, and its seats.
    end_lease(clock, id, lease, 'unclaimed')
    lease = nil
  end
  if lease and lease.ending then
    results[#results + 1] = redis.call('HGET', ENDING, id)
  elseif lease then
    redis.call('ZADD', LEASES, 'XX', 'GT', deadline(clock, lease.ttl, margin), id)
    results[#results + 1] = lease.ttl
  else
    local why = ended_reason(id) or (not clock.recovering and 'unknown')
    results[#results + 1] = why or put_back(id, ARGV[i + 1])
  end
end
return reply(clock, 'restored', results)
