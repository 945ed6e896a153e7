--- Events: subscriptions of both generations, as one iteration.
--
--     for event in client:events{ types = { "SMS_EVENT", "handset_change" }, queue = "billing" } do
--       handle(event)
--       event:ack()
--     end
--
-- A subscription is at least once: an event counts as handled when its acknowledgement has reached the platform, and
-- comes again otherwise (`event.is_redelivered`). It reconnects by itself, for ever unless told otherwise. The loop's
-- end, by `break` or by an error, closes it and sends the acknowledgements that are still to be sent.
--
-- @module wgtwo.events

local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local feed = require "wgtwo.events.feed"
local limits = require "wgtwo.limits"
local loop = require "wgtwo.loop"
local options = require "wgtwo.events.options"
local receiver = require "wgtwo.receiver"
local request_v0 = require "wgtwo.events.request_v0"
local request_v1 = require "wgtwo.events.request_v1"
local waiters = require "wgtwo.waiters"

local setmetatable, running = setmetatable, coroutine.running

local Subscription = { __name = "wgtwo.subscription" }
Subscription.__index = Subscription

local M = {}

-- A loop that never waits lets everything else (acknowledgements to be tried again, tasks) run once in so many events.
local TURN = 64

-- How long `events` waits, in seconds, for a server that does not say that it has accepted a stream before the first
-- event.
local ACCEPT_PATIENCE = 0.25

-- Subscribing

