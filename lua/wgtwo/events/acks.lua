--- The acknowledgements of one feed: sent at once, many in flight, tried again until the ack timeout.
--
-- Those that succeed are counted by the core alone, which also has the queue of those that wait for a place in flight,
-- or for a token; when that is full, `send` waits. What fails comes here, whether by the call's status or by the status
-- in the answer, and is sent again after a backoff, until the event's ack timeout is over: then the event comes again.
-- A background task does this; it lives while something is under way, and no longer, so that nothing keeps an idle
-- subscription alive.
--
-- An acknowledgement of an event from an earlier stream is sent like any other. A server that refuses it has given the
-- event to somebody else or forgotten it, so a refusal is counted and logged, and not tried again.
--
-- @module wgtwo.events.acks

local authorization = require "wgtwo.authorization"
local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local limits = require "wgtwo.limits"
local loop = require "wgtwo.loop"
local timers = require "wgtwo.timers"
local waiters = require "wgtwo.waiters"

local now = core.now

local Acks = {}
Acks.__index = Acks

local acks = {}

local UNAUTHENTICATED = "UNAUTHENTICATED"

-- Refusals that the same request would get again.
local final = {
  INVALID_ARGUMENT = true, NOT_FOUND = true, ALREADY_EXISTS = true, PERMISSION_DENIED = true,
  FAILED_PRECONDITION = true, OUT_OF_RANGE = true, UNIMPLEMENTED = true, DATA_LOSS = true,
}
-- Failures of the way there and back. Whatever else an answer says comes from a server that has looked at the request.
local transport = {
  UNAVAILABLE = true, DEADLINE_EXCEEDED = true, CANCELLED = true, UNAUTHENTICATED = true, RESOURCE_EXHAUSTED = true,
}

--- Makes the acknowledgements of a feed.
-- @tparam table client
-- @tparam table plan
-- @tparam ?string|table scopes of its tokens
-- @treturn table
function acks.new(client, plan, scopes)
  return setmetatable({
    client = client, plan = plan, scopes = scopes, closed = false, stream_since = 0,
    acker = nil, channel = nil,     -- of the present stream
    draining = {},                  -- ackers of channels that were given up, until their answers have come
    list = nil, token = nil,        -- the metadata that the acker has, nil while it is paused; the token in it
    retries = timers.new(),         -- those that wait to be tried again
    waiting = {},                   -- request → { done, ok, err, changed } of those somebody waits for
    stale = {},                     -- request → true, of events from an earlier stream
    idle = loop.signal(),
    counts = { retried = 0, failed = 0, succeeded = 0 }, -- succeeded: those the core did not see as such
  }, Acks)
end

-- Sending

--- What starts from now on carries this.
local function use(self, list, token)
  self.acker:metadata(list)
  self.list, self.token = list, token
end

local function pause(self)
  self.acker:pause()
  self.list, self.token = nil, nil
end

--- Makes sure that what starts carries a token: where one has to be asked for first, the acker waits for it.
local function authorize(self)
  local list, token = authorization.peek(self.client, self.scopes)
  if list == self.list then return end
  if list then use(self, list, token) else pause(self) end
end

--- Gives one to the core; false where that has no room.
local function start(self, request, attempt, started)
  authorize(self)
  return self.acker:send(request, attempt, started, self.waiting[request] ~= nil or self.stale[request] ~= nil)
end

-- Answers

--- Ends an acknowledgement: tells who waits for it.
local function settle(self, request, err)
  self.stale[request] = nil
  local waiting = self.waiting[request]
  if waiting then
    self.waiting[request] = nil
    waiting.done, waiting.err = true, err
    waiting.changed:notify()
  end
end

local function fail(self, result, code, message)
  self.counts.failed = self.counts.failed + 1
  local method = self.plan.ack_method
  local err = errors.new{ kind = "ack", code = code, number = errors.number(code), message = message,
    method = method.name, target = self.client.target, scope = method.scope, retryable = false,
    hint = "the event comes again after its ack timeout" }
  self.client:log("warn", "an acknowledgement failed: " .. tostring(err), { code = code, attempts = result.attempt,
    method = method.name })
  settle(self, result.request, err)
