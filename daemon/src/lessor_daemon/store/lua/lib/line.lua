-- The line: who waits for seats of a license, and in which order they are served.
--
-- Order. Each waiter has a ticket, ever growing, made of the lease clock. Its place is its ticket less
-- its group's head start: who has a head start of a minute stands where they would had they come a
-- minute earlier, so nobody is overtaken by one who came later than that. A free seat goes
--   1. to a group that holds fewer seats than are reserved for it (reserved seats are lent while
--      nobody of the group waits), 2. else to the first place;
--   passed over are: groups at their cap, and waiters whose machine the machine quota does not admit.
-- Who needs several seats gets them together; until they are free the line behind stands, so that
-- small ones do not starve a large one. A waiter that machines have blocked for MACHINE_PATIENCE_MS
-- also makes the line behind it stand, if some registered machine is ephemeral: it leaves when its
-- sessions are done, and none of those behind may keep it.
--
-- A free seat is *offered*: a lease that lasts OFFER_MS unless its waiter claims it by asking again.
-- Not claimed, it goes to the next. The waiter is at its old place then, but *absent*: passed over
-- until it asks, so that a dead one costs one offer and a slow one loses nothing but that seat.
-- A waiter keeps its place by asking at least every GONE_MS, also across an offer.
--
-- Keys. `queue` holds all waiters by place. `ready:<group>` holds those that a free seat could serve,
-- `parked:<group>` those whose machine was not admitted when their turn came; they are not looked at
-- again until a machine leaves or theirs is registered (`parked-on` finds them by machine). Where theirs
-- is and more are than the quota allows, they wait until one is not in use any more (`held_back`, a
-- field of the quota). The absent are in neither.
--
-- A waiter's record is a msgpack array, see `read_waiter`. It stays while the waiter has an offer;
-- `gone_at` is then when it counts as gone.

local GONE_MS = 10000
local OFFER_MS = 3000
local MACHINE_PATIENCE_MS = 60000
local SERVE_AT_ONCE = 100 -- offers and parkings a call, so that no call pays for a long line
local LAPSE_AT_ONCE = 100 -- likewise
local MOST_WAITING = 20000 -- of an organization: what they ask for is kept, and may be long
local OFFERS_CHANNEL = 'lessor:offers'

local function read_waiter(id)
  local packed = redis.call('HGET', WAITERS, id)
  if not packed then return nil end
  local fields = cmsgpack.unpack(packed)
  return {
    license = fields[1], machine = fields[2], ephemeral = fields[3], fingerprint = fields[4],
    owner = fields[5], joined = fields[6], granted_at = fields[7], holder = fields[8],
    least = fields[9], most = fields[10], labels = fields[11], group = fields[12],
    ticket = fields[13], gone_at = fields[14],
  }
end

local function write_waiter(id, waiter)
  redis.call('HSET', WAITERS, id, cmsgpack.pack({
    waiter.license, waiter.machine, waiter.ephemeral, waiter.fingerprint, waiter.owner,
    waiter.joined, waiter.granted_at, waiter.holder, waiter.least, waiter.most, waiter.labels,
    waiter.group, waiter.ticket, waiter.gone_at,
  }))
end

local function parked_member(id, waiter) return waiter.machine .. '\0' .. id end

local function next_ticket(clock)
  local last = tonumber(redis.call('HGET', CLOCK, 'ticket') or 0)
  local ticket = math.max(last + 1, clock.now * 1000)
  redis.call('HSET', CLOCK, 'ticket', ticket)
  return ticket
end

local function place_of(waiter, group) return waiter.ticket - group.head_start * 1000 end

-- One that was absent asks: it may be served again.
local function come_back(id, waiter)
  if redis.call('SREM', ABSENT, id) == 0 then return end
  redis.call('ZADD', ready_key(waiter.license, waiter.group),
    redis.call('ZSCORE', queue_key(waiter.license), id), id)
end

