-- Changes of administration: each has a number, and an entry in the record of who changed what.
--
-- A change is decided outside on what was read at some version, and made here only if nothing has
-- changed since. So every rule about members, keys and users holds however many write at once.

local AUDIT_KEPT = 100000 -- entries; the daemon also trims by age

-- 'open' when the change may be made, 'moved' when it must be decided anew, 'repeated' when this
-- very call was answered before and the answer got lost. `version` '' is decided by this script alone.
local function open_change(version, change_id)
  local stored = redis.call('HMGET', CLOCK, 'version', 'change')
  if stored[2] == change_id then return 'repeated' end
  if version ~= '' and (stored[1] or '0') ~= version then return 'moved' end
  return 'open'
end

-- Count the change and write it down. Answers the new version.
local function record_change(change_id, entry)
  if entry ~= '' then
    redis.call('XADD', AUDIT, 'MAXLEN', '~', AUDIT_KEPT, '*', 'entry', entry)
  end
  redis.call('HSET', CLOCK, 'change', change_id)
  return redis.call('HINCRBY', CLOCK, 'version', 1)
end

local function version_now()
  return tonumber(redis.call('HGET', CLOCK, 'version') or 0)
end
