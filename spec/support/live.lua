-- What a test must not leave behind: C objects, file descriptors, memory.
-- As busted's helper (.busted) it looks after each `it` that began with no live object, and after each file, that none
-- is alive.
-- As a module it gives the counts: `local live = require("spec.support.live")`.

local patience = require("spec.support.patience")

local live = {}

local function core()
  local loaded = package.loaded["wgtwo.core"]
  return type(loaded) == "table" and loaded or nil
end

--- Live C objects, after two full collections.
-- @treturn int their number
-- @treturn table number by kind
function live.count()
  if not core() then return 0, {} end
  collectgarbage()
  collectgarbage()
  return core().live()
end

--- Waits until what was closed has also ended on the I/O thread.
-- @tparam[opt] number seconds how long at most
-- @treturn int live objects that are left
-- @treturn table number by kind
function live.settle(seconds)
  local count, kinds = live.count()
  if count == 0 then return 0, kinds end
  local deadline = core().now() + (seconds or patience.limit)
  while count > 0 and core().now() < deadline do
    core().poll(0.005, {})
    count, kinds = live.count()
  end
  return count, kinds
end

--- One line that names the kinds: "2 live objects: 1 wgtwo.call, 1 wgtwo.channel".
function live.describe(count, kinds)
  local parts = {}
  for kind, number in pairs(kinds) do
    parts[#parts + 1] = ("%d %s"):format(number, kind)
  end
  table.sort(parts)
  return ("%d live objects: %s"):format(count, table.concat(parts, ", "))
end

--- Raises when something is alive.
function live.check(where)
  local count, kinds = live.settle()
  if count ~= 0 then error(("%s left %s"):format(where, live.describe(count, kinds)), 2) end
end

--- Open file descriptors of this process.
function live.fds()
  local count = -1 -- the one that reads the folder
  for name in require("lfs").dir("/proc/self/fd") do
    if name:match("^%d+$") then count = count + 1 end
  end
  return count
end

--- Resident memory of this process in bytes.
function live.resident()
  for line in io.lines("/proc/self/status") do
    local kilobytes = line:match("^VmRSS:%s*(%d+) kB")
    if kilobytes then return tonumber(kilobytes) * 1024 end
  end
  error("no VmRSS in /proc/self/status")
end

local function subscribe()
  local busted = require("busted")
  local clean_before

  busted.before_each(function()
    clean_before = live.count() == 0
  end)

  busted.after_each(function()
    if clean_before then live.check("the test") end
  end)

  busted.subscribe({ "file", "end" }, function(element)
    local ok, problem = pcall(live.check, element.name)
    if not ok then busted.publish({ "error", "file" }, element, busted.parent(element), problem, {}) end
    return nil, true
  end, { priority = 1 })
end

if os.getenv("WGTWO_TEST_GC") then collectgarbage("incremental", 1, 1000, 1) end
if not package.loaded["spec.support.live"] then
  package.loaded["spec.support.live"] = live
  if package.loaded["busted"] then subscribe() end
end

return live
