-- reap: end what has lapsed, at most 100 a call, hand the seats on, and drop waiters that left.
--
-- Input   KEYS[1] {org}:clock   ARGV[1] context (lib/clock.lua)
-- Output  reply(clock, 'reaped', ended): {id, license, machine, token, reason} each
-- @include keys clock ended machine session lease policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local ended = end_lapsed(clock)
drop_gone(clock)
serve_lines(clock, ended)
return reply(clock, 'reaped', ended)
