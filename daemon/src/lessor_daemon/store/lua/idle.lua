-- idle: what holders say of how long nothing has been done at their leases. Whoever reaches the idle
-- time-out of a named-user license is warned first, and then its lease is ending. Nobody else is
-- touched: a floating seat, or a license without a time-out.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 id for the notices of this call
--            then for each lease, at most 500: id, for how many seconds it has been idle
-- Output  reply(clock, 'heard', results): per lease, in order, why it is lost (a reason of lib/ended.lua
--   with a text behind it) | 0
-- @include keys clock ended machine session lease ending

local clock, refusal = open_clock()
if not clock then return refusal end

local LONGEST_WARNING = 300 -- seconds; else a fifth of the time-out

local function spoken(seconds)
  if seconds >= 120 then return string.format('%d minutes', math.floor(seconds / 60)) end
  return string.format('%d s', seconds)
end

local function warning_of(id, lease)
  local notice = lease.noticed and cmsgpack.unpack(redis.call('HGET', NOTICES, id))
  return notice and notice.code == 'idle' and notice or nil
end

local function warn(id, lease, number, timeout, ahead)
  local text = string.format(
    'nothing was done here for long: this session ends in %s unless something is (the license allows %s)',
    spoken(ahead), spoken(timeout))
  lease.noticed = true
  write_record(id, lease)
  redis.call('HSET', NOTICES, id, cmsgpack.pack({
    id = ARGV[2] .. number, code = 'idle', text = text, ends_in = ahead, since = clock.now,
  }))
  redis.call('PUBLISH', NEWS_CHANNEL, id)
end

local function take_back(id, lease)
  lease.noticed = false
  write_record(id, lease)
  redis.call('HDEL', NOTICES, id)
end

local function look_at(id, lease, number, idle)
  local timeout = tonumber(redis.call('HGET', quota_key(lease.license), 'idle') or 0)
  local ahead = math.min(LONGEST_WARNING, math.ceil(timeout / 5))
  local warning = warning_of(id, lease)
  if timeout == 0 or idle < timeout - ahead then
    if warning then take_back(id, lease) end
  elseif not warning then
    warn(id, lease, number, timeout, ahead)
  elseif idle >= timeout and clock.now - warning.since >= ahead * 1000 then
    mark_ending(id, lease, 'idle', 'nothing was done for ' .. spoken(timeout))
    return redis.call('HGET', ENDING, id)
  end
  return 0
end

local results = {}
for i = 3, #ARGV, 2 do
  local lease = find_lease(ARGV[i])
  local counts = lease and lease.named and not lease.ending and not clock.recovering
  results[#results + 1] = counts and look_at(ARGV[i], lease, #results, tonumber(ARGV[i + 1])) or 0
end
return reply(clock, 'heard', results)
