-- finish: ask a session to come to an end by itself. It goes on holding its seat; whoever keeps its
-- lease is told at once (news.lua), and reads the notice with each renewal until it ends. A newer notice replaces the one before.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 lease id   3 notice, msgpack map, the daemon's own
--            4 id of this change   5 entry for the audit
-- Output  reply(clock, status): asked | ending (it is being ended already) | unknown
-- @include keys clock ended machine session lease audit

local clock, refusal = open_clock()
if not clock then return refusal end

local id, change_id = ARGV[2], ARGV[4]
if open_change('', change_id) == 'repeated' then return reply(clock, 'asked') end
local lease = find_lease(id)
if not lease or lease.offered then return reply(clock, 'unknown') end
if lease.ending then return reply(clock, 'ending') end

lease.noticed = true
write_record(id, lease)
redis.call('HSET', NOTICES, id, ARGV[3])
redis.call('PUBLISH', NEWS_CHANNEL, id)
record_change(clock, change_id, ARGV[5], '')
return reply(clock, 'asked')
