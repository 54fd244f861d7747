-- issue: take seats of a license for an offline license, until it expires or is returned.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 license   3 serial   4 machine   5 seats
--            6 expiry, wall clock seconds   7 now, wall clock seconds   8 record
--            9 id of this change   10 entry for the audit   11 facts (lib/audit.lua)
--            12 '1' when it was issued before and the store forgot it: it counts whatever is free
-- While recovering none is issued: the seats in use are not all known. Output
--   reply(clock, status, available, version): issued | repeated | full | machines_full | recovering |
--   unknown_license
-- @include keys clock ended machine session lease audit offline policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local license, serial, machine, seats = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local change_id, is_forgotten = ARGV[9], ARGV[12] == '1'

local function answer(status, available)
  return reply(clock, status, math.max(0, available), version_now())
end

-- Also when another change came between this one and its repetition.
local is_known = not is_forgotten and redis.call('HEXISTS', OFFLINE, serial) == 1
if open_change('', change_id) == 'repeated' or is_known then return answer('repeated', 0) end

if expire_offline(license, tonumber(ARGV[7])) > 0 then serve_lines(clock, {license}) end
local quota = read_quota(license)
if not quota then return answer('unknown_license', 0) end
if clock.recovering and not is_forgotten then return answer('recovering', 0) end
local available = free_seats(license, quota)
if not is_forgotten and (quota.drained or seats > available) then return answer('full', available) end

if quota.kind ~= 'named-user' then
  -- What runs there runs on a machine of this license like any other.
  if not is_forgotten and not is_admitted(license, quota, machine) then
    return answer('machines_full', available)
  end
  redis.call('HSET', offline_on_key(license), serial, ARGV[6] .. ' ' .. machine)
  reschedule_machine(license, machine)
  unpark(license, machine)
end
if redis.call('ZADD', offline_key(license), ARGV[6], serial .. ':' .. seats) == 1 then
  redis.call('HINCRBY', quota_key(license), 'offline', seats)
end
redis.call('HSET', OFFLINE, serial, ARGV[8])
record_change(clock, change_id, ARGV[10], ARGV[11])
serve_lines(clock, {license}) -- who waits on that machine may go
return answer('issued', available - seats)
