-- The two quotas of a license.

local function read_quota(license)
  local fields = redis.call('HMGET', quota_key(license),
    'seats', 'machines', 'offline', 'ttl', 'kind', 'expires', 'starts', 'policy', 'drained',
    'held_back')
  if not fields[1] then return nil end
  local seats, machines = tonumber(fields[1]), tonumber(fields[2])
  return {
    seats = seats,
    machines = machines == -2 and seats or machines, -- stored -2: as many as seats; -1: unlimited
    offline = tonumber(fields[3] or 0),
    ttl = tonumber(fields[4]),
    kind = fields[5],
    expires = tonumber(fields[6]), -- wall clock, seconds; 0: never
    starts = tonumber(fields[7] or 0), -- likewise; 0: at once
    policy = parse_policy(fields[8]),
    drained = fields[9] == '1', -- nobody new; the running finish
    holds_back = fields[10] == '1', -- waiters whose machines are registered are parked, see lib/line.lua
  }
end

-- Whether the license may be used at this second of the wall clock.
local function is_in_term(quota, wall_seconds)
  return wall_seconds >= quota.starts and (quota.expires == 0 or wall_seconds < quota.expires)
end

-- Seats that are not held, below 0 when they were lowered under use. Here the promise is decided.
local function free_seats(license, quota)
  return quota.seats - quota.offline - redis.call('SCARD', use_key(license))
end

-- Whether the machine quota admits one machine more.
local function has_room_for_machine(license, quota)
  return quota.machines < 0 or redis.call('ZCARD', machines_key(license)) < quota.machines
end

-- Whether the machine quota admits `machine`. Here the promise about machines is decided. More may be
-- registered than it allows: it was lowered, or a store that had forgotten some knows them again. Then
-- those count that are in use.
local function is_admitted(license, quota, machine)
  if quota.machines < 0 then return true end
  if not redis.call('ZSCORE', machines_key(license), machine) then
    return has_room_for_machine(license, quota)
  end
  if redis.call('ZCARD', machines_key(license)) <= quota.machines then return true end
  local used, count = machines_in_use(license)
  return count - (used[machine] and 1 or 0) < quota.machines
end

-- What keeps `machine` and `group` from `least` seats more: 'drained', 'cap', 'seats' or 'machines'.
-- 'seats' also when only those in front stand in the way.
local function blocked_by(license, quota, group, machine, least)
  if quota.drained then return 'drained' end
  if room_in_group(license, group) < least then return 'cap' end
  if free_seats(license, quota) < least then return 'seats' end
  return is_admitted(license, quota, machine) and 'seats' or 'machines'
end
