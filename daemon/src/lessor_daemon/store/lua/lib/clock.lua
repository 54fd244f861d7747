-- The lease clock and the epoch, opened first by every script.
--
-- ARGV[1] is the caller's context, eight words:
--   claim      how far the caller says the lease clock is by now, ms; '-' without an anchor
--   seen       the value of the clock in the reply that the claim rests on, ms
--   epoch      the epoch number of that reply
--   replid     the replication id of that reply
--   highest    the highest epoch number the caller has ever seen
--   floor      the least number a new epoch may have (seconds since 2020)
--   recovery   how long nothing is granted after a loss of memory, ms (G)
--   trust      'durable': a restart of this server loses nothing; 'new': a store without a clock is
--              a new one, not an emptied one; 'none'
--
-- A changed replication id, an epoch below `highest`, or in the same epoch a clock below `seen` is a
-- store that lost its memory. So is one that went on in trust from an epoch to this one, past a `highest` in
-- between or at a clock below `seen`: who called it first after the loss did not know as much. The script
-- that notices opens a new epoch, and grants stop for `recovery` ms.

--
-- The clock's field `unserved` says that some line may have a turn which no script has served: grants
-- stopped for a while and go on, or one call had served as many as it may. Until `reap` has
-- looked after all lines, replies say that something is due now.

local SCHEMA = 1

local function mark_unserved(clock)
  clock.unserved = true
  redis.call('HSET', CLOCK, 'unserved', 1)
end

local function open_clock()
  -- A Cluster that is just moving this slot to another node, key by key, fails a script in its
  -- middle, at the first key that is not here, and what it had written stays. So each script asks
  -- first for a key that never exists: there it fails with nothing written. Otherwise it says 0.
  redis.call('EXISTS', ORG .. 'never')
  local claim, seen, epoch, replid, highest, floor, recovery, trust = string.match(
    ARGV[1], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$')
  local stored = redis.call('HMGET', CLOCK, 'now', 'epoch', 'replid', 'grace_until', 'schema',
    'unserved', 'lost_epoch', 'epoch_before', 'now_before')
  if tonumber(stored[5] or SCHEMA) > SCHEMA then
    return nil, redis.error_reply('NEWERSCHEMA the store was written by a newer Lessor')
  end
  local clock = {
    now = tonumber(stored[1] or 0),
    epoch = tonumber(stored[2] or 0),
    replid = stored[3],
    grace_until = tonumber(stored[4] or 0),
    recovery = tonumber(recovery),
    unserved = stored[6] ~= false,
    lost_epoch = tonumber(stored[7] or stored[2] or 0),
  }
  local here = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  local same_epoch = tonumber(epoch) == clock.epoch and replid == clock.replid
  local rolled_back = tonumber(highest) > clock.epoch
    or (tonumber(epoch) == clock.epoch and tonumber(seen) > clock.now)
  local epoch_before, now_before = tonumber(stored[8] or clock.epoch), tonumber(stored[9] or 0)
  if clock.lost_epoch < clock.epoch and epoch_before < clock.epoch then
    rolled_back = rolled_back
      or (tonumber(highest) > epoch_before and tonumber(highest) < clock.epoch)
      or (tonumber(epoch) == epoch_before and tonumber(seen) > now_before)
  end

  if rolled_back or here ~= clock.replid then
    epoch_before = clock.epoch
    clock.epoch = math.max(clock.epoch, tonumber(highest), tonumber(floor) - 1) + 1
    clock.replid = here
    local nothing_lost = trust == 'durable' or (trust == 'new' and not stored[3])
    if rolled_back or not nothing_lost then
      clock.grace_until = clock.now + clock.recovery
      clock.lost_epoch = clock.epoch
    end
    redis.call('HSET', CLOCK, 'now', clock.now, 'epoch', clock.epoch, 'replid', here,
      'grace_until', clock.grace_until, 'counter', 0, 'schema', SCHEMA,
      'lost_epoch', clock.lost_epoch, 'epoch_before', epoch_before, 'now_before', clock.now)
  elseif same_epoch and claim ~= '-' and tonumber(claim) > clock.now then
    local was_recovering = clock.now < clock.grace_until
    clock.now = tonumber(claim)
    redis.call('HSET', CLOCK, 'now', clock.now)
    if was_recovering and clock.now >= clock.grace_until then mark_unserved(clock) end
  end
  clock.recovering = clock.now < clock.grace_until
  return clock
end

-- What every script answers: a status, the clock, and what the caller needs to keep it running
-- (when there is something to reap: the earliest deadline of a lease or a waiter, now if a line is
-- unserved, -1 for never), then the script's own part.
local function reply(clock, status, ...)
  local lease = tonumber(redis.call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')[2])
  local waiter = tonumber(redis.call('ZRANGE', WAITING, 0, 0, 'WITHSCORES')[2])
  local unserved = clock.unserved and clock.now or math.huge
  local next_deadline = math.min(lease or math.huge, waiter or math.huge, unserved)
  if next_deadline == math.huge then next_deadline = -1 end
  local recovering = clock.recovering and clock.grace_until - clock.now or 0
  return {status, clock.now, clock.epoch, clock.replid, recovering, next_deadline, ...}
end

local TOKENS_AN_EPOCH = 8388608 -- 2^23

-- Strictly increasing over all epochs: 30 bits of epoch, 23 of counter.
local function next_token(clock)
  local counter = redis.call('HINCRBY', CLOCK, 'counter', 1)
  if counter >= TOKENS_AN_EPOCH then
    clock.epoch = clock.epoch + 1
    redis.call('HSET', CLOCK, 'epoch', clock.epoch, 'counter', 0,
      'epoch_before', clock.epoch - 1, 'now_before', clock.now)
    counter = 0
  end
  return clock.epoch * TOKENS_AN_EPOCH + counter
end

-- Whether it was granted after the store had lost its memory the last time.
local function is_since_loss(clock, token)
  return math.floor(token / TOKENS_AN_EPOCH) >= clock.lost_epoch
end
