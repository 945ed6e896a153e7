-- The tests of real clients: each gets a sandbox of its own; the run ends with `N passed, N failed, N skipped`.
-- A tool that cannot be had makes its tests skipped, with the reason; one that is there and fails makes them failed.

local core = require("wgtwo.core")
local loop = require("wgtwo.loop")
local sandbox = require("wgtwo.sandbox")

local suite = { passed = 0, failed = 0, skipped = 0 }

local PATIENCE <const>, PAUSE <const> = 20, 0.02 -- seconds

local function say(word, name, text)
  print(("%-7s %s%s"):format(word, name, text and ": " .. text or ""))
  io.stdout:flush()
end

local function run(name, f, options)
  local began = core.now()
  local ok, problem = xpcall(function()
    local running <close> = assert(sandbox.start(options))
    f(running)
  end, debug.traceback)
  if ok then
    suite.passed = suite.passed + 1
    say("ok", ("%s (%.1f s)"):format(name, core.now() - began))
  else
    suite.failed = suite.failed + 1
    say("FAILED", name, tostring(problem))
  end
end

--- A function that runs the tests of one tool: `test(name, f, sandbox_options)`; `f` gets the sandbox.
-- @tparam string tool
-- @tparam ?string missing why it cannot be had
-- @treturn function
function suite.tests_of(tool, missing)
  return function(name, f, options)
    name = tool .. " " .. name
    if not missing then return run(name, f, options) end
    suite.skipped = suite.skipped + 1
    say("skipped", name, missing)
  end
end

--- Waits until a function gives something.
-- @raise when it does not in time
function suite.eventually(what, f)
  local deadline = core.now() + PATIENCE
  while true do
    local value = f()
    if value then return value end
    if core.now() > deadline then error("it did not come to pass: " .. what, 2) end
    loop.sleep(PAUSE)
  end
end

--- Waits until so many events were acknowledged, each once.
function suite.acknowledged(running, count)
  suite.eventually(count .. " events are acknowledged", function()
    local acked = 0
    for _, event in ipairs(assert(running:events())) do
      if event.acks > 0 then acked = acked + 1 end
    end
    return acked == count
  end)
end

--- Waits until so many streams of a method are open.
function suite.streams(running, method, count)
  suite.eventually(("%d streams of %s"):format(count, method), function()
    return #assert(running:streams{ method = method }) == count
  end)
end

--- Raises unless two values are the same.
function suite.equal(wanted, got, what)
  if wanted ~= got then
    error(("%s: wanted %s, got %s"):format(what or "values differ", tostring(wanted), tostring(got)), 2)
  end
end

--- Raises unless a text contains each of these.
function suite.contains(text, ...)
  for _, part in ipairs{ ... } do
    if not text:find(part, 1, true) then error(("%q is not in:\n%s"):format(part, text), 2) end
  end
end

--- The journal's only call of a method.
function suite.only_call(running, method)
  local list = assert(running:journal{ method = method })
  suite.equal(1, #list, "calls of " .. method)
  return list[1]
end

--- Prints the counts.
-- @treturn boolean whether nothing failed
function suite.close()
  print(("%d passed, %d failed, %d skipped"):format(suite.passed, suite.failed, suite.skipped))
  return suite.failed == 0
end

return suite
