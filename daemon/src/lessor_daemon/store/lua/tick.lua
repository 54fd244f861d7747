-- tick: keep the lease clock running in an organization that had no other script for a while.
--
-- Input   KEYS[1] {org}:clock   ARGV[1] context (lib/clock.lua)
-- Output  reply(clock, 'ticked')
-- @include keys clock

local clock, refusal = open_clock()
if not clock then return refusal end
return reply(clock, 'ticked')