local function join_line(clock, id, waiter, policy)
  redis.call('ZADD', WAITING, clock.now + GONE_MS, id)
  if waiter.ticket then return come_back(id, waiter) end -- stands in line already
  local group = group_of(policy, waiter.labels)
  waiter.ticket, waiter.group = next_ticket(clock), group.name
  redis.call('ZADD', queue_key(waiter.license), place_of(waiter, group), id)
  redis.call('ZADD', ready_key(waiter.license, group.name), place_of(waiter, group), id)
  write_waiter(id, waiter)
end

local function leave_place(id, waiter)
  redis.call('ZREM', queue_key(waiter.license), id)
  if redis.call('ZREM', ready_key(waiter.license, waiter.group), id) == 0 then
    redis.call('ZREM', parked_key(waiter.license, waiter.group), id)
    redis.call('ZREM', parked_on_key(waiter.license), parked_member(id, waiter))
  end
  redis.call('ZREM', WAITING, id)
end

local function leave_line(id, waiter)
  leave_place(id, waiter)
  redis.call('SREM', ABSENT, id)
  redis.call('HDEL', WAITERS, id)
end

-- Who stands in line by this id. Where its license was removed the line is gone, and so is it: should there
-- be a license of that name again, it comes anew.
local function find_waiter(id)
  local waiter = read_waiter(id)
  if not waiter or redis.call('ZSCORE', queue_key(waiter.license), id) then return waiter end
  leave_line(id, waiter)
end

-- Back to the place that it had before the offer which it let pass. Those who are gone meanwhile
-- leave with `drop_gone`, which comes before the line is served.
local function return_to_line(id)
  local waiter = read_waiter(id)
  if not waiter then return end -- offered by a Lessor that kept no record of it
  local group = group_of(read_quota(waiter.license).policy, waiter.labels)
  waiter.group = group.name
  write_waiter(id, waiter)
  redis.call('ZADD', queue_key(waiter.license), place_of(waiter, group), id)
  redis.call('ZADD', WAITING, waiter.gone_at, id)
  redis.call('SADD', ABSENT, id)
end

-- Who has an offer asks while nothing may be claimed. No offer outlasts a recovery: the store may have
-- forgotten that it was let pass, and who has the seat since then. So it stands at its old place again.
local function withdraw_offer(clock, id, lease)
  end_lease(clock, id, lease, 'unclaimed')
  return_to_line(id)
  local waiter = read_waiter(id)
  if waiter then join_line(clock, id, waiter) end
end

-- Whether an offer may be claimed. An admin may have lowered something since.
local function is_offer_good(quota, lease)
  if not quota or quota.kind == 'named-user' or quota.drained then return false end
  for _, group in ipairs(quota.policy) do
    if group.name == lease.group and room_in_group(lease.license, group) < 0 then return false end
  end
  return free_seats(lease.license, quota) >= 0 and is_admitted(lease.license, quota, lease.machine)
end

-- End a lease whose deadline is over. Answers {id, license, machine, token, reason}.
local function end_lapsed_lease(clock, id)
  local lease = find_lease(id)
  local reason = end_lease(clock, id, lease, lease.offered and 'unclaimed' or 'lapsed')
  if lease.offered then return_to_line(id) end
  return {id, lease.license, lease.machine, lease.token, reason}
end

-- End what has lapsed, oldest first; then the lines of its licenses are to be served.
local function end_lapsed(clock)
  local ended = {}
  if clock.recovering then return ended end -- no deadline counts as passed
  local ids = redis.call('ZRANGEBYSCORE', LEASES, '-inf', '(' .. string.format('%.0f', clock.now),
    'LIMIT', 0, LAPSE_AT_ONCE)
  for i, id in ipairs(ids) do ended[i] = end_lapsed_lease(clock, id) end
  return ended
end

-- Who has not asked for too long leaves. Answers the licenses where somebody left: those behind may
-- have a turn now.
local function drop_gone(clock)
  local licenses = {}
  if clock.recovering then return licenses end -- the line stands still and keeps its order
  local ids = redis.call('ZRANGEBYSCORE', WAITING, '-inf', '(' .. string.format('%.0f', clock.now),
    'LIMIT', 0, SERVE_AT_ONCE)
  for i, id in ipairs(ids) do
    local waiter = read_waiter(id)
    leave_line(id, waiter)
    licenses[i] = waiter.license
  end
  return licenses
