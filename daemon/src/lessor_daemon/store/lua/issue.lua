-- issue: take seats of a license for an offline license, until it expires or is returned.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 license   3 serial   4 machine   5 seats
--            6 expiry, wall clock seconds   7 now, wall clock seconds   8 record
--            9 id of this change   10 entry for the audit
-- Output  reply(clock, status, available): issued | repeated | full | machines_full |
--   unknown_license
-- @include keys clock ended machine session lease audit offline policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local license, serial, machine, seats = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local change_id = ARGV[9]
if open_change('', change_id) == 'repeated' then return reply(clock, 'repeated', 0) end

expire_offline(license, tonumber(ARGV[7]))
local quota = read_quota(license)
if not quota then return reply(clock, 'unknown_license', 0) end
local use = quota.kind == 'named-user' and redis.call('HLEN', online_key(license))
  or redis.call('SCARD', use_key(license))
local available = quota.seats - quota.offline - use
if quota.drained or seats > available then return reply(clock, 'full', math.max(0, available)) end

if quota.kind ~= 'named-user' then
  -- What runs there runs on a machine of this license like any other.
  if not is_admitted(license, quota, machine) then
    return reply(clock, 'machines_full', available)
  end
  redis.call('ZADD', machines_key(license), 'inf', machine)
end
redis.call('ZADD', offline_key(license), ARGV[6], serial .. ':' .. seats)
redis.call('HINCRBY', quota_key(license), 'offline', seats)
redis.call('HSET', OFFLINE, serial, ARGV[8])
record_change(change_id, ARGV[10])
return reply(clock, 'issued', available - seats)
