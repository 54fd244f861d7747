-- release: the holder is finished, or a waiter leaves. Also records the end of an id it never saw,
-- so that a delayed acquire cannot leak a seat. Hands the seat on at once.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 lease id   3 who asks (an owner)
--            4 '1' if they may end what is others'
-- Output  reply(clock, status, ...)
--   released   license, machine, token, reason (another than 'released' when it was ending)
--   left       license (was a waiter)
--   repeated   (had ended already)   | unknown (never seen, and spent now) | forbidden
--   others     somebody else has it, which end.lua may end
-- @include keys clock ended machine session lease policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local id, asker = ARGV[2], ARGV[3]
local refused = ARGV[4] == '1' and 'others' or 'forbidden'

local lease = find_lease(id)
if lease then
  if asker ~= lease.owner then return reply(clock, refused) end
  local reason = end_lease(clock, id, lease, 'released')
  if lease.offered then redis.call('HDEL', WAITERS, id) end
  serve_lines(clock, {lease.license})
  return reply(clock, 'released', lease.license, lease.machine, lease.token, reason)
end

local waiter = read_waiter(id)
if waiter then
  if asker ~= waiter.owner then return reply(clock, refused) end
  leave_line(id, waiter)
  remember_ended(clock, id, 'released')
  serve_lines(clock, {waiter.license}) -- those behind may have stood because of it
  return reply(clock, 'left', waiter.license)
end

local why = ended_reason(id)
if why then
  remember_ended(clock, id, why) -- for as long as whoever is answered now may still ask
  return reply(clock, 'repeated')
end
remember_ended(clock, id, 'released')
return reply(clock, 'unknown')
