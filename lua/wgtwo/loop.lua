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
local errors = require "wgtwo.error"
local limits = require "wgtwo.limits"
local waiters = require "wgtwo.waiters"

local loop = {}

local running, yield, isyieldable = coroutine.running, coroutine.yield, coroutine.isyieldable
local resume, status = coroutine.resume, coroutine.status

local tasks = {}                  -- coroutine → task, of all that have not ended
local current                     -- the task that runs now, also while a coroutine of its own does
local depth = 0                   -- waits that drive the loop, inside each other
local ready = { head = 1, tail = 0 }
local has_outer_loop = false      -- whether another event loop watches pollfd

--- Seconds on a clock that only goes forward.
-- @function now
-- @treturn number
loop.now = core.now

--- The moment when a timeout ends.
-- @tparam ?number timeout in seconds, nil: never
-- @treturn ?number on the clock of `now`, as `wait` takes a deadline
function loop.deadline(timeout)
  return timeout and core.now() + timeout
end

-- Scopes ------------------------------------------------------------------------------------------------------------
-- A scope owns the tasks of one `run`; `background` owns those that were spawned outside of any.
-- tasks: task → true; count: those that `run` waits for; failed: tasks that ended with an error which may still be
-- joined; failure: the first whose error nobody can join any more.

local Scope = {}
Scope.__index = Scope

local function new_scope()
  return setmetatable({ tasks = {}, count = 0, failed = {} }, Scope)
end

local background = new_scope()
local abandoned = {}              -- failed tasks whose handle is gone
local search_due                  -- when to look for more of them, nil when no task failed lately
local next_search = -math.huge    -- not before

local function push_ready(task)
  local tail = ready.tail + 1
  ready.tail = tail
  ready[tail] = task
  if has_outer_loop and depth == 0 then core.wake() end
end

local function leave_scope(task)
  local scope = task.scope
  scope.tasks[task] = nil
  if not task.daemon then scope.count = scope.count - 1 end
  waiters.wake(task)
  waiters.wake(scope)
end