--- A plan for each stream. Raises where a request cannot be made of the options: a timestamp that is none.
local function new_plans(client, o, v0, v1, level)
  local plans = {}
  if v0[1] then plans[1] = request_v0.plan(client, o, v0) end
  for _, name in ipairs(v1) do plans[#plans + 1] = request_v1.plan(o, name) end
  for _, plan in ipairs(plans) do
    local ok, wrong = pcall(plan.request)
    if not ok then error("client:events: start: " .. tostring(wrong):gsub("^.-:%d+: ", ""), level + 1) end
  end
  return plans
end

local function new_feeds(self, plans, o)
  local weak = setmetatable({ self }, { __mode = "v" })
  local function changed()
    local this = weak[1]
    if this then waiters.wake(this.news) end
  end
  for i, plan in ipairs(plans) do
    self.feeds[i] = feed.new(self.client, plan, o, changed)
  end
end

--- Starts all feeds. Waits until each has sent its request or failed, and for a moment until the server has said that
-- it is there: what happens from then on, comes.
local function open(self)
  for _, one in ipairs(self.feeds) do one:open() end
  local deadline = core.now() + limits.connect_timeout
  for _, one in ipairs(self.feeds) do
    while not one.attempted and not self.closed and core.now() < deadline do self.news:wait(deadline) end
  end
  deadline = core.now() + ACCEPT_PATIENCE
  for _, one in ipairs(self.feeds) do
    while one.call and not (one.call:headers() or one.call:status() or self.closed) and core.now() < deadline do
      loop.wait_any({ self.news, one.call }, deadline)
    end
  end
end

--- Subscribes. Scripts call it as `client:events{ … }`.
-- @tparam client client
-- @tparam table given options:
--
--   * `types`: v0 event types ("SMS_EVENT"), v1 streams ("handset_change"), or both
--   * `queue`: a name whose subscribers share the events, and which keeps its position when they are gone; none:
--     every event comes to every subscriber that is connected, and after a reconnect it goes on behind the last event
--     (v0: its sequence, v1: its timestamp)
--   * `queue_name`, `durable_name`, `client_id`: v0's, one by one
--   * `ack`: "manual" (the default with a queue), "auto" (when the next event is asked for) or "none" (the default
--     without)
--   * `max_in_flight` (v1: 1 to 200) and `ack_timeout` (seconds; v1: 10 to 600): how many events may be
--     unacknowledged, and for how long
--   * `start`, where the server holds no position: "new" (default), "oldest", "last_received" (v0),
--     `{ sequence = n }`, `{ timestamp = t }`, `{ ago = seconds }` (v0)
--   * `reconnect`: true, false, or `{ max_attempts =, initial =, max = }`
--   * `scope`: instead of the one that the types need
-- @treturn subscription callable, for `for`; nil, nil, and the subscription again to be closed by it
-- @raise on misuse: an unknown type, a value out of the platform's range, a start that the generation does not have
-- @usage local sub <close> = client:events{ types = { "SMS_EVENT" }, queue = "billing", ack = "auto" }
function M.subscribe(client, given)
  local o, v0, v1 = options.check(given, 2)
  local plans = new_plans(client, o, v0, v1, 2)
  local self = setmetatable({
    client = client, feeds = {}, cursor = 0, news = loop.signal(), closed = false, failure = nil,
    auto = o.ack == "auto" and setmetatable({}, { __mode = "k" }) or nil, -- coroutine → the event it has
  }, Subscription)
  if client.closed then
    self.failure = errors.closed("the client is closed", { target = client.target })
    self.closed = true
  else
    new_feeds(self, plans, o)
    client.subscriptions[self] = true
    self.only = not self.feeds[2] and self.feeds[1] or nil
    open(self)
  end
  return self, nil, nil, self
end

-- Iterating

local function deliver(self, one, event)
  local connection = one.connection
  local count = connection.received + 1
  connection.received, connection.last = count, event
  if one.is_redelivered(event) then one.redelivered = one.redelivered + 1 end
  if self.auto then self.auto[running()] = event end
  if count % TURN == 0 then loop.pass() end
  return event
end

--- Takes from the feeds in turn: an event, or nil and whether to look again, since a feed's end may have taken time.
local function take(self)
  local again = false
  local feeds = self.feeds
  local count = #feeds
  for i = 1, count do
    local index = (self.cursor + i - 1) % count + 1
    local one = feeds[index]
    local op = one.call
    if op then
      local event, problem, reason = op:take(one.connection)
      if event then
        self.cursor = index
        return deliver(self, one, event)
      end
      if event == nil then
        one:over(problem, reason)
        again = true
      end
    end
  end
  return nil, again
end

--- Whether there is an end: true, and the error where it is none of success.
local function is_over(self)
  if self.closed or self.failure then return true, self.failure end
  local all_ended = true
  for _, one in ipairs(self.feeds) do
    if one.failure then
      self.failure = one.failure
      return true, one.failure
    end
    all_ended = all_ended and one.ended
  end
  return all_ended
end

local function wait(self, deadline)
  local keys = { self.news }
  for _, one in ipairs(self.feeds) do
    if one.call then keys[#keys + 1] = one.call end
  end
  loop.wait_any(keys, deadline)
end

local function next_slowly(self, timeout)
  local deadline = loop.deadline(timeout)
  while true do
    local over, err = is_over(self)
    if over then return nil, err end
    local event, again = take(self)
    if event then return event end
    if not again then
      if deadline and core.now() >= deadline then
        return nil, errors.timeout(("no event within %g s"):format(timeout), { target = self.client.target })
      end
      wait(self, deadline)
    end
  end
end

--- Acknowledges the event that this coroutine has got before.
local function acknowledge_previous(self)
  local who = running()
  local event = self.auto[who]
  if event then
    self.auto[who] = nil
    event:ack()
  end
end

local function next_event(self, timeout)
  if self.auto then acknowledge_previous(self) end
  -- the usual case, quickly: one feed, and it has something
  local only = self.only
  local op = only and not self.closed and only.call
  if op then
    local event, problem, reason = op:take(only.connection)
    if event then return deliver(self, only, event) end
    if event == nil then only:over(problem, reason) end
  end
  return next_slowly(self, timeout)
end

--- The next event.
-- @function Subscription:next
-- @tparam ?number timeout in seconds; default: no limit
-- @treturn ?event nil once the subscription is closed
-- @treturn ?wgtwo.error of kind "timeout" where none came in time; otherwise why the subscription has ended
-- @usage local event, err = sub:next(5)
Subscription.next = next_event

--- One event a call, for `for`. An error raises.
function Subscription:__call()
  local event, err = next_event(self)
  if err then error(err, 0) end
  return event
end

-- Ending

--- Closes: sends the acknowledgements that are still to be sent, then ends the streams. A second time does nothing.
-- @tparam ?number timeout seconds for the acknowledgements; default 5
-- @treturn ?boolean true
-- @treturn ?wgtwo.error of kind "timeout" where acknowledgements were left: their events come again
-- @usage assert(sub:close(2))
function Subscription:close(timeout)
  timeout = timeout or limits.close_timeout
  local deadline = loop.deadline(timeout)
  if self.closed then return true end
  self.closed = true
  waiters.wake(self.news)
  local left = 0
  for _, one in ipairs(self.feeds) do
    if one.acks and not one.acks:flush(deadline) then left = left + one.acks:under_way() end
  end
  for _, one in ipairs(self.feeds) do one:close() end
  self.client.subscriptions[self] = nil
  if left == 0 then return true end
  return nil, errors.timeout(("%d acknowledgements were not through within %g s: their events come again")
    :format(left, timeout), { target = self.client.target })
end

Subscription.__close = function(self) self:close() end

--- Counts, since the start.
-- @treturn table `received`, `redelivered`, `acked` (that the server has confirmed), `ack_retries`, `ack_failed`,
--   `in_flight` (acknowledgements under way), `reconnects` (streams that were there again: attempts that failed do not
--   count)
function Subscription:stats()
  local sum = { received = 0, redelivered = 0, acked = 0, ack_retries = 0, ack_failed = 0, in_flight = 0,
    reconnects = 0 }
  for _, one in ipairs(self.feeds) do
    sum.received = sum.received + one.received + one.connection.received
    sum.redelivered = sum.redelivered + one.redelivered
    sum.reconnects = sum.reconnects + one:reconnects()
    if one.acks then
      for name, count in pairs(one.acks:stats()) do sum[name] = sum[name] + count end
    end
  end
  return sum
end

--- Names the types and the target.
function Subscription:__tostring()
  local names = {}
  for i, one in ipairs(self.feeds) do names[i] = one.plan.name end
  return ("wgtwo.subscription(%s at %s%s)"):format(table.concat(names, ", "), self.client.target,
    self.closed and ", closed" or "")
end

receiver.check(Subscription, "subscription")

return M
