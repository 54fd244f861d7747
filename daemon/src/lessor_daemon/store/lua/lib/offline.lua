-- Offline licenses: the seats they hold, until they expire or are returned.
--
-- `{org}:<license>:offline` holds 'serial:seats' by expiry (wall clock seconds); their sum is the
-- quota's field `offline`. It is lowered here alone, so it can lag but never be too small.

local EXPIRE_AT_ONCE = 100

local function free_offline(license, member)
  if redis.call('ZREM', offline_key(license), member) == 0 then return 0 end
  local serial, seats = string.match(member, '^(.*):(%d+)$')
  redis.call('HDEL', offline_on_key(license), serial)
  redis.call('HINCRBY', quota_key(license), 'offline', -seats)
  return tonumber(seats)
end

-- Free what has expired by `now`, the daemon's wall clock in seconds, and by the store's too: seats that one
-- clock freed too early would be held twice. Answers how many seats that were.
local function expire_offline(license, now)
  now = math.min(now, wall_seconds())
  local expired = redis.call('ZRANGEBYSCORE', offline_key(license), '-inf',
    string.format('%.0f', now), 'LIMIT', 0, EXPIRE_AT_ONCE)
  local seats = 0
  for _, member in ipairs(expired) do seats = seats + free_offline(license, member) end
  return seats
end