end

--- Random part of a span that grows with the attempts.
local function backoff(attempt)
  local policy = limits.ack.backoff
  local span = math.min(policy.max, policy.initial * 2 ^ (attempt - 1))
  return span * (0.25 + 0.75 * math.random())
end

local function retry_at(self, at, ack)
  timers.push(self.retries, { at = at, request = ack.request, attempt = ack.attempt + 1, started = ack.started })
end

--- After UNAUTHENTICATED: forgets the token the acknowledgement had. True where there may be a better one at once.
local function renew_token(self, result)
  local source, token = self.client.auth, self.token
  if not source or source.fixed and not source.token_url or not source.invalidate then return false end
  if token and result.started >= (self.token_since or 0) then
    source:invalidate(token.access_token)
    self.token_since = now()
    pause(self)
  end
  return result.attempt == 1
end

--- What went wrong with an answered acknowledgement: a code and a message; nil: nothing.
local function judge(self, result)
  if result.code ~= 0 then return errors.name(result.code), result.message ~= "" and result.message or result.error end
  local status = self.plan.ack_failure(result.reply)
  return status, status and "the server did not accept the acknowledgement"
end

local function handle(self, result)
  local code, message = judge(self, result)
  if not code then
    if not result.ok then self.counts.succeeded = self.counts.succeeded + 1 end
    return settle(self, result.request)
  end
  if self.closed then return settle(self, result.request, errors.closed("the subscription is closed")) end
  local stale = self.stale[result.request] or result.started < self.stream_since
  if final[code] or stale and not transport[code] then return fail(self, result, code, message) end
  local at = now()
  if not (code == UNAUTHENTICATED and renew_token(self, result)) then at = at + backoff(result.attempt) end
  if at - result.started >= self.plan.ack_timeout then
    return fail(self, result, code, ("%s (%d attempts)"):format(message or "no success", result.attempt))
  end
  retry_at(self, at, result)
end

--- Handles the answers that are there; whether there were any.
local function take_answers_of(self, acker)
  local result = acker:take()
  local any = result ~= false
  while result do
    handle(self, result)
    result = acker:take()
  end
  return any
end

--- Counts what an acker saw, and ends it.
local function retire(self, acker)
  local _, succeeded = acker:counts()
  self.counts.succeeded = self.counts.succeeded + succeeded
  acker:close()
end

--- Handles all answers. When it returns nothing has waited since it found none, so that none can be overlooked.
local function take_answers(self)
  repeat
    local any = take_answers_of(self, self.acker)
    for i = #self.draining, 1, -1 do
      local acker = self.draining[i]
      local in_flight = acker:counts()
      any = take_answers_of(self, acker) or any
      if in_flight == 0 then
        table.remove(self.draining, i)
        retire(self, acker)
      end
    end
  until not any or self.closed
end

--- Waits for answers, or until an acknowledgement is to be tried again.
local function wait_for_news(self, deadline)
  if not self.draining[1] then return loop.wait(self.acker, deadline) end
  loop.wait_any({ self.acker, table.unpack(self.draining) }, deadline)
end

--- Sends again what is due; false where there is no room for all of it.
local function send_retries(self)
  local retries = self.retries
  while retries[1] and retries[1].at <= now() do
    local item = retries[1]
    if not start(self, item.request, item.attempt, item.started) then return false end
    timers.remove(retries, item)
    self.counts.retried = self.counts.retried + 1
  end
  return true
end

--- Without a token nothing can be sent: those whose time is over are given up, and the next attempt is in a while.
local function give_up_queued(self, err)
  for item in self.acker.unsend, self.acker do
    if not item then return end
    local at = now() + backoff(item.attempt)
    if not err.retryable or at - item.started >= self.plan.ack_timeout then
      fail(self, item, err.code, err.message)
    else
      retry_at(self, at, item)
    end
  end
end

--- Asks for the token that the acker waits for.
local function ask_for_token(self)
  local list, token = authorization.metadata(self.client, self.scopes)
  if self.closed then return end
  if list then use(self, list, token) else give_up_queued(self, token) end
end