end

-- Put aside one whose machine is not admitted.
local function park(id, waiter, place)
  redis.call('ZREM', ready_key(waiter.license, waiter.group), id)
  redis.call('ZADD', parked_key(waiter.license, waiter.group), place, id)
  redis.call('ZADD', parked_on_key(waiter.license), 0, parked_member(id, waiter))
  if redis.call('ZSCORE', machines_key(waiter.license), waiter.machine) then
    redis.call('HSET', quota_key(waiter.license), 'held_back', 1)
  end
end

-- A machine was registered: those who were put aside for it can be served.
local function unpark(license, machine)
  local members = redis.call('ZRANGEBYLEX', parked_on_key(license),
    '[' .. machine .. '\0', '(' .. machine .. '\1')
  for _, member in ipairs(members) do
    local id = string.sub(member, -16)
    local waiter = read_waiter(id)
    local parked = parked_key(license, waiter.group)
    redis.call('ZADD', ready_key(license, waiter.group), redis.call('ZSCORE', parked, id), id)
    redis.call('ZREM', parked, id)
    redis.call('ZREM', parked_on_key(license), member)
  end
end

-- More machines are registered than the quota allows, or were: those who were put aside though theirs is can be
-- served once fewer are in use, or theirs is.
local function unpark_registered(license, quota)
  local is_over = quota.machines >= 0 and redis.call('ZCARD', machines_key(license)) > quota.machines
  local used, count = machines_in_use(license)
  if is_over and count > quota.machines then return end
  local all = not is_over or count < quota.machines
  for _, machine in ipairs(redis.call('ZRANGE', machines_key(license), 0, -1)) do
    if all or used[machine] then unpark(license, machine) end
  end
  if all then redis.call('HDEL', quota_key(license), 'held_back') end
end

-- Whether so many seats can never be free together. One seat may always become free.
local function is_impossible(quota, group, least)
  return least > 1 and (least > quota.seats - quota.offline or (group.cap >= 0 and least > group.cap))
end

local function first_of(key)
  local found = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return found[1], tonumber(found[2])
end

-- The first waiter of a group that could be served: of the ready ones, and of those put aside while
-- a machine more is admitted.
local function first_of_group(license, group, has_room)
  local id, place = first_of(ready_key(license, group.name))
  if has_room then
    local parked, parked_place = first_of(parked_key(license, group.name))
    if parked and (not id or parked_place < place) then return parked, parked_place end
  end
  return id, place
end

-- Whose turn it is: {id, place, waiter}, or nil. `policy` ends with the default group.
local function whose_turn(license, quota, groups, has_room)
  local best
  for _, group in ipairs(groups) do
    local id, place = first_of_group(license, group, has_room)
    local waiter = id and read_waiter(id)
    if waiter and (waiter.least <= room_in_group(license, group)
      or is_impossible(quota, group, waiter.least))
    then
      local lent = group.reserve > group_use(license, group)
      if not best or (lent and not best.lent) or (lent == best.lent and place < best.place) then
        best = {id = id, place = place, waiter = waiter, lent = lent, group = group}
      end
    end
  end
  return best
end

-- Whether one that machines blocked for long stands before `place`, and a machine will leave for it.
local function is_held_up(clock, license, groups, place)
  for _, group in ipairs(groups) do
    local id, parked_place = first_of(parked_key(license, group.name))
    local waiter = id and parked_place < place and read_waiter(id)
    if waiter and waiter.least <= room_in_group(license, group)
      and clock.now - waiter.joined >= MACHINE_PATIENCE_MS
      and redis.call('ZCOUNT', machines_key(license), 0, 0) > 0
    then
      return true
    end
  end
  return false
end

local function offer(clock, license, quota, turn, free)
  local lease = turn.waiter
  lease.gone_at = tonumber(redis.call('ZSCORE', WAITING, turn.id))
  leave_place(turn.id, lease)
  write_waiter(turn.id, lease)
  lease.ttl, lease.offered, lease.ranged = quota.ttl, true, lease.most > lease.least
  lease.seats = math.min(lease.most, free, room_in_group(license, turn.group))
  grant(clock, turn.id, lease, clock.now + OFFER_MS)
  unpark(license, lease.machine)
  redis.call('PUBLISH', OFFERS_CHANNEL, turn.id)
