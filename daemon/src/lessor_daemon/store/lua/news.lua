-- news: what the holders of leases are to be told before they ask by renewing.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2… lease ids, at most 500
-- Output  reply(clock, 'news', results): per id, in order, why it is lost or 'unknown', as of renew.lua |
--   {notice} where its holder is asked something, see finish.lua | 0
-- @include keys clock ended machine session lease

local clock, refusal = open_clock()
if not clock then return refusal end

local ids = {}
for i = 2, #ARGV do ids[i - 1] = ARGV[i] end

local results = {}
for i, record in ipairs(redis.call('HMGET', RECORDS, unpack(ids))) do
  local id, flags = ids[i], record and string.byte(record, 5)
  if not record then
    results[i] = ended_reason(id) or 'unknown'
  elseif has_flag(flags, IS_ENDING) then
    results[i] = redis.call('HGET', ENDING, id)
  else
    results[i] = has_flag(flags, IS_NOTICED) and {redis.call('HGET', NOTICES, id)} or 0
  end
end
return reply(clock, 'news', results)
