-- quota: set what a license allows. Lowering below use is refused unless forced; a forced one lets
-- the running finish and grants nothing new until below. While recovering use is not all known, so that
-- only a forced one may lower anything. Raising serves the line at once.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 license   3 fields of the quota to set, msgpack: kind,
--            seats, machines (-1 unlimited, -2 as seats), ttl (ms), starts, expires (wall clock
--            seconds, 0 none), retention (seconds, -1 until removed), offline_allowed, product,
--            policy (msgpack, lib/policy.lua), drained, idle (seconds, 0 none; see idle.lua)
--            4 '1' to force   5 version it was decided on ('': any)   6 id of this change
--            7 entry for the audit   8 facts (lib/audit.lua)
-- Output  reply(clock, status, version, leases, machines, offline, registered users): status is
--   set | repeated | moved | below_use | recovering
-- @include keys clock ended machine session lease audit offline policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local license, fields = ARGV[2], cmsgpack.unpack(ARGV[3])
local change_id = ARGV[6]

local leases = redis.call('SCARD', use_key(license))
local registered = redis.call('ZCARD', machines_key(license))
local users = redis.call('HLEN', registered_key(license))
local before = read_quota(license)
local offline = before and before.offline or 0

local function answer(status, version)
  return reply(clock, status, version, leases, registered, offline, users)
end

local status = open_change(ARGV[5], change_id)
if status == 'repeated' or status == 'moved' then return answer(status, version_now()) end

local kind = fields.kind or before.kind
local seats = tonumber(fields.seats or before.seats)
local machines = tonumber(fields.machines or redis.call('HGET', quota_key(license), 'machines'))
if machines == -2 then machines = seats end
local below = leases + offline > seats
if kind == 'named-user' then
  below = below or users > seats
elseif machines >= 0 then
  below = below or registered > machines
end
local is_lower = before and (seats < before.seats
  or machines >= 0 and (before.machines < 0 or machines < before.machines))
if ARGV[4] ~= '1' then
  if below then return answer('below_use', version_now()) end
  if is_lower and clock.recovering then return answer('recovering', version_now()) end
end

redis.call('SADD', LICENSES, license)
for field, value in pairs(fields) do redis.call('HSET', quota_key(license), field, value) end
if fields.policy then
  local policy = parse_policy(fields.policy)
  regroup_leases(license, policy)
  regroup_line(license, policy)
end
if fields.retention then apply_retention(license, tonumber(fields.retention)) end
serve_lines(clock, {license})
return answer('set', record_change(clock, change_id, ARGV[7], ARGV[8]))