-- A task that ended with an error: its variables are closed, its error waits for someone to join, or for run.
local function fail(task, failure)
  task.failed, task.failure = true, failure
  if type(failure) == "string" then
    task.trace = debug.traceback(task.coroutine, failure)
  end
  coroutine.close(task.coroutine)
  if task.unreachable then
    abandoned[#abandoned + 1] = task
  elseif not waiters.waited_for(task) then
    search_due = search_due or math.max(core.now(), next_search)
  end
  table.insert(task.scope.failed, task)
end

-- Ends a task that others cancel. One that is running, or waits in a coroutine of its own, ends when it yields.
local function kill(task)
  if task.ended then return end
  local state = status(task.coroutine)
  if state == "running" or state == "normal" then
    task.cancelled = true
    return
  end
  task.ended, task.failed, task.joined = true, true, true
  task.failure = errors.closed("the task was cancelled")
  tasks[task.coroutine] = nil
  waiters.remove(task)
  coroutine.close(task.coroutine)
  leave_scope(task)
end

-- Ends whatever a scope still owns, youngest first: what run does when it ends early.
function Scope:__close()
  self.closed = true
  local owned = {}
  for task in pairs(self.tasks) do owned[#owned + 1] = task end
  table.sort(owned, function(a, b) return a.serial > b.serial end)
  for _, task in ipairs(owned) do kill(task) end
end

-- What became of the errors that nobody has joined: those that nobody can join any more become their scope's failure.
-- A collection finds the handles that are not in use; a twentieth of the time is spent on that at most.
local function look_for_abandoned()
  local began = core.now()
  if search_due and began >= search_due then
    search_due = nil
    collectgarbage()
    local ended = core.now()
    next_search = ended + 20 * (ended - began)
  end
  for i = 1, #abandoned do
    local task = abandoned[i]
    abandoned[i] = nil
    if not task.joined then
      local scope = task.scope
      scope.failure = scope.failure or task
      waiters.wake(scope)
    end
  end
end

-- Raises a task's error as run does: a string with the traceback of where it happened, anything else as it is.
local function raise(task)
  task.joined = true
  local failure = task.trace or task.failure
  if task.daemon then
    failure = ("wgtwo: background task %q failed: %s"):format(task.daemon, tostring(failure))
  end
  error(failure, 0)
end

local function raise_unjoined(scope)
  local failure = scope.failure
  scope.failure = nil
  if failure and not failure.joined then raise(failure) end
end

-- Tasks -------------------------------------------------------------------------------------------------------------

--- What `spawn` returns.
-- @type task
local Task = {}
Task.__index = Task
Task.__name = "wgtwo.task"

--- Waits until the task has ended. It may be joined any number of times.
-- @tparam ?number timeout in seconds
-- @return what its function returned; or nil and an error of kind "timeout"
-- @raise the error that its function raised; an error of kind "closed" when it was cancelled
-- @usage local reply = task:join()
function Task:join(timeout)
  local task = self.task
  if task == tasks[running()] then error("a task cannot join itself", 2) end
  local deadline = loop.deadline(timeout)
  while not task.ended do
    if not loop.wait(task, deadline) and not task.ended then
      return nil, errors.timeout(("the task did not end within %g s"):format(timeout))
    end
  end
  task.joined = true
  if task.failed then error(task.failure, 0) end
  return table.unpack(task.results, 1, task.results.n)
end

--- Ends the task where it waits; its to-be-closed variables are closed. Nothing happens when it has ended.
function Task:cancel()
  kill(self.task)
end

Task.__close = Task.cancel

function Task:__gc()
  local task = self.task
  task.unreachable = true
  if task.failed and not task.joined then abandoned[#abandoned + 1] = task end
end

function Task:__tostring()
  local task = self.task
  return ("wgtwo.task %d (%s)"):format(task.serial, task.failed and "failed" or task.ended and "ended" or "alive")
end

local serial = 0

local function start(scope, f, daemon, ...)
  serial = serial + 1
  local task = {
    coroutine = coroutine.create(f), scope = scope, serial = serial, daemon = daemon, woken = push_ready,
    arguments = table.pack(...),
  }
  tasks[task.coroutine] = task
  scope.tasks[task] = true
  if not daemon then scope.count = scope.count + 1 end
  push_ready(task)
  return task
end

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
  local scope = current and current.scope or background
  if scope.closed then error("spawn: its run is ending", 2) end
  return setmetatable({ task = start(scope, callable("spawn", f), nil, ...) }, Task)
end

--- Starts a task of the rock's own, which no `run` waits for; whoever starts it cancels it. Its failure is a defect,
-- and is raised by whoever drives the loop.
-- @tparam string name for that error
-- @tparam function f
-- @param ... its arguments
-- @treturn task
function loop.daemon(name, f, ...)
  local task = start(background, callable("daemon", f), name, ...)
  task.unreachable = true
  return setmetatable({ task = task }, Task)
end

-- After a resume: the task waits, gave way with a plain yield, or has ended.
local function settle(task, ok, ...)
  if status(task.coroutine) == "suspended" then
    if not ok then -- it could not even be resumed, for example because the C stack is full
      push_ready(task)
      error((...), 0)
    elseif task.cancelled then
      kill(task)
    elseif not task.waiting then
      push_ready(task)
    end
    return
  end
  tasks[task.coroutine] = nil
  if ok then
    task.results = table.pack(...)
  else
    fail(task, (...))
  end
  task.ended = true
  leave_scope(task)
end

-- Runs the tasks that are ready now, each until it waits; not those that become ready meanwhile, and none once the
-- wait that drives is over.
local function run_ready(driver)
  local last = ready.tail
  while ready.head <= last and driver.waiting do
    local head = ready.head
    local task = ready[head]
    ready[head] = nil
    ready.head = head + 1
    if task and not task.ended then
      local before, arguments = current, task.arguments
      current = task
      if arguments then
        task.arguments = nil
        settle(task, resume(task.coroutine, table.unpack(arguments, 1, arguments.n)))
      else
        settle(task, resume(task.coroutine))
      end
      current = before
    end
  end
  if search_due or abandoned[1] then look_for_abandoned() end
  if depth <= 1 and ready.head > ready.tail then ready.head, ready.tail = 1, 0 end
end

-- How long to wait for news at most, apart from deadlines: not while tasks can go on.
local function patience()
  if ready.head <= ready.tail then return 0 end
  return search_due and math.max(0, search_due - core.now())
end

-- Waiting -----------------------------------------------------------------------------------------------------------

-- One wait outside of tasks, reused by all of its depth. Closing it takes it out of every list, however the wait ended.
local Driver = {}

function Driver:__close(err)
  local interrupted = current
  if err ~= nil and interrupted ~= self.before and interrupted and not interrupted.ended
      and status(interrupted.coroutine) == "dead" then
    settle(interrupted, false, err) -- the interrupt came just when it had ended
  end
  waiters.remove(self)
  self.reason = nil
  depth = self.depth - 1
  current = self.before
  if depth == 0 and has_outer_loop then core.wake() end
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
    if may_run_tasks then run_ready(driver) end
    if driver.depth == 1 and background.failure then raise_unjoined(background) end
    if not driver.waiting then break end
    waiters.collect(may_run_tasks and patience() or nil, driver.list)
  end
  return driver.reason
end

-- Handles what has happened, without waiting.
local function drive_once(driver)
  waiters.collect(0, driver.list)
  driver.waiting = true
  run_ready(driver)
  if driver.depth == 1 then raise_unjoined(background) end
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
  local driver <close> = drivers[depth + 1]
  driver.before = current
  depth = driver.depth
  local _, is_main = running()
  if not is_main then return f(driver, key, keys, deadline) end
  local own = driver.coroutine
  if not own or status(own) == "dead" then
    own = coroutine.create(serve)
    driver.coroutine = own
  end
  return outcome(resume(own, f, driver, key, keys, deadline))
end

local function wait(key, keys, deadline)
  local task = tasks[running()]
  if not task or not isyieldable() then return drive(drive_until, key, keys, deadline) end
  waiters.add(task, key, keys, deadline)
  repeat yield() until not task.waiting
  local reason = task.reason
  task.reason = nil
  return reason
end

--- Waits until an operation of the core, a signal or a task has news. It may end early: ask the operation again.
-- Ask it before, too: news that came before the wait began do not end it.
-- @param op what to wait for
-- @tparam ?number deadline on the clock of `now`
-- @treturn boolean false when the deadline came first
-- @usage local reply = call:take()
--   while reply == false and loop.wait(call, deadline) do reply = call:take() end
function loop.wait(op, deadline)
  return wait(op, nil, deadline) ~= false
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
  local task = tasks[running()]
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
    raise_unjoined(background)
    return
  end
  local scope <close> = new_scope()
  local root = start(scope, callable("run", f), nil, ...)
  root.joined, root.unreachable = true, true
  while scope.count > 0 and not scope.failure and not root.failed do wait(scope) end
  if root.failed then raise(root) end
  raise_unjoined(scope)
  for _, task in ipairs(scope.failed) do
    if not task.joined then raise(task) end
  end
  return table.unpack(root.results, 1, root.results.n)
end

-- For another event loop ----------------------------------------------------------------------------------------------

--- The descriptor to watch: readable when `step` has something to do.
-- @treturn int
function loop.pollfd()
  has_outer_loop = true
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
  local limit, deadline = patience(), waiters.next_deadline()
  if not deadline or limit == 0 then return limit end
  return math.max(0, math.min(deadline - core.now(), limit or math.huge))
end

--- Handles what is ready and runs the tasks that can go on, each until it waits. Never blocks.
-- @raise the error of a task that nobody can join
function loop.step()
  drive(drive_once)
end

return loop
