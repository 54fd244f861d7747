-- return: an offline license is given back before it expires.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 license   3 serial   4 seats   5 record as it is now
--            6 id of this change   7 entry for the audit   8 facts (lib/audit.lua)
-- Output  reply(clock, 'returned', seats that became free, version): 0 seats when it had expired or
--   was returned
-- @include keys clock ended machine session lease audit offline policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local license, serial = ARGV[2], ARGV[3]
local held = redis.call('HGET', offline_on_key(license), serial)
local freed = free_offline(license, serial .. ':' .. ARGV[4])
if freed > 0 then
  redis.call('HSET', OFFLINE, serial, ARGV[5])
  local machine = held and string.match(held, '^%d+ (.*)$')
  local score = machine and redis.call('ZSCORE', machines_key(license), machine)
  if score and score ~= '0' then reschedule_machine(license, machine) end
  record_change(clock, ARGV[6], ARGV[7], ARGV[8])
  serve_lines(clock, {license})
end
return reply(clock, 'returned', freed, version_now())