end

-- Offer what is free to those whose turn it is. Only `serve_lines` calls it.
local function serve_line(clock, license)
  if clock.recovering or redis.call('EXISTS', queue_key(license)) == 0 then return end
  local quota = read_quota(license)
  if not quota or quota.kind == 'named-user' or quota.drained then return end
  if not is_in_term(quota, wall_seconds()) then return end
  if quota.holds_back then unpark_registered(license, quota) end
  local groups = {unpack(quota.policy)}
  groups[#groups + 1] = DEFAULT_GROUP
  for _ = 1, SERVE_AT_ONCE do
    local free = free_seats(license, quota)
    if free <= 0 then return end
    local turn = whose_turn(license, quota, groups, has_room_for_machine(license, quota))
    if not turn then return end
    if is_impossible(quota, turn.group, turn.waiter.least) then
      leave_line(turn.id, turn.waiter) -- seats were lowered: it is told so when it asks again
    elseif not is_admitted(license, quota, turn.waiter.machine) then
      park(turn.id, turn.waiter, turn.place) -- first: no seats gather for one who could not take them
    elseif turn.waiter.least > free then
      return -- seats gather for it
    elseif is_held_up(clock, license, groups, turn.place) then
      return
    else
      offer(clock, license, quota, turn, free)
    end
  end
  mark_unserved(clock)
end

-- Serve the lines of these licenses, and of those where somebody is gone. To be called after all
-- that can make a turn possible: seats or machines that become free, a waiter that leaves, a license
-- that allows more.
local function serve_lines(clock, licenses)
  local served = {}
  for _, some in ipairs({drop_gone(clock), licenses}) do
    for _, license in ipairs(some) do
      if not served[license] then
        served[license] = true
        serve_line(clock, license)
      end
    end
  end
end

-- The licenses of leases that `end_lapsed` ended.
local function licenses_of(ended)
  local licenses = {}
  for i, lease in ipairs(ended) do licenses[i] = lease[2] end
  return licenses
end

local function regroup(id, waiter, group)
  redis.call('ZREM', ready_key(waiter.license, waiter.group), id)
  redis.call('ZREM', parked_key(waiter.license, waiter.group), id)
  redis.call('ZREM', parked_on_key(waiter.license), parked_member(id, waiter))
  waiter.group = group.name
  write_waiter(id, waiter)
  redis.call('ZADD', queue_key(waiter.license), place_of(waiter, group), id)
  if redis.call('SISMEMBER', ABSENT, id) == 0 then
    redis.call('ZADD', ready_key(waiter.license, group.name), place_of(waiter, group), id)
  end
end

-- The seats that are held count for the groups that their processes are in now. A lease that was put back by its
-- certificate has no labels, and stays where it is.
local function regroup_leases(license, policy)
  for _, id in ipairs(redis.call('SMEMBERS', use_key(license))) do
    local lease = #id == 16 and find_lease(id)
    local labels = lease and not lease.named and labels_of(lease)
    if labels and next(labels) then
      local group = group_of(policy, cmsgpack.pack(labels)).name
      if group ~= lease.group then
        change_group_use(lease, -lease.seats)
        lease.group = group
        change_group_use(lease, lease.seats)
        write_record(id, lease)
      end
    end
  end
end

-- The license's policy has changed: everyone in line goes to the group it is in now. The one walk over a
-- whole line: in one piece, since a line half in the old order would serve nobody right. With 10,000
-- in line it takes 0.1 s when all change their group or place, and 0.05 s when none does.
local function regroup_line(license, policy)
  local line = redis.call('ZRANGE', queue_key(license), 0, -1, 'WITHSCORES')
  for i = 1, #line, 2 do
    local id, place = line[i], tonumber(line[i + 1])
    local waiter = read_waiter(id)
    local group = group_of(policy, waiter.labels)
    if group.name ~= waiter.group or place_of(waiter, group) ~= place then regroup(id, waiter, group) end
  end
end
