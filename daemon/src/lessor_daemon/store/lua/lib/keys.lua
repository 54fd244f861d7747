-- The names of an organization's keys, for the scripts; store/keys.py has those that the daemon reads itself.
--
-- Every script is called with KEYS[1] = '{org}:clock'. All other keys carry the same hash tag, so
-- they live in the same slot; their names depend on data (a lapsed lease names its license), which
-- is why they are built here and not passed in.

local CLOCK = KEYS[1]
local ORG = string.sub(CLOCK, 1, -6) -- '{org}:'

local LEASES = ORG .. 'leases'   -- zset: lease id -> deadline, all licenses of the organization
local RECORDS = ORG .. 'lease'   -- hash: lease id -> record, see lib/lease.lua
local ENDED = ORG .. 'ended'     -- zset: ended lease id -> see lib/ended.lua
local WAITING = ORG .. 'waiting' -- zset: lease id of a waiter -> when it counts as gone
local WAITERS = ORG .. 'waiter'  -- hash: lease id of a waiter -> record, see lib/line.lua
local ABSENT = ORG .. 'absent'   -- set: waiters that let an offer pass and have not asked since
local ENDING = ORG .. 'ending'   -- hash: lease id -> why it ends, see lib/ending.lua
local NOTICES = ORG .. 'notices' -- hash: lease id -> what its holder is asked, see finish.lua
local LICENSES = ORG .. 'licenses' -- set: names
local EVENTS = ORG .. 'events'   -- stream: sessions that ended
local AUDIT = ORG .. 'audit'     -- stream: changes of administration
local OFFLINE = ORG .. 'offline' -- hash: serial -> record of an offline license, the daemon's own
local FACTS = ORG .. 'facts'     -- hash: name -> what administration said last, see lib/audit.lua
local FACTS_AT = ORG .. 'facts-at' -- zset: the same names by version
local NEWS_CHANNEL = 'lessor:news' -- published: the id of a lease that news.lua has something about

local function quota_key(license) return ORG .. license .. ':quota' end       -- hash
local function use_key(license) return ORG .. license .. ':use' end           -- set: lease ids
local function machines_key(license) return ORG .. license .. ':machines' end -- zset: machine id ->
-- when its registration lapses, see lib/machine.lua
local function busy_key(license) return ORG .. license .. ':busy' end   -- hash: machine id -> leases
local function groups_key(license) return ORG .. license .. ':groups' end -- hash: group -> seats held
-- Waiters of a license, by lease id; see lib/line.lua.
local function queue_key(license) return ORG .. license .. ':queue' end -- zset: all, by place
local function ready_key(license, group) return ORG .. license .. ':ready:' .. group end -- zset
local function parked_key(license, group) return ORG .. license .. ':parked:' .. group end -- zset
local function parked_on_key(license) return ORG .. license .. ':parked-on' end -- zset: by machine
local function registered_key(license) return ORG .. license .. ':registered' end -- hash: e-mail ->
-- since when it is a registered user
local function online_key(license) return ORG .. license .. ':online' end -- hash: e-mail -> lease id
local function offline_key(license) return ORG .. license .. ':offline' end -- zset: serial ->
-- expiry, wall clock seconds
local function offline_on_key(license) return ORG .. license .. ':offline-on' end -- hash: serial ->
-- expiry (wall clock seconds), a blank, machine id
local function seen_key(license) return ORG .. license .. ':seen' end -- hash: machine id -> record,
-- see lib/machine.lua
