-- restore: put leases back that a store which lost its memory does not know, on the word of their
-- certificates; even above the quota, since whatever exceeds it can only be ghosts. Only while
-- recovering; a certificate of a later epoch than the store's (`highest`) opens recovery itself.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 margin, fixed part, ms   3 wall clock, ms
--            then for each lease, at most 500: id, and msgpack of {license, machine, ephemeral,
--            token, ttl ms, fingerprint, owner, holder, seats, group}
-- Output  reply(clock, 'restored', results): per lease, in order, its ttl in ms, or why it is lost:
--   a reason of lib/ended.lua, with a text behind it while it is ending | 'unknown'
-- @include keys clock ended machine session lease policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local margin, wall_ms = tonumber(ARGV[2]), tonumber(ARGV[3])

local function put_back(id, packed)
  local claims = cmsgpack.unpack(packed)
  local lease = {
    license = claims[1], machine = claims[2], ephemeral = claims[3], token = claims[4],
    ttl = claims[5], fingerprint = claims[6], owner = claims[7], holder = claims[8],
    seats = claims[9], group = claims[10], granted_at = wall_ms, joined = -1, offered = false,
  }
  take_seats(id, lease, deadline(clock, lease.ttl, margin))
  unpark(lease.license, lease.machine)
  return lease.ttl
end

local results = {}
for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local lease = find_lease(id)
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
