--- Who waits for what: the register behind `wgtwo.loop`.
--
-- A waiter is a table (a task, or one wait outside of tasks); a key is what it waits for: an operation of the core
-- (userdata), or a table such as a signal. A key has any number of waiters, in the order of their coming; a waiter has
-- one key, several, or none but a deadline. The waiter itself is its entry in the list of its key and in the heap of
-- deadlines, so that waiting allocates nothing; only waiting for several keys does.
--
-- @module wgtwo.waiters

local core = require "wgtwo.core"
local timers = require "wgtwo.timers"

local waiters = {}

local first = {}            -- key → its first entry; the first's `previous` is the last
local deadlines = timers.new()
-- operation → true where it had news while nobody waited for it. Somebody may have found nothing there just before, and
-- be about to wait: a finalizer that waits itself, for something else, may run in between.
local unheard = setmetatable({}, { __mode = "k" })

--- See `wgtwo.loop.deadline`.
function waiters.deadline(timeout, level)
  if timeout == nil then return nil end
  if type(timeout) ~= "number" or timeout ~= timeout then
    local what = type(timeout) == "number" and "not a number" or "a " .. type(timeout)
    error("a timeout is a number of seconds, or nil, not " .. what, (level or 2) + 1)
  end
  return core.now() + timeout
end

local function link(entry, key)
  entry.key, entry.next = key, nil
  local head = first[key]
  if head then
    local last = head.previous
    entry.previous, last.next, head.previous = last, entry, entry
  else
    entry.previous = entry
    first[key] = entry
  end
end

local function unlink(entry)
  local key = entry.key
  if key == nil then return end
  local head, following = first[key], entry.next
  if entry == head then
    first[key] = following
    if following then following.previous = entry.previous end
  else
    entry.previous.next = following;
    (following or head).previous = entry.previous
  end
  entry.key, entry.next, entry.previous = nil, nil, nil
end

--- Registers a waiter. Its wait is over at once where the operation has had news that nobody waited for.
-- @tparam table waiter `woken(waiter)` is called, if it has it, when the wait is over; it must not wait itself
-- @param key what it waits for, nil for the deadline alone
-- @tparam ?table keys several keys instead
-- @tparam ?number deadline in `core.now()` seconds
function waiters.add(waiter, key, keys, deadline)
  local heard
  waiter.waiting = true
  if key ~= nil then
    waiter.waiter = waiter
    link(waiter, key)
    heard = unheard[key] and key
  elseif keys then
    local entries = {}
    waiter.entries = entries
    for i = 1, #keys do
      entries[i] = { waiter = waiter }
      link(entries[i], keys[i])
      heard = heard or unheard[keys[i]] and keys[i]
    end
  end
  if deadline then
    waiter.at = deadline
    timers.push(deadlines, waiter)
  end
  if heard then waiters.wake(heard) end
end

--- Takes a waiter out of all lists, whether it waits or not.
-- @tparam table waiter
function waiters.remove(waiter)
  waiter.waiting = false
  unlink(waiter)
  local entries = waiter.entries
  if entries then
    waiter.entries = nil
    for i = 1, #entries do unlink(entries[i]) end
  end
  timers.remove(deadlines, waiter)
end

local function finish(waiter, reason)
  waiters.remove(waiter)
  waiter.reason = reason
  local woken = waiter.woken
  if woken then woken(waiter) end
end

--- Ends the wait of all who wait for a key now; each finds the key in its `reason`.
-- @param key
function waiters.wake(key)
  local entry = first[key]
  unheard[key] = nil
  while entry do
    finish(entry.waiter, key)
    entry = first[key]
  end
end

--- Whether anybody waits for a key.
-- @param key
-- @treturn boolean
function waiters.waited_for(key)
  return first[key] ~= nil
end

--- When the earliest deadline is.
-- @treturn ?number in `core.now()` seconds
function waiters.next_deadline()
  local earliest = deadlines[1]
  return earliest and earliest.at
end

--- Waits for the core and ends the waits of those whose operation has news or whose deadline has come (`reason` is
-- false for these).
-- @tparam ?number timeout seconds to wait at most for news, nil for ever; the next deadline counts as well
-- @tparam table list scratch space for `core.poll`, empty again afterwards
-- @raise "interrupted!" after Ctrl-C
function waiters.collect(timeout, list)
  local earliest = deadlines[1]
  if earliest and timeout ~= 0 then
    local left = earliest.at - core.now()
    if left < 0 then left = 0 end
    if not timeout or left < timeout then timeout = left end
  end
  local count = core.poll(timeout, list)
  for i = 1, count do
    local key = list[i]
    list[i] = nil
    if first[key] then waiters.wake(key) else unheard[key] = true end
  end
  earliest = deadlines[1]
  if earliest then
    local now = core.now()
    while earliest and earliest.at <= now do
      finish(earliest, false)
      earliest = deadlines[1]
    end
  end
end

--- Whether nobody waits for anything. For tests.
-- @treturn boolean
function waiters.none()
  return next(first) == nil and deadlines[1] == nil
end

return waiters
