-- Registered machines of a license: when a registration lapses, and when a machine was seen.
--
-- A machine's score is 'inf' (registered until somebody removes it), 0 (ephemeral: until its last
-- lease) or, while it is idle on a license with a retention, the wall clock second when it lapses. A
-- machine with an offline license counts as used until that expires.
-- `{org}:<license>:seen` holds a msgpack array per machine: first and last seen (wall clock seconds
-- of the store), name. These decide nothing but the retention.

local DROP_AT_ONCE = 100 -- per call, so that no call pays for a fleet that went home

local function wall_seconds()
  return tonumber(redis.call('TIME')[1])
end

-- Register the lease's machine: until its last lease ends, or for good. 'GT' keeps 'inf' over 0.
-- Answers whether it was not registered so before.
local function register_machine(lease, until_last_lease)
  return redis.call('ZADD', machines_key(lease.license), 'GT', 'CH',
    until_last_lease and 0 or 'inf', lease.machine) == 1
end

-- Of a holder, scripts read the machine's name and the labels: its first item and its sixth.
local function holder_item(lease, number)
  local held = cmsgpack.unpack(lease.holder)
  return type(held) == 'table' and held[number] or nil
end

local function name_of_machine(lease) return holder_item(lease, 1) or '' end

local function labels_of(lease) return holder_item(lease, 6) end

local function note_seen(lease)
  local seen = redis.call('HGET', seen_key(lease.license), lease.machine)
  local now = wall_seconds()
  local first = seen and cmsgpack.unpack(seen)[1] or now
  redis.call('HSET', seen_key(lease.license), lease.machine,
    cmsgpack.pack({first, now, name_of_machine(lease)}))
end

local function forget_machine(license, machine)
  redis.call('ZREM', machines_key(license), machine)
  redis.call('HDEL', seen_key(license), machine)
end

-- The machines that hold offline licenses: machine id -> when the last of them expires.
local function offline_until(license)
  local latest = {}
  for _, held in ipairs(redis.call('HVALS', offline_on_key(license))) do
    local expiry, machine = string.match(held, '^(%d+) (.*)$')
    latest[machine] = math.max(latest[machine] or 0, tonumber(expiry))
  end
  return latest
end

-- The machines that are in use, as the keys of a table, and how many they are. Asked only where more
-- are registered than the quota allows: it looks at all of them.
local function machines_in_use(license)
  local used, count = offline_until(license), 0
  for _, machine in ipairs(redis.call('HKEYS', busy_key(license))) do used[machine] = 0 end
  for _ in pairs(used) do count = count + 1 end
  return used, count
end

-- When the registration of a machine lapses that is not busy. `retention` in seconds, -1: never.
-- `offline` is what `offline_until` found, for who asks about many.
local function lapses_at(license, machine, retention, offline)
  if retention < 0 then return 'inf' end
  local used_until = (offline or offline_until(license))[machine] or 0
  return math.max(wall_seconds(), used_until) + retention
end

local function retention_of(license)
  return tonumber(redis.call('HGET', quota_key(license), 'retention') or -1)
end

-- What offline licenses may run on a machine has changed.
local function reschedule_machine(license, machine)
  local is_busy = redis.call('HEXISTS', busy_key(license), machine) == 1
  local lapses = is_busy and 'inf' or lapses_at(license, machine, retention_of(license))
  redis.call('ZADD', machines_key(license), lapses, machine)
end

local function machine_busy(lease)
  if redis.call('HINCRBY', busy_key(lease.license), lease.machine, 1) == 1 then note_seen(lease) end
end

local function machine_less_busy(lease)
  local license, machine = lease.license, lease.machine
  if redis.call('HINCRBY', busy_key(license), machine, -1) > 0 then return end
  redis.call('HDEL', busy_key(license), machine)
  local score = redis.call('ZSCORE', machines_key(license), machine)
  if not score then return end -- removed by an admin while it was busy
  if score == '0' then return forget_machine(license, machine) end
  note_seen(lease)
  redis.call('ZADD', machines_key(license), lapses_at(license, machine, retention_of(license)), machine)
end

-- Un-register machines that were idle for as long as the license retains them. One whose offline license
-- still counts stays: that expires by two clocks (lib/offline.lua), and this is the store's alone.
local function drop_idle_machines(license)
  local idle = redis.call('ZRANGEBYSCORE', machines_key(license), '(0',
    string.format('%.0f', wall_seconds()), 'LIMIT', 0, DROP_AT_ONCE)
  local dropped, offline = 0, #idle > 0 and offline_until(license)
  for _, machine in ipairs(idle) do
    if offline[machine] then
      local lapses = lapses_at(license, machine, retention_of(license), offline)
      redis.call('ZADD', machines_key(license), lapses, machine)
    elseif redis.call('HEXISTS', busy_key(license), machine) == 0 then
      forget_machine(license, machine)
      dropped = dropped + 1
    end
  end
  return dropped
end

-- A license's retention (seconds, -1: until removed) has changed: idle machines follow it.
local function apply_retention(license, retention)
  local machines = redis.call('ZRANGEBYSCORE', machines_key(license), '(0', '+inf')
  local offline = offline_until(license)
  for _, machine in ipairs(machines) do
    if redis.call('HEXISTS', busy_key(license), machine) == 0 then
      local lapses = lapses_at(license, machine, retention, offline)
      redis.call('ZADD', machines_key(license), lapses, machine)
    end
  end
end
