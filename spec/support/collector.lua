-- Garbage collection where it hurts most: all the time, and with finalizers in the middle of what is being tested.

local collector = {}

local GARBAGE = 10 -- objects with a finalizer: enough that some die early in a body, and some late

--- Whether the whole run is under a collector that never rests.
collector.restless_always = os.getenv("WGTWO_TEST_GC") ~= nil

--- Makes the collector never rest. A C function that makes a Lua value then meets a step of it.
function collector.restless() collectgarbage("incremental", 1, 1000, 1) end

--- Gives it Lua's own figures back, unless the whole run is to be restless.
function collector.rest()
  collectgarbage("restart")
  if not collector.restless_always then collectgarbage("incremental", 200, 100, 13) end
end

--- Runs `body` under a collector that never rests, with garbage whose finalizers call `finalizer`; all of them have run
-- when it returns.
-- @return as pcall(body)
function collector.amid(finalizer, body)
  collectgarbage("stop")
  for _ = 1, GARBAGE do setmetatable({}, { __gc = function() finalizer() end }) end
  collector.restless()
  collectgarbage("restart")
  local ok, result = pcall(body)
  collectgarbage()
  collector.rest()
  return ok, result
end

return collector
