-- unregister: remove machines from licenses. One that is busy counts until its last lease has ended,
-- and one that has an offline license until that expires.
--
-- Input
--   KEYS[1]  {org}:clock
--   ARGV     1 context (lib/clock.lua)   2 id of this change   3 entry for the audit
--            4 machines, msgpack: {license, machine id} each
-- Output  reply(clock, 'unregistered')
-- @include keys clock ended machine session lease audit policy seats line

local clock, refusal = open_clock()
if not clock then return refusal end

local licenses = {} -- may name one twice
local offline = {}  -- license -> the machines that hold offline licenses of it
for _, one in ipairs(cmsgpack.unpack(ARGV[4])) do
  local license, machine = one[1], one[2]
  licenses[#licenses + 1] = license
  offline[license] = offline[license] or offline_until(license)
  if offline[license][machine] then
    -- It was issued after the daemon had looked.
  elseif redis.call('HEXISTS', busy_key(license), machine) == 1 then
    redis.call('ZADD', machines_key(license), 'XX', 0, machine)
  else
    forget_machine(license, machine)
  end
end
record_change(clock, ARGV[2], ARGV[3], '')
serve_lines(clock, licenses) -- who waited for a machine may go
return reply(clock, 'unregistered')
