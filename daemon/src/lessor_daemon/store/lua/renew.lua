-- renew: many leases of one organization hold on. Never refused for quota; a lapsed lease is lost
-- and never revived, except while recovering, when no deadline counts as passed. Who asked for a range of
-- seats is to prove then how many it got.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 margin, fixed part, ms   3… lease ids, at most 500
-- Output  reply(clock, 'renewed', results): per id, in order, its ttl in ms (or {ttl, notice} where
--   its holder is asked something, see finish.lua), or why it is lost:
--   a reason of lib/ended.lua, with a text behind it while it is ending | 'unknown'
-- @include keys clock ended machine session lease

local clock, refusal = open_clock()
if not clock then return refusal end

local margin = tonumber(ARGV[2])
local ids = {}
for i = 3, #ARGV do ids[i - 2] = ARGV[i] end

local deadlines = redis.call('ZMSCORE', LEASES, unpack(ids))
local records = redis.call('HMGET', RECORDS, unpack(ids))
local results, extended = {}, {}
for i, id in ipairs(ids) do
  local until_ms = deadlines[i] and tonumber(deadlines[i])
  if until_ms and (clock.recovering or until_ms >= clock.now) then
    local ttl, flags = struct.unpack('>I4B', records[i])
    if has_flag(flags, IS_OFFERED) then
      results[i] = 'unknown' -- its claim is: only a holder renews, and who has an offer is none
    elseif has_flag(flags, IS_ENDING) then
      results[i] = redis.call('HGET', ENDING, id)
    elseif clock.recovering and has_flag(flags, IS_RANGED) then
      results[i] = 'unknown' -- the store may have forgotten how many seats it has: see restore.lua
    else
      results[i] = has_flag(flags, IS_NOTICED) and {ttl, redis.call('HGET', NOTICES, id)} or ttl
      extended[#extended + 1] = deadline(clock, ttl, margin)
      extended[#extended + 1] = id
    end
  elseif until_ms then
    results[i] = 'lapsed'
  else
    results[i] = ended_reason(id) or 'unknown'
  end
end
-- Lua hands at most some 8,000 values to a call: 500 leases are 1,000.
if #extended > 0 then redis.call('ZADD', LEASES, 'XX', unpack(extended)) end
return reply(clock, 'renewed', results)
