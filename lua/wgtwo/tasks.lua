--- Tasks: who can go on, who has ended, and what becomes of their errors.
--
-- The half of `wgtwo.loop` that runs tasks; the other half waits. A task is a table that is also its own waiter
-- (`wgtwo.waiters`): `coroutine`, `scope`, `serial`, `daemon` (the name of a background task), `arguments` until it
-- starts, `results` or `failure` when it has ended.
--
-- @module wgtwo.tasks

local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local receiver = require "wgtwo.receiver"
local waiters = require "wgtwo.waiters"

local tasks = {}

local running, resume, status = coroutine.running, coroutine.resume, coroutine.status

--- What both halves know.
-- `current`: the task that runs now, also while a coroutine of its own does; `depth`: waits that drive the loop, inside
-- each other; `outer_loop`: whether another event loop watches the core's descriptor.
local state = { current = nil, depth = 0, outer_loop = false }
tasks.state = state

local alive = {}                  -- coroutine → task, of all that have not ended
local ready = { head = 1, tail = 0 }

--- The task that this coroutine is.
-- @treturn ?table nil in the main chunk and in a coroutine of the script's own
function tasks.here()
  return alive[running()]
end

-- Scopes ------------------------------------------------------------------------------------------------------------
-- A scope owns the tasks of one `run`; `background` owns those that were spawned outside of any.
-- tasks: task → true; count: those that `run` waits for; failed: task → true, of those that ended with an error which
-- may still be joined; failure: the first whose error nobody can join any more.

local Scope = {}
Scope.__index = Scope

--- A scope without tasks; closing it ends what it owns then.
-- @treturn table
function tasks.new_scope()
  return setmetatable({ tasks = {}, count = 0, failed = {} }, Scope)
end

local background = tasks.new_scope()
tasks.background = background

local abandoned = {}              -- failed tasks whose handle is gone
local search_due                  -- when to look for more of them, nil when no task failed lately
local next_search = -math.huge    -- not before

local function push_ready(task)
  local tail = ready.tail + 1
  ready.tail = tail
  ready[tail] = task
  if state.outer_loop and state.depth == 0 then core.wake() end
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
  task.scope.failed[task] = true
end

-- Ends a task that others cancel. One that is running, or waits in a coroutine of its own, ends when it yields.
local function kill(task)
  if task.ended then return end
  local how = status(task.coroutine)
  if how == "running" or how == "normal" then
    task.cancelled = true
    return
  end
  task.ended, task.failed, task.joined = true, true, true
  task.failure = errors.closed("the task was cancelled")
  alive[task.coroutine] = nil
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
      scope.failed[task] = nil
      scope.failure = scope.failure or task
      waiters.wake(scope)
    end
  end
end

--- Raises a task's error as run does: a string with the traceback of where it happened, anything else as it is.
-- @tparam table task
function tasks.raise(task)
  task.joined = true
  local failure = task.trace or task.failure
  if task.daemon then
    failure = ("wgtwo: background task %q failed: %s"):format(task.daemon, tostring(failure))
  end
  error(failure, 0)
end

--- Raises the error of a scope that nobody can join any more, if there is one.
-- @tparam table scope
-- @tparam boolean at_end whether all tasks have ended: then errors that could still be joined count too
function tasks.raise_unjoined(scope, at_end)
  local failure = scope.failure
  scope.failure = nil
  if at_end and not failure then
    for task in pairs(scope.failed) do
      if not failure or task.serial < failure.serial then failure = task end
    end
  end
  if failure then
    scope.failed[failure] = nil
    tasks.raise(failure)
  end
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
  if task == alive[running()] then error("a task cannot join itself", 2) end
  local deadline = waiters.deadline(timeout)
  while not task.ended do
    if not tasks.wait(task, deadline) and not task.ended then
      return nil, errors.timeout(("the task did not end within %g s"):format(timeout))
    end
  end
  task.joined = true
  task.scope.failed[task] = nil
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

receiver.check(Task, "task")

local serial = 0

--- Starts a task: it runs when run_ready comes to it.
-- @tparam table scope
-- @tparam function f
-- @tparam ?string daemon the name of a background task
-- @param ... arguments of f
-- @treturn table
function tasks.start(scope, f, daemon, ...)
  serial = serial + 1
  local task = {
    coroutine = coroutine.create(f), scope = scope, serial = serial, daemon = daemon, woken = push_ready,
    arguments = table.pack(...),
  }
  alive[task.coroutine] = task
  scope.tasks[task] = true
  if not daemon then scope.count = scope.count + 1 end
  push_ready(task)
  return task
end

--- What a script gets of a task. Without it, nobody can join.
-- @tparam table task
-- @treturn task
function tasks.handle(task)
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
  alive[task.coroutine] = nil
  if ok then
    task.results = table.pack(...)
  else
    fail(task, (...))
  end
  task.ended = true
  leave_scope(task)
end

--- Runs the tasks that are ready now, each until it waits; not those that become ready meanwhile, and none once the
-- wait that drives is over.
-- @tparam table driver whose `waiting` says so
function tasks.run_ready(driver)
  local last = ready.tail
  while ready.head <= last and driver.waiting do
    local head = ready.head
    local task = ready[head]
    ready[head] = nil
    ready.head = head + 1
    if task and not task.ended then
      local before, arguments = state.current, task.arguments
      state.current = task
      if arguments then
        task.arguments = nil
        settle(task, resume(task.coroutine, table.unpack(arguments, 1, arguments.n)))
      else
        settle(task, resume(task.coroutine))
      end
      state.current = before
    end
  end
  if search_due or abandoned[1] then look_for_abandoned() end
  if state.depth <= 1 and ready.head > ready.tail then ready.head, ready.tail = 1, 0 end
end

--- How long to wait for news at most, apart from deadlines: not while tasks can go on.
-- @treturn ?number seconds
function tasks.patience()
  if ready.head <= ready.tail then return 0 end
  return search_due and math.max(0, search_due - core.now())
end

--- After an interrupt: takes note of a task that had just ended when it came.
-- @tparam table task
-- @param err what was raised
function tasks.settle_interrupted(task, err)
  if not task.ended and status(task.coroutine) == "dead" then settle(task, false, err) end
end

return tasks
