-- The two quotas of a license.

local function read_quota(license)
  local fields = redis.call('HMGET', quota_key(license),
    'seats', 'machines', 'offline', 'ttl', 'kind', 'expires', 'starts')
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
  }
end

-- What keeps `machine` from one more seat: 'seats', 'machines' or nil. Here the promise is decided.
local function blocked_by(license, quota, machine)
  if redis.call('SCARD', use_key(license)) >= quota.seats - quota.offline then
    return 'seats'
  end
  if quota.machines >= 0
    and not redis.call('ZSCORE', machines_key(license), machine)
    and redis.call('ZCARD', machines_key(license)) >= quota.machines
  then
    return 'machines'
  end
  return nil
end
