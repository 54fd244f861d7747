-- keep: waiters whose calls are held open somewhere keep their places, without asking one by one.
--
-- Input   KEYS[1] {org}:clock   ARGV 1 context (lib/clock.lua)   2… lease ids, at most 500
-- Output  reply(clock, 'kept', results): per id, in order, its position from 1, or 0 if it should ask
--   itself: it waits no more, or is passed over until it asks
-- @include keys clock ended machine session lease policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local function keep(id)
  local waiter = read_waiter(id)
  local before = waiter and redis.call('ZRANK', queue_key(waiter.license), id)
  if not before or redis.call('SISMEMBER', ABSENT, id) == 1 then return 0 end
  redis.call('ZADD', WAITING, clock.now + GONE_MS, id)
  return before + 1
end

local results = {}
for i = 2, #ARGV do results[i - 1] = keep(ARGV[i]) end
return reply(clock, 'kept', results)
