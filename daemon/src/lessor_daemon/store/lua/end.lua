-- end: somebody else than the holder ends sessions. They are ending from now on: counted, since they
-- still run, but not renewable.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 reason, of lib/ended.lua   3 text for the person there
--            4 id of this change   5 entry for the audit ('' none)   6… lease ids, at most 500
-- While recovering, the mark of a lease that the store does not know waits until it is put back.
-- Output  reply(clock, 'ending', results): per id, in order, 1, 0 if it was ending already, or -1 if
--   there is no such lease
-- @include keys clock ended machine session lease ending audit

local clock, refusal = open_clock()
if not clock then return refusal end

local results, count = {}, 0
for i = 6, #ARGV do
  local lease = find_lease(ARGV[i])
  local marked = lease and mark_ending(ARGV[i], lease, ARGV[2], ARGV[3])
  if not lease and clock.recovering then redis.call('HSET', ENDING, ARGV[i], ARGV[2] .. ' ' .. ARGV[3]) end
  results[#results + 1] = marked and 1 or lease and 0 or -1
  if marked then count = count + 1 end
end
if count > 0 and ARGV[5] ~= '' then record_change(clock, ARGV[4], ARGV[5], '') end
return reply(clock, 'ending', results)
