-- sweep: what only the wall clock ends. Expired offline licenses give their seats back, idle machines
-- lapse, and old records are trimmed.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 now, wall clock seconds
--            3 oldest session and 4 oldest audit entry to keep, wall clock ms
-- Output  reply(clock, 'swept', offline seats freed, machines dropped, version)
-- @include keys clock ended machine session lease audit offline policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local STREAM_BYTES = 134217728 -- 128 MiB of sessions, and as many of audit: texts of clients may be long

-- In whole nodes of a stream, which is quick, at most so many a call; once there is none of those any
-- more, to the entry: the records of a small organization are not to stay for years.
local function trim(stream, oldest)
  if redis.call('XTRIM', stream, 'MINID', '~', oldest, 'LIMIT', 10000) == 0 then
    redis.call('XTRIM', stream, 'MINID', '=', oldest)
  end
  -- By weight, as if all weighed the same; where the newer weigh more, the next sweep goes on.
  local bytes = redis.call('MEMORY', 'USAGE', stream, 'SAMPLES', 0) or 0
  if bytes > STREAM_BYTES then
    local kept = math.floor(redis.call('XLEN', stream) * STREAM_BYTES / bytes)
    redis.call('XTRIM', stream, 'MAXLEN', '~', kept, 'LIMIT', 10000)
  end
end

local freed, dropped = 0, 0
local licenses = redis.call('SMEMBERS', LICENSES)
for _, license in ipairs(licenses) do
  local seats, machines = expire_offline(license, tonumber(ARGV[2])), drop_idle_machines(license)
  freed, dropped = freed + seats, dropped + machines
end
if not clock.recovering then
  -- Marks of leases that nobody put back, see end.lua.
  for _, id in ipairs(redis.call('HKEYS', ENDING)) do
    if redis.call('HEXISTS', RECORDS, id) == 0 then redis.call('HDEL', ENDING, id) end
  end
end
serve_lines(clock, licenses) -- all: the term of one may have begun
trim(EVENTS, ARGV[3])
trim(AUDIT, ARGV[4])
return reply(clock, 'swept', freed, dropped, version_now())
