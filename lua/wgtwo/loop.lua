--- The scheduler: tasks, waiting, and the face for other event loops.
--
-- A task is a coroutine of this scheduler (`spawn`). Where a task waits (in any call of this rock) it yields, and
-- others run. Elsewhere, in the main chunk or a coroutine of the script's own, a wait drives the loop until it is over,
-- so that tasks run meanwhile; such waits may be nested. Everything is on the Lua thread; Ctrl-C raises
-- "interrupted!" out of the wait that drives.
--
-- `pollfd`, `events`, `timeout` and `step` let another event loop drive instead: they follow the convention of
-- cqueues, and may be called with `.` or `:`.
--
--     local cq = cqueues.new()
--     cq:wrap(function()
--       while true do cqueues.poll(wgtwo.loop) wgtwo.loop.step() end
--     end)
--
-- @module wgtwo.loop

local core = require "wgtwo.core"
local limits = require "wgtwo.limits"
local tasks = require "wgtwo.tasks"
local waiters = require "wgtwo.waiters"

local loop = {}

local running, yield, isyieldable = coroutine.running, coroutine.yield, coroutine.isyieldable
local resume, status = coroutine.resume, coroutine.status
local background = tasks.background

local state = tasks.state

--- Seconds on a clock that only goes forward.
-- @function now
-- @treturn number
loop.now = core.now

--- The moment when a timeout ends. One that is over already, 0 or less, is fine: then nothing is waited for.
-- @function deadline
-- @tparam ?number timeout in seconds, nil: never
-- @tparam[opt=2] int level whose line an error names, as for `error`
-- @treturn ?number on the clock of `now`, as `wait` takes a deadline
-- @raise for anything else than a number
loop.deadline = waiters.deadline

-- Waiting -----------------------------------------------------------------------------------------------------------

-- One wait outside of tasks, reused by all of its depth. Closing it takes it out of every list, however the wait ended.
local Driver = {}

function Driver:__close(err)
  local interrupted = state.current
  if err ~= nil and interrupted and interrupted ~= self.before then tasks.settle_interrupted(interrupted, err) end
  waiters.remove(self)
  self.reason = nil
  state.depth = self.depth - 1
  state.current = self.before
end

local drivers = setmetatable({}, {
  __index = function(drivers, level)
    local driver = setmetatable({ depth = level, list = {} }, Driver)
    drivers[level] = driver
    return driver
  end,
})

-- Drives until the wait of this driver is over.
local function drive_until(driver, key, keys, deadline)
  local may_run_tasks = driver.depth <= limits.loop.nested
  if not may_run_tasks and type(key) == "table" then
    error("too many coroutines wait inside each other; start them with wgtwo.spawn instead", 0)
  end
  waiters.add(driver, key, keys, deadline)
  while driver.waiting do
    if may_run_tasks then tasks.run_ready(driver) end
    if driver.depth == 1 and background.failure then tasks.raise_unjoined(background) end
    if not driver.waiting then break end
    waiters.collect(may_run_tasks and tasks.patience() or nil, driver.list)
  end
  return driver.reason
end

-- Handles what has happened, without waiting.
local function drive_once(driver)
  waiters.collect(0, driver.list)
  driver.waiting = true
  tasks.run_ready(driver)
  if driver.depth == 1 then tasks.raise_unjoined(background) end
end

-- The body of a driver's own coroutine: one call after the other.
local function serve(f, ...)
  return serve(yield(f(...)))
end

