-- quota: set what a license allows. Lowering below use is refused unless forced; a forced one lets
-- the running finish and grants nothing new until below. Raising serves the line at once.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 license   3 kind   4 seats   5 machines, -1 unlimited
--            6 ttl, ms   7 expires, wall clock seconds, 0 never   8 '1' to force
-- Output  reply(clock, status, leases, machines): status is set | below_use
-- @include keys clock ended lease seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local license, kind = ARGV[2], ARGV[3]
local seats, machines = tonumber(ARGV[4]), tonumber(ARGV[5])
local leases = redis.call('SCARD', use_key(license))
local registered = redis.call('ZCARD', machines_key(license))
local offline = tonumber(redis.call('HGET', quota_key(license), 'offline') or 0)

local below = leases + offline > seats or (machines >= 0 and registered > machines)
if below and ARGV[8] ~= '1' then return reply(clock, 'below_use', leases, registered) end

redis.call('SADD', LICENSES, license)
redis.call('HSET', quota_key(license), 'kind', kind, 'seats', seats, 'machines', machines,
  'ttl', ARGV[6], 'expires', ARGV[7])
serve_line(clock, license)
return reply(clock, 'set', leases, registered)
