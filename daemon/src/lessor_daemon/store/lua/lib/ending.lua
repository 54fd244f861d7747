-- Leases that somebody else than the holder ends. Such a lease is *ending*: still counted, since its
-- process still runs, and not renewable, so that it is dead by its deadline. It is freed when the
-- kill is reported (release), or at the deadline.

-- Answers whether it was not ending before; the first reason stays.
local function mark_ending(id, lease, reason, text)
  if lease.ending or lease.offered then return false end
  lease.ending = true
  write_record(id, lease)
  redis.call('HSET', ENDING, id, reason .. ' ' .. text)
  redis.call('PUBLISH', NEWS_CHANNEL, id)
  return true
end

-- End the online session of a registered user, if there is one. Answers how many that were.
local function end_online(license, email, reason, text)
  local id = redis.call('HGET', online_key(license), email)
  local lease = id and find_lease(id)
  return lease and mark_ending(id, lease, reason, text) and 1 or 0
end
