-- The memory of ended leases: a delayed acquire must not revive one, a late renewal is told why.
--
-- Score = (lease clock until which it is remembered) * 16 + reason.

local REASONS = {
  'released', 'lapsed', -- the next ones are not the holder's doing, see lib/ending.lua
  'ended', 'taken_over', 'withdrawn', 'member_removed', 'machine_removed', 'key_revoked',
  'idle',
}
local REASON_NUMBERS = {}
for number, reason in ipairs(REASONS) do REASON_NUMBERS[reason] = number end
local FORGET_AT_ONCE = 100 -- per call, so that no call pays for a burst

local function remember_ended(clock, id, reason)
  redis.call('ZADD', ENDED, (clock.now + clock.recovery) * 16 + REASON_NUMBERS[reason], id)
  local old = redis.call('ZRANGEBYSCORE', ENDED, '-inf', clock.now * 16, 'LIMIT', 0, FORGET_AT_ONCE)
  if #old > 0 then redis.call('ZREM', ENDED, unpack(old)) end
end

-- Why the lease ended, or nil when it is not known to have.
local function ended_reason(id)
  local score = redis.call('ZSCORE', ENDED, id)
  return score and REASONS[score % 16]
end
