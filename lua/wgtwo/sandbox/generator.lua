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
--   events are for all); one that `describe` gave goes on where it was
-- @tparam int serial which plan it is
-- @treturn table with `stop` and `describe`
function generator.start(sandbox, plan, serial)
  local running = { types = plan.types or kinds.names(), rate = plan.rate or 1, numbers = plan.numbers,
    client = plan.client, count = math.tointeger(plan.count) or 0 }
  local r = random.new(sandbox.settings.seed, ("generator %d %s"):format(serial, plan.client or ""))
  if plan.random then r.state = assert(math.tointeger(tonumber(plan.random)), "random") end
  local clock = sandbox.clock
  local began = clock:now() + (plan.left and plan.left - (running.count + 1) / running.rate or 0)
  running.timer = clock:at(began + (running.count + 1) / running.rate, function(timer)
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
  function running.describe() -- the generator's state as text: 64 bits do not fit JSON's numbers
    return { types = plan.types, rate = running.rate, numbers = plan.numbers, client = plan.client,
      count = running.count, random = ("%d"):format(r.state), left = running.timer.at - clock:now() }
  end
  return running
end

return generator
