-- end: somebody else than the holder ends sessions. They are ending from now on: counted, since they
-- still run, but not renewable. Who only waits, or has not claimed its offer, runs nothing and is out
-- of the line.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 reason, of lib/ended.lua   3 text for the person there
--            4 id of this change   5 entry for the audit ('' none)   6… lease ids, at most 500
-- While recovering, the mark of a lease that the store does not know waits until it is put back.
-- Output  reply(clock, 'ending', results): per id, in order, 1, 0 if it was ending already, or -1 if
--   there is no such lease
-- @include keys clock ended machine session lease ending audit policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

-- Who runs nothing: it waits, or has not claimed its offer.
local function send_away(id, waiter, offered)
  if offered then
    end_lease(clock, id, offered, ARGV[2])
    redis.call('HDEL', WAITERS, id)
  else
    leave_line(id, waiter)
    remember_ended(clock, id, ARGV[2])
  end
  redis.call('PUBLISH', OFFERS_CHANNEL, id) -- its call is held: it asks, and is told
  serve_lines(clock, {(offered or waiter).license}) -- those behind may have stood because of it
  return true
end

local results, count = {}, 0
for i = 6, #ARGV do
  local id = ARGV[i]
  local lease, waiter = find_lease(id), read_waiter(id)
  local ends
  if lease and not lease.offered then
    ends = mark_ending(id, lease, ARGV[2], ARGV[3])
  elseif lease or waiter then
    ends = send_away(id, waiter, lease)
  end
  if not (lease or waiter) and clock.recovering then
    redis.call('HSET', ENDING, id, ARGV[2] .. ' ' .. ARGV[3])
  end
  results[#results + 1] = ends and 1 or lease and 0 or -1
  if ends then count = count + 1 end
end
if count > 0 and ARGV[5] ~= '' then record_change(clock, ARGV[4], ARGV[5], '') end
return reply(clock, 'ending', results)
