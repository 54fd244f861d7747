-- acquire: take a seat, or a place in the line, or learn why neither. The one step that decides
-- both quotas; the same call again gets the same answer.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 lease id, 16 bytes      3 license
--            4 machine id                5 '1' if it is ephemeral  6 fingerprint of the request
--            7 owner                     8 holder, opaque          9 '1' to join the line when full
--           10 margin, fixed part, ms   11 wall clock, ms: only shown, and for the license's expiry
--           12 least and 13 most seats wanted   14 labels, msgpack map
-- Output  reply(clock, status, ended, ...)
--   granted          token, ttl ms, granted_at ms, is_new, waited ms (-1: never in line), holder,
--                    seats, group, is_named (on a named-user license), idle time-out, s (0: none)
--   queued           ticket, position from 1, blocked_by, the license's ttl
--   full             blocked_by: drained | cap | seats | machines
--   ended            reason
--   license_expired  'not_started' when its term has yet to begin
--   too_many         the most that can ever be free together
--   crowded          how many wait in the organization, which is the most that may
--   conflict | recovering | unknown_license | not_registered_user
-- @include keys clock ended machine session lease ending offline policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local id, license, machine, ephemeral = ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local fingerprint, owner, holder, may_wait = ARGV[6], ARGV[7], ARGV[8], ARGV[9] == '1'
local margin, wall_ms = tonumber(ARGV[10]), tonumber(ARGV[11])

local least, most, labels = tonumber(ARGV[12]), tonumber(ARGV[13]), ARGV[14]

-- Whether a lease or a waiter of this id is what this very call, made before, led to. Who repeats what
-- somebody else asked for, under an id that the lists show, gets neither their lease nor its certificate.
local function is_of_this_call(one)
  return one.license == license and one.fingerprint == fingerprint and one.owner == owner
end

-- Whether there is no place left for one who does not wait yet.
local function is_crowded(waiter)
  return not waiter and redis.call('HLEN', WAITERS) >= MOST_WAITING
end

local function wait_in_line(waiter, policy)
  join_line(clock, id, waiter or {
    license = license, machine = machine, ephemeral = ephemeral, fingerprint = fingerprint,
    owner = owner, joined = clock.now, granted_at = wall_ms, holder = holder,
    least = least, most = most, labels = labels,
  }, policy)
end

if clock.recovering then
  -- Nothing is granted, not even what the data knows: only a renewal confirms a lease now.
  local quota, lease = may_wait and read_quota(license), find_lease(id)
  local waiter = not lease and find_waiter(id) or nil
  local before = lease or waiter
  if before and not is_of_this_call(before) then return reply(clock, 'conflict', {}) end
  if lease and lease.offered then
    withdraw_offer(clock, id, lease)
  elseif quota and quota.kind ~= 'named-user' and not lease and not ended_reason(id)
    and not is_crowded(waiter)
  then
    wait_in_line(waiter, quota.policy)
  end
  return reply(clock, 'recovering', {})
end

local ended = end_lapsed(clock)
if #ended > 0 then serve_lines(clock, licenses_of(ended)) end

-- A registered user's seat may be taken back when it is not used, see idle.lua.
local function idle_timeout(named)
  return named and tonumber(redis.call('HGET', quota_key(license), 'idle') or 0) or 0
end

local function known(lease)
  if not is_of_this_call(lease) then return reply(clock, 'conflict', ended) end
  if lease.ending then
    return reply(clock, 'ended', ended, string.match(redis.call('HGET', ENDING, id), '^%S+'))
  end
  redis.call('ZADD', LEASES, deadline(clock, lease.ttl, margin), id)
  local is_new, waited = 0, -1
  if lease.offered then
    is_new, waited = 1, clock.now - lease.joined
    lease.offered, lease.granted_at, lease.waited = false, wall_ms, waited
    redis.call('HDEL', WAITERS, id)
    local is_changed = register_machine(lease, ephemeral)
    write_record(id, lease)
    -- Was it the one machine that would leave, nobody is held up for it any longer.
    if is_changed then serve_lines(clock, {license}) end
  end
  return reply(clock, 'granted', ended, lease.token, lease.ttl, lease.granted_at, is_new, waited,
    lease.holder, lease.seats, lease.group, lease.named and 1 or 0, idle_timeout(lease.named))
end

