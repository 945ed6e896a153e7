--- Fake events: types, a rate, the numbers that own them, and the seed.
--
-- Each plan has a generator of its own and ticks on the sandbox's clock, so two runs of a virtual clock with one seed
-- publish the same bytes at the same times.
--
-- @module wgtwo.sandbox.generator

local kinds = require "wgtwo.sandbox.kinds"
local random = require "wgtwo.sandbox.random"

local generator = {}

local BATCH <const>, BEHIND <const> = 50, 0.5 -- events; seconds

--- Publishes one event of a plan.
local function tick(sandbox, plan, r)
  plan.count = plan.count + 1
  local name = plan.types[(plan.count - 1) % #plan.types + 1]
  local pool = plan.numbers or sandbox:pool(plan.client)
  sandbox:publish_event{ kind = name, number = r:pick(pool), client = plan.client, random = r }
end

--- Starts a plan.
-- @tparam table sandbox the server
-- @tparam table plan `types`, `rate` (events a second), `numbers` (default: the client's pool), `client` (default: the
--   events are for all)
-- @tparam int serial which plan it is
-- @treturn table with `stop`
function generator.start(sandbox, plan, serial)
  local running = { types = plan.types or kinds.names(), rate = plan.rate or 1, numbers = plan.numbers,
    client = plan.client, count = 0 }
  local r = random.new(sandbox.settings.seed, ("generator %d %s"):format(serial, plan.client or ""))
  local clock = sandbox.clock
  local began = clock:now()
  running.timer = clock:at(began + 1 / running.rate, function(timer)
    local now, batch = clock:now(), 0
    repeat -- several in one turn of the reactor where the rate is higher than the turns are, but calls come in between
      tick(sandbox, running, r)
      batch = batch + 1
      timer.at = began + (running.count + 1) / running.rate
    until timer.at > now or batch == BATCH
    if timer.at < now - BEHIND then -- faster than this machine: what is late is left out
      began = began + now - timer.at
      timer.at = now
    end
    clock:move(timer, math.max(timer.at, now))
    clock:yield()
  end)
  function running.stop() sandbox.clock:cancel(running.timer) end
  return running
end

return generator
