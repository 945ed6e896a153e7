--- Fake events: types, a rate, the numbers that own them, and the seed.
--
-- Each plan has a generator of its own and ticks on the sandbox's clock, so two runs of a virtual clock with one seed
-- publish the same bytes at the same times.
--
-- @module wgtwo.sandbox.generator

local kinds = require "wgtwo.sandbox.kinds"
local random = require "wgtwo.sandbox.random"

local generator = {}

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
  local began = sandbox.clock:now()
  running.timer = sandbox.clock:at(began + 1 / running.rate, function(timer)
    local now = sandbox.clock:now()
    repeat -- several at once where the rate is higher than the turns are
      tick(sandbox, running, r)
      timer.at = began + (running.count + 1) / running.rate
    until timer.at > now
    sandbox.clock:move(timer, timer.at)
  end)
  function running.stop() sandbox.clock:cancel(running.timer) end
  return running
end

return generator
