--- The sandbox's own loop: operations of the core to the functions that handle them, and timers.
--
-- Everything in the sandbox reacts: to a call, a message, a request, a timer. Nothing waits, so no coroutine is needed,
-- and one slow client holds up nobody.
--
-- @module wgtwo.sandbox.reactor

local core = require "wgtwo.core"

local Reactor = {}
Reactor.__index = Reactor

local reactor = {}

--- A reactor.
-- @tparam table clock
-- @treturn table
function reactor.new(clock)
  return setmetatable({ clock = clock, handlers = {}, turn_ends = {}, stopped = false }, Reactor)
end

--- Calls a function whenever an operation has news. An operation is kept alive as long as it is watched.
-- @tparam userdata op
-- @tparam function f called with op
function Reactor:watch(op, f)
  self.handlers[op] = f
end

--- No more.
function Reactor:forget(op)
  self.handlers[op] = nil
end

--- Calls a function at the end of each turn, after everything that was ready has been handled.
function Reactor:at_turn_end(f)
  self.turn_ends[#self.turn_ends + 1] = f
end

local function complain(err)
  io.stderr:write("wgtwo sandbox: ", debug.traceback(tostring(err), 2), "\n")
end

--- Handles what is ready, waiting for it first.
function Reactor:turn(list)
  local count = core.poll(self.clock:timeout(), list)
  local handlers = self.handlers
  for i = 1, count do
    local op = list[i]
    list[i] = nil
    local f = handlers[op]
    if f then xpcall(f, complain, op) end
  end
  xpcall(self.clock.run_due, complain, self.clock)
  for _, f in ipairs(self.turn_ends) do xpcall(f, complain) end
end

--- Runs until `stop`.
function Reactor:run()
  local list = {}
  while not self.stopped do self:turn(list) end
end

--- Ends `run` after this turn.
function Reactor:stop()
  self.stopped = true
end

return reactor