local lease = find_lease(id)
if lease and tonumber(redis.call('ZSCORE', LEASES, id)) >= clock.now then
  if not lease.offered or not is_of_this_call(lease) or is_offer_good(read_quota(license), lease) then
    return known(lease)
  end
  withdraw_offer(clock, id, lease)
elseif lease then -- more lapsed than one call ends
  ended[#ended + 1] = end_lapsed_lease(clock, id)
  serve_lines(clock, {lease.license})
end

local reason = ended_reason(id)
if reason then return reply(clock, 'ended', ended, reason) end

local waiter = find_waiter(id)
if waiter and not is_of_this_call(waiter) then return reply(clock, 'conflict', ended) end

local freed = 0 -- seats of offline licenses that have expired

-- Nobody stays in line who is told that there is nothing to wait for.
local function refuse(...)
  local stands = read_waiter(id)
  if stands then leave_line(id, stands) end
  if stands or freed > 0 then serve_lines(clock, {license}) end -- others may have a turn by that
  return reply(clock, ...)
end

local quota = read_quota(license)
if not quota then return refuse('unknown_license', ended) end
if not is_in_term(quota, wall_ms / 1000) then
  local why = wall_ms < quota.starts * 1000 and 'not_started' or nil
  return refuse('license_expired', ended, why)
end

if quota.offline > 0 then
  freed = expire_offline(license, math.floor(wall_ms / 1000))
  quota.offline = quota.offline - freed
end

local group = group_of(quota.policy, labels)

local function new_lease(named, seats)
  local made = {
    ttl = quota.ttl, license = license, machine = machine, ephemeral = ephemeral, named = named,
    granted_at = wall_ms, fingerprint = fingerprint, owner = owner, joined = -1,
    offered = false, holder = holder, seats = seats, group = named and '' or group.name,
    ranged = most > least,
  }
  grant(clock, id, made, deadline(clock, quota.ttl, margin))
  return reply(clock, 'granted', ended, made.token, made.ttl, wall_ms, 1, -1, holder, seats,
    made.group, named and 1 or 0, idle_timeout(named))
end

-- The seat is the registered user's, who has it on one machine at a time: the newest activation
-- takes over. It does not wait until the one before is dead; who sits at both machines is one person.
-- So one session more than the seats may run for a moment, and never two: what was taken over counts
-- until it is dead, against its own user as well.
local function activate()
  local email = string.match(owner, '^member:(.+)$')
  if not email or redis.call('HEXISTS', registered_key(license), email) == 0 then
    return reply(clock, 'not_registered_user', ended)
  end
  local before = redis.call('HGET', online_key(license), email)
  local free = free_seats(license, quota) + (before and 1 or 0)
  if free <= 0 then return reply(clock, 'full', ended, 'seats') end
  if before then end_online(license, email, 'taken_over', 'activated on machine ' .. machine) end
  redis.call('HSET', online_key(license), email, id)
  return new_lease(true, 1)
end

if quota.kind == 'named-user' then
  if waiter then leave_line(id, waiter) end -- it was a floating one when this began to wait
  if quota.drained then return reply(clock, 'full', ended, 'drained') end
  return activate()
end

if is_impossible(quota, group, least) then
  local most_ever = quota.seats - quota.offline
  if group.cap >= 0 then most_ever = math.min(most_ever, group.cap) end
  return refuse('too_many', ended, string.format('%d', most_ever))
end

local queue = queue_key(license)
if redis.call('EXISTS', queue) == 0 then
  local seats = math.min(most, free_seats(license, quota), room_in_group(license, group))
  local admitted = is_admitted(license, quota, machine)
  if seats >= least and admitted and not quota.drained then return new_lease(false, seats) end
  if not may_wait then
    return reply(clock, 'full', ended, blocked_by(license, quota, group, machine, least))
  end
end

if is_crowded(waiter) then
  if may_wait then return reply(clock, 'crowded', ended, string.format('%d', MOST_WAITING)) end
  return reply(clock, 'full', ended, blocked_by(license, quota, group, machine, least))
end

-- Somebody may stand in the line already: no barging, everyone goes through it.
wait_in_line(waiter, quota.policy)
serve_lines(clock, {license})
lease = find_lease(id)
if lease then return known(lease) end

local blocked = blocked_by(license, quota, group, machine, least)
if not may_wait then return refuse('full', ended, blocked) end
return reply(clock, 'queued', ended, read_waiter(id).ticket, redis.call('ZRANK', queue, id) + 1,
  blocked, quota.ttl)
