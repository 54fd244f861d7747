-- Changes of administration: each has a number, an entry in the record of who changed what, and facts.
--
-- A change is decided outside on what was read at some version, and made here only if nothing has
-- changed since. So every rule about members, keys and users holds however many write at once.
--
-- A version is larger than all before it, also than those that a store which lost its memory does
-- not know any more: it begins anew above the number of the epoch, and no epoch comes twice.
--
-- Facts are what administration said last about one thing each, such as the seats of a license. The
-- daemons remember them beside the store, and say them again to a store that forgot; what they mean
-- is theirs to know (directory/restrictions.py). `{org}:facts` holds {version, value} by name.

local AUDIT_KEPT = 100000 -- entries; the daemon also trims by age
local FACTS_KEPT = 50000 -- the oldest go; by then nobody puts a store back to where they are unknown
local BEGINNING = 'organization' -- its fact stays: what was said before it does not count
local CHANGES_AN_EPOCH = 1048576 -- 2^20

local function version_now()
  return tonumber(redis.call('HGET', CLOCK, 'version') or 0)
end

-- 'open' when the change may be made, 'moved' when it must be decided anew, 'repeated' when this
-- very call was answered before and the answer got lost. `version` '' is decided by this script alone.
local function open_change(version, change_id)
  local stored = redis.call('HMGET', CLOCK, 'version', 'change')
  if stored[2] == change_id then return 'repeated' end
  if version ~= '' and (stored[1] or '0') ~= version then return 'moved' end
  return 'open'
end

local function forget_fact(name)
  redis.call('HDEL', FACTS, name)
  redis.call('ZREM', FACTS_AT, name)
end

local function write_facts(facts, version)
  for name, fact in pairs(facts) do
    local said = fact[1] > 0 and fact[1] or version -- said again: as of when it was said first
    if said >= tonumber(redis.call('ZSCORE', FACTS_AT, name) or 0) then -- else there is a later word
      redis.call('HSET', FACTS, name, cmsgpack.pack({said, fact[2]}))
      redis.call('ZADD', FACTS_AT, string.format('%.0f', said), name)
    end
  end
  local surplus = redis.call('ZCARD', FACTS_AT) - FACTS_KEPT
  if surplus > 0 then
    for _, name in ipairs(redis.call('ZRANGE', FACTS_AT, 0, surplus - 1)) do
      if name ~= BEGINNING then forget_fact(name) end
    end
  end
end

-- Count the change and write it down; `facts` is msgpack, name -> {version or 0 for this one, value},
-- '' for none. Answers the new version.
local function record_change(clock, change_id, entry, facts)
  if entry ~= '' then
    redis.call('XADD', AUDIT, 'MAXLEN', '~', AUDIT_KEPT, '*', 'entry', entry)
  end
  local version = math.max(version_now(), clock.epoch * CHANGES_AN_EPOCH) + 1
  redis.call('HSET', CLOCK, 'change', change_id, 'version', string.format('%.0f', version))
  if facts ~= '' then write_facts(cmsgpack.unpack(facts), version) end
  return version
end
