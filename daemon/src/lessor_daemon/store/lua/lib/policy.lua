-- The policy of a license: groups of those who use it, told apart by a label.
--
-- The quota's field `policy` is a msgpack list of groups, each a map: name, label, value, head_start
-- (ms), reserve and cap (seats; cap -1: none). A process belongs to the first group whose label it
-- carries, or to '' if there is none. `{org}:<license>:groups` counts the seats that groups hold.

local DEFAULT_GROUP = {name = '', head_start = 0, reserve = 0, cap = -1}

local function parse_policy(packed)
  return packed and packed ~= '' and cmsgpack.unpack(packed) or {}
end

-- The group that these labels (a msgpack map) belong to.
local function group_of(policy, labels)
  if #policy == 0 then return DEFAULT_GROUP end
  local carried = cmsgpack.unpack(labels)
  for _, group in ipairs(policy) do
    if carried[group.label] == group.value then return group end
  end
  return DEFAULT_GROUP
end

local function group_use(license, group)
  return tonumber(redis.call('HGET', groups_key(license), group.name) or 0)
end

-- How many seats more the group's cap allows.
local function room_in_group(license, group)
  return group.cap < 0 and math.huge or group.cap - group_use(license, group)
end
