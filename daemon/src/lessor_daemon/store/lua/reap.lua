-- reap: end what has lapsed, at most 100 a call, hand the seats on, drop waiters that left, and look
-- after lines that no call has served.
--
-- Input   KEYS[1] {org}:clock   ARGV[1] context (lib/clock.lua)
-- Output  reply(clock, 'reaped', ended): {id, license, machine, token, reason} each
-- @include keys clock ended machine session lease policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local ended = end_lapsed(clock)
local licenses = licenses_of(ended)
if clock.unserved and not clock.recovering then
  redis.call('HDEL', CLOCK, 'unserved')
  clock.unserved = false
  licenses = redis.call('SMEMBERS', LICENSES)
  table.sort(licenses)
end
serve_lines(clock, licenses)
return reply(clock, 'reaped', ended)
