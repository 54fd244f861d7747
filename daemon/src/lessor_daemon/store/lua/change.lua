-- change: one change of the directory, whole and recorded, or nothing of it.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)    2 version it was decided on   3 id of this change
--            4 entry for the audit
--            5 edits of hashes, msgpack: {key, field, value} each; without a value the field goes,
--              without a field the key. A license can also leave the set of licenses
--            6 licenses that must hold no seat, msgpack
--            7 members whose online session ends, msgpack: {license, e-mail, reason, text} each
--            8 facts (lib/audit.lua)
-- Output  reply(clock, status, version, ending): changed | repeated | moved | in_use | recovering (what
--   must hold no seat may hold some that the store forgot)
-- @include keys clock ended machine session lease ending audit

local clock, refusal = open_clock()
if not clock then return refusal end

local change_id, entry = ARGV[3], ARGV[4]
local edits, unused, endings =
  cmsgpack.unpack(ARGV[5]), cmsgpack.unpack(ARGV[6]), cmsgpack.unpack(ARGV[7])

local status = open_change(ARGV[2], change_id)
if status == 'repeated' then return reply(clock, 'repeated', version_now(), 0) end
if status == 'moved' then return reply(clock, 'moved', version_now(), 0) end

if #unused > 0 and clock.recovering then return reply(clock, 'recovering', version_now(), 0) end
for _, license in ipairs(unused) do
  local offline = tonumber(redis.call('HGET', quota_key(license), 'offline') or 0)
  if redis.call('EXISTS', use_key(license)) == 1 or offline > 0 then
    return reply(clock, 'in_use', version_now(), 0)
  end
end

for _, edit in ipairs(edits) do
  local key, field, value = edit[1], edit[2], edit[3]
  if string.sub(key, 1, #ORG) ~= ORG then
    return redis.error_reply('ERR a change stays within its organization')
  end
  if value then
    redis.call('HSET', key, field, value)
  elseif field then
    redis.call(key == LICENSES and 'SREM' or 'HDEL', key, field)
  else
    redis.call('DEL', key)
  end
end

local ending = 0
for _, one in ipairs(endings) do
  ending = ending + end_online(one[1], one[2], one[3], one[4])
end
return reply(clock, 'changed', record_change(clock, change_id, entry, ARGV[8]), ending)