local function outcome(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

-- Ctrl-C sets a hook on the main state, which raises between any two instructions there. So the main state only
-- resumes a coroutine that does the work: no list is left half changed.
local function drive(f, key, keys, deadline)
  local driver <close> = drivers[state.depth + 1]
  driver.before = state.current
  state.depth = driver.depth
  local _, is_main = running()
  if not is_main then return f(driver, key, keys, deadline) end
  local own = driver.coroutine
  if not own or status(own) == "dead" then
    own = coroutine.create(serve)
    driver.coroutine = own
  end
  return outcome(resume(own, f, driver, key, keys, deadline))
end

-- Another event loop that watches has an old idea of what comes next.
local function tell_outer_loop()
  if state.outer_loop and state.depth == 0 and loop.timeout() then core.wake() end
end

local function wait(key, keys, deadline)
  local task = tasks.here()
  if not task or not isyieldable() then
    local reason = drive(drive_until, key, keys, deadline)
    tell_outer_loop()
    return reason
  end
  waiters.add(task, key, keys, deadline)
  repeat yield() until not task.waiting
  local reason = task.reason
  task.reason = nil
  return reason
end

--- Waits until an operation of the core, a signal or a task has news. It may end early: ask the operation again.
-- Ask it before, too: news that somebody else has waited for do not end it.
-- @param op what to wait for
-- @tparam ?number deadline on the clock of `now`
-- @treturn boolean false when the deadline came first
-- @usage local reply = call:take()
--   while reply == false and loop.wait(call, deadline) do reply = call:take() end
function loop.wait(op, deadline)
  return wait(op, nil, deadline) ~= false
end

local function result_of(op, first, ...)
  if first ~= false then return first, ... end
  loop.wait(op)
  return result_of(op, op:take())
end

--- Waits for the next result of an operation of the core.
-- @tparam userdata op
-- @return what `op:take()` gives, as soon as that is not false
-- @usage local response, reason = loop.result(op)
function loop.result(op)
  return result_of(op, op:take())
end

--- Waits until one of several has news.
-- @tparam table list of what `wait` takes
-- @tparam ?number deadline on the clock of `now`
-- @return the one that has news, or false when the deadline came first
function loop.wait_any(list, deadline)
  return wait(nil, list, deadline)
end

--- Waits for some time, and lets tasks run.
-- @tparam number seconds
-- @usage wgtwo.sleep(0.5)
function loop.sleep(seconds)
  if type(seconds) ~= "number" or seconds < 0 or seconds ~= seconds then
    error("sleep: a number of seconds is needed, 0 or more", 2)
  end
  wait(nil, nil, core.now() + seconds)
end

--- Lets everything else that is ready go first: for a task, or a script's loop, that would otherwise never wait.
function loop.pass()
  local task = tasks.here()
  if task and isyieldable() then
    yield()
  else
    loop.step()
  end
end

--- Something that tasks wait for and the script announces.
-- @type signal
local Signal = {}
Signal.__index = Signal

--- Waits until `notify` is called.
-- @tparam ?number deadline on the clock of `now`
-- @treturn boolean false when the deadline came first
function Signal:wait(deadline)
  return wait(self, nil, deadline) ~= false
end

--- Wakes all who wait now.
function Signal:notify()
  waiters.wake(self)
end

--- A new signal.
-- @treturn signal
-- @usage local changed = loop.signal()
--   while queue:empty() do changed:wait() end
function loop.signal()
  return setmetatable({}, Signal)
end

-- Running -----------------------------------------------------------------------------------------------------------

local function callable(where, f)
  if type(f) == "function" then return f end
  local meta = getmetatable(f)
  if type(meta) ~= "table" or not meta.__call then
    error(("%s: a function is needed, not %s"):format(where, type(f)), 3)
  end
  return function(...) return f(...) end
end

--- Starts a task. It first runs when the present one waits. An error in it is raised by whoever joins it, else by
-- `run`: as soon as nobody has the task's value any more, at the latest when all else has ended.
-- @tparam function f
-- @param ... its arguments
-- @treturn task with `join` and `cancel`
-- @usage local task = wgtwo.spawn(function() return client:call(method, request) end)
--   local reply = task:join()
function loop.spawn(f, ...)
  local scope = state.current and state.current.scope or background
  if scope.closed then error("spawn: its run is ending", 2) end
  return tasks.handle(tasks.start(scope, callable("spawn", f), nil, ...))
end

--- Starts a task of the rock's own, which no `run` waits for; whoever starts it cancels it. Its failure is a defect,
-- and is raised by whoever drives the loop.
-- @tparam string name for that error
-- @tparam function f
-- @param ... its arguments
-- @treturn task
function loop.daemon(name, f, ...)
  local task = tasks.start(background, callable("daemon", f), name, ...)
  task.unreachable = true
  return tasks.handle(task)
end

--- Runs a function and everything it spawns, directly or not, until all have ended. When the function, or a task
-- that nobody can join, raises an error, the others are cancelled and run raises it: an error that is a string comes
-- with the traceback of where it happened. Without a function: runs what was spawned outside of any run.
-- @tparam ?function f
-- @param ... its arguments
-- @return what f returned
-- @usage wgtwo.run(function()
--   for i = 1, 200 do wgtwo.spawn(handle, i) end
-- end)
function loop.run(f, ...)
  if f == nil then
    while background.count > 0 and not background.failure do wait(background) end
    tasks.raise_unjoined(background, true)
    return
  end
  local scope <close> = tasks.new_scope()
  local root = tasks.start(scope, callable("run", f), nil, ...)
  root.joined, root.unreachable = true, true
  while scope.count > 0 and not scope.failure and not root.failed do wait(scope) end
  if root.failed then tasks.raise(root) end
  tasks.raise_unjoined(scope, true)
  return table.unpack(root.results, 1, root.results.n)
end

-- For another event loop ----------------------------------------------------------------------------------------------

--- The descriptor to watch: readable when `step` has something to do.
-- @treturn int
function loop.pollfd()
  state.outer_loop = true
  return core.pollfd()
end

--- What to watch it for.
-- @treturn string "r"
function loop.events()
  return "r"
end

--- How long to watch it at most before `step` is due.
-- @treturn ?number seconds, nil: until it is readable
function loop.timeout()
  local limit, deadline = tasks.patience(), waiters.next_deadline()
  if not deadline or limit == 0 then return limit end
  return math.max(0, math.min(deadline - core.now(), limit or math.huge))
end

--- Handles what is ready and runs the tasks that can go on, each until it waits. Never blocks.
-- @raise the error of a task that nobody can join
function loop.step()
  drive(drive_once)
end

tasks.wait = loop.wait

return loop
