--- A scenario: a Lua script that lets exact things happen in a sandbox at exact times, waits, checks, and ends with an
-- exit code.
--
--     lua5.4 -e 'require("wgtwo.sandbox").main()' -- --clock virtual --scenario delivery.lua
--
-- The script gets one value, the scenario, with the sandbox (`wgtwo.sandbox`, all its methods) in it:
--
--     local scenario = ...
--     local sandbox = scenario.sandbox
--     scenario:wait("the handler subscribes", function() return #sandbox:streams() == 1 end)
--     scenario:at(60)
--     local id = sandbox:publish{ type = "SMS_EVENT", number = "+4799990001", payload = { text = "hi" } }
--     scenario:wait("the handler acknowledges", function() return scenario:event(id).acks == 1 end)
--     scenario:check(scenario:event(id).deliveries == 1, "it was delivered once")
--
-- It runs in a process of its own beside the sandbox, which ends with it. The first line on standard output is the
-- sandbox's ready line; what happens is told on standard error. The exit code is 0 at the script's end, or the integer
-- from 0 to 255 that it returns; 1 when a check or a wait fails, an error is raised, or it returns anything else, such
-- as nil and an error; 2 when it cannot begin.
--
-- @module wgtwo.sandbox.scenario

local core = require "wgtwo.core"
local loop = require "wgtwo.loop"
local receiver = require "wgtwo.receiver"
local sandbox = require "wgtwo.sandbox"

local Scenario = {}
Scenario.__index = Scenario

local scenario = {}

local WAIT_TIMEOUT <const>, LOOK_EVERY <const>, LATE <const> = 10, 0.02, 0.1 -- seconds
local MAX_EXIT_CODE <const> = 255

-- What a failed check or wait raises: the message is enough, no traceback helps.
local Failure = { __tostring = function(failure) return failure.message end }

local function fail(message)
  error(setmetatable({ message = message }, Failure), 0)
end

--- Raises, at the line of the script, where an argument is of another type.
local function needs(wanted, value, what)
  if type(value) == wanted then return end
  error(("scenario:%s must be a %s, not a %s"):format(what, wanted, type(value)), 3)
end

--- Seconds on the sandbox's clock since the scenario began.
-- @treturn number
function Scenario:elapsed()
  return assert(self.sandbox:time()) - self.began
end

--- Tells something on standard error, with the time.
-- @tparam string text
function Scenario:say(text)
  io.stderr:write(("%9.3f s  %s\n"):format(self:elapsed(), tostring(text)))
end

--- Lets the sandbox's time come: virtual time is advanced, real time is waited for.
--
-- Real time that has passed in waits and checks, or because the machine is slow, is no mistake of the script: then it
-- goes on at once, and says how late it is.
-- @tparam number seconds since the scenario began
-- @raise when that has passed already, on a virtual clock; on a real one when the script itself has let a later time
--   come before, by `at` or `sleep`
-- @usage scenario:at(3600)
function Scenario:at(seconds)
  needs("number", seconds, "at: seconds")
  local now = self:elapsed()
  local left = seconds - now
  if seconds < (self.virtual and now or self.reached) then fail(("%g s is over: it is %.3f s"):format(seconds, now)) end
  self.reached = seconds
  if self.virtual then
    assert(self.sandbox:advance(left))
  elseif left > 0 then
    loop.sleep(left)
  elseif left < -LATE then
    self:say(("late: %g s was to come %.3f s ago"):format(seconds, -left))
  end
end

--- Lets so many seconds pass on the sandbox's clock.
-- @tparam number seconds
function Scenario:sleep(seconds)
  needs("number", seconds, "sleep: seconds")
  self:at(self:elapsed() + seconds)
end

--- Waits until something is so.
-- @tparam string what for the message
-- @tparam function is_so asked again and again
-- @tparam ?number timeout in real seconds, since clients are real; default 10
-- @return what is_so gave
-- @raise when it was not so in time
-- @usage scenario:wait("two streams are open", function() return #sandbox:streams() == 2 end)
function Scenario:wait(what, is_so, timeout)
  needs("string", what, "wait: what")
  needs("function", is_so, "wait: is_so")
  timeout = timeout or WAIT_TIMEOUT
  local deadline = core.now() + timeout
  while true do
    local value = is_so()
    if value then
      self:say("so it is: " .. what)
      return value
    end
    if core.now() >= deadline then fail(("not so within %g s: %s"):format(timeout, what)) end
    loop.sleep(LOOK_EVERY)
  end
end

--- Checks that something is so.
-- @param value anything but nil and false
-- @tparam string what for the message
-- @return value
function Scenario:check(value, what)
  if not value then fail("not so: " .. tostring(what)) end
  self:say("so it is: " .. tostring(what))
  return value
end

--- One event of the history.
-- @tparam int id of `sandbox:publish`
-- @treturn table as `sandbox:events` gives it
function Scenario:event(id)
  needs("number", id, "event: id")
  local found = assert(self.sandbox:events{ after = id - 1 })[1]
  if not found or found.id ~= id then fail(("event %s is not in the history"):format(id)) end
  return found
end

receiver.check(Scenario, "scenario")

local function begin(settings)
  local running, problem = sandbox.start(settings)
  if not running then return nil, tostring(problem) end
  return setmetatable({ sandbox = running, virtual = settings.clock == "virtual", began = assert(running:time()),
    reached = 0 }, Scenario)
end

--- What the script ended with, as an exit code.
local function exit_code(ok, result, reason)
  if ok then
    if result == nil and reason == nil then return 0 end
    local code = type(result) == "number" and math.tointeger(result)
    if code and code >= 0 and code <= MAX_EXIT_CODE then return code end
    result = result == nil and reason
      or ("the script returned %s: an exit code is an integer from 0 to %d"):format(tostring(result), MAX_EXIT_CODE)
  end
  if getmetatable(result) ~= Failure and tostring(result):find("interrupted!", 1, true) then return 130 end
  io.stderr:write("wgtwo sandbox: scenario: ", tostring(result), "\n")
  return 1
end

local function traceback(err)
  if type(err) ~= "string" then return err end
  return debug.traceback(err, 2)
end

--- Runs a scenario.
-- @tparam table settings of `wgtwo.sandbox.start`
-- @tparam string path of the script
-- @treturn int exit code
function scenario.run(settings, path)
  local script, problem = loadfile(path)
  local self
  if script then self, problem = begin(settings) end
  if not self then
    io.stderr:write("wgtwo sandbox: scenario: ", problem, "\n")
    return 2
  end
  local running <close> = self.sandbox
  io.stdout:write(running.ready_line, "\n")
  io.stdout:flush()
  return exit_code(xpcall(script, traceback, self))
end

return scenario