--- The background task: until nothing is under way.
local function run(self)
  while not self.closed do
    authorize(self)
    local all_sent = send_retries(self)
    if not self.list and self.acker:queued() > 0 then ask_for_token(self) end
    if self.closed then break end
    self.acker:start()
    take_answers(self)
    if self.closed then break end
    local next_retry = all_sent and self.retries[1]
    if self.retries[1] or self.draining[1] or self.acker:counts() > 0 then
      wait_for_news(self, next_retry and next_retry.at or nil)
    elseif not take_answers_of(self, self.acker) then -- one may have come since
      break
    end
  end
  self.task = nil
  self.idle:notify()
end

-- The face to the feed

local function wait_for(waiting)
  while not waiting.done do waiting.changed:wait() end
  if waiting.err then return nil, waiting.err end
  return true
end

--- Acknowledges.
-- @tparam string request the bytes of the acknowledgement
-- @tparam boolean wait whether to wait for the answer
-- @tparam boolean stale whether the event came over an earlier stream
-- @treturn ?boolean true
-- @treturn ?wgtwo.error
function Acks:send(request, wait, stale)
  if self.closed then return nil, errors.closed("the subscription is closed: the event comes again") end
  if stale then self.stale[request] = true end
  local waiting = self.waiting[request]
  if wait and not waiting then
    waiting = { done = false, changed = loop.signal() }
    self.waiting[request] = waiting
  end
  if not self.task then self.task = loop.daemon("acknowledgements", run, self) end
  local started = now()
  while not start(self, request, 1, started) do
    loop.wait(self.acker)
    if self.closed then return nil, errors.closed("the subscription is closed: the event comes again") end
  end
  if not self.list then waiters.wake(self.acker) end -- the task is to ask for a token
  if wait then return wait_for(waiting) end
  return true
end

--- Tells that a new stream has begun: what is in flight belongs to the one before.
-- @tparam userdata channel of the new stream
function Acks:new_stream(channel)
  self.stream_since = now()
  if channel == self.channel then return end
  local plan = self.plan
  local before = self.acker
  self.channel = channel
  self.acker = core.acker(channel, { path = plan.ack_method.path, reply = plan.ack_method.output,
    expected = plan.expected, timeout = math.min(limits.ack.timeout, plan.ack_timeout), limit = limits.ack.in_flight,
    queue = limits.ack.queue })
  pause(self)
  if before then
    for item in before.unsend, before do
      if not item then break end
      self.acker:send(item.request, item.attempt, item.started, item.notify)
    end
    self.draining[#self.draining + 1] = before
    waiters.wake(before)
    if not self.task then self.task = loop.daemon("acknowledgements", run, self) end
  end
end

--- Waits until nothing is under way.
-- @tparam number deadline on the clock of `core.now`
-- @treturn boolean false when the deadline came first
function Acks:flush(deadline)
  while self.task do
    if now() >= deadline then return false end
    self.idle:wait(deadline)
  end
  return true
end

--- How many are sent, wait to be sent, or wait to be tried again.
-- @treturn int
function Acks:under_way()
  if self.closed or not self.acker then return 0 end
  local count = self.acker:counts() + #self.retries
  for _, acker in ipairs(self.draining) do count = count + acker:counts() end
  return count
end

--- Counts.
-- @treturn table `acked`, `ack_retries`, `ack_failed`, `in_flight`
function Acks:stats()
  local acked = self.counts.succeeded
  if self.acker and not self.closed then
    acked = acked + select(2, self.acker:counts())
    for _, acker in ipairs(self.draining) do acked = acked + select(2, acker:counts()) end
  end
  return { acked = acked, ack_retries = self.counts.retried, ack_failed = self.counts.failed,
    in_flight = self:under_way() }
end

--- Ends all that is under way.
function Acks:close()
  if self.closed then return end
  self.closed = true
  for _, acker in ipairs(self.draining) do retire(self, acker) end
  if self.acker then
    retire(self, self.acker)
    waiters.wake(self.acker) -- ends the task
  end
  local err = errors.closed("the subscription is closed: the event may come again")
  for request in pairs(self.waiting) do settle(self, request, err) end
end

return acks
