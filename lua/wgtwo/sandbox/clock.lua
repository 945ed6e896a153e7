--- The sandbox's time, and what is to be done at some time.
--
-- A real clock goes with this machine's; a virtual one starts at the same moment in every run and moves only when it
-- is advanced, so that hours pass in milliseconds and two runs see the same times. Everything of the sandbox that
-- waits, waits here: acknowledgement timeouts, expiry of tokens and positions, ages of connections, delays of faults.
--
-- @module wgtwo.sandbox.clock

local core = require "wgtwo.core"
local timers = require "wgtwo.timers"

local Clock = {}
Clock.__index = Clock

local clock = {}

--- Where virtual time begins: 2026-01-01 00:00:00 UTC.
clock.EPOCH = 1767225600

--- Where virtual time ends: 9999-01-01. Timestamps have a year more, for what is a little ahead.
clock.LATEST = 253370764800

--- A clock.
-- @tparam boolean virtual
-- @treturn table
function clock.new(virtual)
  return setmetatable({ virtual = virtual, time = virtual and clock.EPOCH or nil, heap = timers.new(), fired = 0 },
    Clock)
end

--- The time now.
-- @treturn number seconds since 1970
function Clock:now()
  return self.time or core.time()
end

--- Does something at a time; at once at the next turn if that has passed.
-- @tparam number time seconds since 1970
-- @tparam function f called with the timer
-- @treturn table the timer, for `cancel` and `move`
function Clock:at(time, f)
  local timer = { at = time, f = f }
  timers.push(self.heap, timer)
  return timer
end

--- Does something after some seconds.
function Clock:after(seconds, f)
  return self:at(self:now() + seconds, f)
end

--- Gives a timer another time, whether it has fired or not.
function Clock:move(timer, time)
  timers.remove(self.heap, timer)
  timer.at = time
  timers.push(self.heap, timer)
end

--- Takes back a timer; nothing happens when it has fired.
function Clock:cancel(timer)
  if timer then timers.remove(self.heap, timer) end
end

local function fire(self, timer)
  self.fired = self.fired + 1
  timers.remove(self.heap, timer)
  timer.f(timer)
end

--- Ends `run_due` after this timer, where the clock is real: the rest is done in the next turn.
function Clock:yield()
  self.yielding = not self.virtual
end

--- Does what is due now.
function Clock:run_due()
  local heap = self.heap
  if not heap[1] then return end
  local now = self:now()
  self.yielding = false
  while heap[1] and heap[1].at <= now and not self.yielding do fire(self, heap[1]) end
end

--- How long the reactor may sleep.
-- @treturn ?number seconds; nil: until something happens
function Clock:timeout()
  local first = self.heap[1]
  if not first then return nil end
  local left = first.at - self:now()
  if left <= 0 then return 0 end
  return not self.virtual and left or nil
end

--- Lets virtual time pass. What falls into it is done in its order, each at its own time.
-- @tparam number seconds
-- @treturn ?number the time after; nil where the clock is real, or would go too far
-- @treturn ?string why not
function Clock:advance(seconds)
  if not self.virtual then return nil, "the clock is real: start the sandbox with clock = \"virtual\"" end
  local target, heap = self.time + seconds, self.heap
  if target > clock.LATEST then return nil, "virtual time ends with the year 9998" end
  while heap[1] and heap[1].at <= target do
    self.time = math.max(self.time, heap[1].at)
    fire(self, heap[1])
  end
  self.time = target
  return target
end

--- A time as messages show it: in whole microseconds.
-- @tparam number time seconds since 1970
-- @treturn int
function clock.micros(time)
  return math.floor(time * 1e6 + 0.5)
end

--- A time as protobuf's Timestamp.
-- @tparam number time
-- @tparam ?table into to be filled; nil: a new one
-- @treturn table
function clock.timestamp(time, into)
  local micros = clock.micros(time)
  into = into or {}
  into.seconds, into.nanos = micros // 1000000, micros % 1000000 * 1000
  return into
end

--- The seconds of a Timestamp or Duration message.
-- @tparam message m
-- @treturn number
function clock.seconds(m)
  return m.seconds + m.nanos / 1e9
end

--- A time as text, in UTC.
-- @tparam number time
-- @treturn string "2026-01-01T00:00:00.000Z"
function clock.format(time)
  local millis = math.floor(time * 1000 + 0.5)
  return os.date("!%Y-%m-%dT%H:%M:%S", millis // 1000) .. (".%03dZ"):format(millis % 1000)
end

return clock
