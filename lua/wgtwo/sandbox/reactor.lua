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

--- Whether an error is Ctrl-C, which Lua raises wherever it stands. Who catches errors to go on passes this one on.
-- @param err
-- @treturn boolean
function reactor.is_interrupt(err)
  return tostring(err):find("interrupted!", 1, true) ~= nil
end

--- Says what went wrong in a function that reacted, and goes on; Ctrl-C ends `run`.
local function complain(self)
  return function(err)
    if reactor.is_interrupt(err) then
      self.interrupted, self.stopped = true, true
    else
      io.stderr:write("wgtwo sandbox: ", debug.traceback(tostring(err), 2), "\n")
    end
  end
end

--- A reactor.
-- @tparam table clock
-- @treturn table
function reactor.new(clock)
  local self = setmetatable({ clock = clock, handlers = {}, turn_ends = {}, stopped = false, handled = 0, wake = nil },
    Reactor)
  self.complaint = complain(self)
  return self
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

--- Takes a turn at some moment, even if nothing happens until then.
-- @tparam number moment in real time, on the clock of `core.now`
function Reactor:wake_at(moment)
  self.wake = math.min(moment, self.wake or moment)
end

--- How long to wait for news at most.
local function patience(self)
  local timeout, wake = self.clock:timeout(), self.wake
  if not wake then return timeout end
  self.wake = nil
  return math.min(math.max(0, wake - core.now()), timeout or math.huge)
end

--- Handles what is ready, waiting for it first.
function Reactor:turn(list)
  local complaint = self.complaint
  local count = core.poll(patience(self), list)
  self.handled = self.handled + count
  local handlers = self.handlers
  for i = 1, count do
    local op = list[i]
    list[i] = nil
    local f = handlers[op]
    if f then xpcall(f, complaint, op) end
  end
  xpcall(self.clock.run_due, complaint, self.clock)
  for _, f in ipairs(self.turn_ends) do xpcall(f, complaint) end
end

--- Runs until `stop`, or Ctrl-C, which it raises.
function Reactor:run()
  local list = {}
  while not self.stopped do self:turn(list) end
  if self.interrupted then error("interrupted!", 0) end
end

--- Ends `run` after this turn.
function Reactor:stop()
  self.stopped = true
end

return reactor
