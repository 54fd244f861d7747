-- keep: waiters whose calls are held open somewhere keep their places, without asking one by one.
--
-- Input   KEYS[1] {org}:clock   ARGV 1 context (lib/clock.lua)   2… lease ids, at most 500
-- Output  reply(clock, 'kept', results): per id, in order, 1 if it goes on waiting, 0 if it should ask
--   itself: it waits no more, or is passed over until it asks
-- @include keys clock ended machine session lease policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local results = {}
for i = 2, #ARGV do
  local waits = redis.call('ZSCORE', WAITING, ARGV[i]) and redis.call('SISMEMBER', ABSENT, ARGV[i]) == 0
  if waits then redis.call('ZADD', WAITING, clock.now + GONE_MS, ARGV[i]) end
  results[i - 1] = waits and 1 or 0
end
return reply(clock, 'kept', results)
