--- One event stream that goes on for ever: it reconnects by itself.
--
-- A feed has a call while it is connected; the subscription takes replies from it directly. When the call is over, the
-- subscription says so (`over`), and the feed decides: begin again at once, after a while, or not at all. The waiting
-- and the new call are a background task's; while it waits it holds the feed weakly, so that a forgotten subscription
-- ends.
--
-- A call fails fast, so that what is wrong is told at once. A channel in its own backoff would give its last error
-- again, and let the log lie; so each attempt after such a failure is made on a new one.
--
-- @module wgtwo.events.feed

local acks = require "wgtwo.events.acks"
local authorization = require "wgtwo.authorization"
local backoff = require "wgtwo.backoff"
local call = require "wgtwo.call"
local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local limits = require "wgtwo.limits"
local loop = require "wgtwo.loop"

local now = core.now

local Feed = {}
Feed.__index = Feed

local feed = {}

local policy = limits.reconnect
local OK, UNAVAILABLE = 0, errors.number("UNAVAILABLE")

-- A stream that gave nothing and lived shorter than this, in seconds, is no reason to be back at once again and again,
-- and may have been refused: a refusal is an answer, too.
local QUICK_END = 1

local function new_delays(reconnect)
  local maximum = reconnect.max or policy.max
  return backoff.new{ initial = math.min(reconnect.initial or policy.initial, maximum), max = maximum,
    factor = policy.factor }
end

local function new_patience(reconnect)
  local maximum = reconnect.max or math.max(policy.max, 2 * policy.unauthenticated)
  return backoff.new{ initial = math.min(policy.unauthenticated, maximum), max = maximum, factor = policy.factor }
end

--- Makes a feed. It does nothing before `open`.
-- @tparam table client
-- @tparam table plan of `request_v0` or `request_v1`
-- @tparam table o checked options of `client:events`
-- @tparam function changed called when there is something to look at
-- @treturn table
function feed.new(client, plan, o, changed)
  local reconnect = type(o.reconnect) == "table" and o.reconnect or {}
  local self = setmetatable({
    client = client, plan = plan, changed = changed,
    is_redelivered = plan.is_redelivered,
    scopes = authorization.scopes(client, o.scope, plan.scopes),
    reconnect = o.reconnect ~= false and reconnect, delays = new_delays(reconnect), patience = new_patience(reconnect),
    attempts = 0,        -- since the last stream that gave something or lived for long
    quick_ends = 0,      -- clean ends in a row of streams that gave nothing
    streams = 0,         -- those that were accepted, without the present one
    received = 0, redelivered = 0, attempted = false, stopped = false, ended = false,
    call = nil, connection = { received = 0, since = 0 }, token = nil, failure = nil,
  }, Feed)
  if plan.acknowledged then self.acks = acks.new(client, plan, self.scopes) end
  return self
end

-- Connecting

--- Ends the feed: with an error, or well.
local function finish(self, err)
  self.ended, self.failure, self.attempted = true, err, true
  self.changed()
end

--- Starts a call, with a token. In a background task.
local function open(self)
  local client, plan = self.client, self.plan
  local list, token = authorization.metadata(client, self.scopes)
  if self.stopped then return end
  if not list then return self:failed(token) end
  local channel, err = client:channel_for(nil, true)
  if self.stopped then return end
  if not channel then return self:failed(err) end
  local op = core.call(channel, { path = plan.method.path, kind = "server", reply = plan.method.output,
    part = plan.part, class = plan.class, request = plan.request(self.last), metadata = list })
  client.running[op] = channel
  self.connection = { feed = self, received = 0, since = now() }
  self.token, self.call, self.attempted = token, op, true
  if self.acks then self.acks:new_stream(channel) end
  self.changed()
end

--- Connects, now or after a delay, in the background.
-- @tparam ?number delay in seconds
function Feed:open(delay)
  local weak = setmetatable({ self }, { __mode = "v" })
  self.task = loop.daemon("event stream", function()
    if delay and delay > 0 then loop.sleep(delay) end
    local this = weak[1]
    if this and not this.stopped then open(this) end
  end)
end

--- Whether the server has accepted the present stream: it gave something, ended it well, or answered and is still
-- there.
local function is_accepted(self)
  local op, connection = self.call, self.connection
  if connection.received > 0 then return true end
  local known, status = pcall(op.status, op)
  if not known then return false end -- by a finalizer, when all of this is garbage
  return status ~= nil and status.code == OK or op:headers() ~= nil and now() - connection.since >= QUICK_END
end

--- How often the stream was there again.
-- @treturn int
function Feed:reconnects()
  local streams = self.streams
  if self.call and is_accepted(self) then streams = streams + 1 end
  return math.max(streams - 1, 0)
end

-- When a stream is over

--- Lets the call go, and counts what it was.
local function let_go(self)
  local op, connection = self.call, self.connection
  if is_accepted(self) then self.streams = self.streams + 1 end
  self.received = self.received + connection.received
  connection.received = 0
  self.call = nil
  self.client.running[op] = nil
  op:close()
end

--- Whether another attempt is allowed.
local function may_reconnect(self)
  local reconnect = self.reconnect
  return reconnect and not (reconnect.max_attempts and self.attempts >= reconnect.max_attempts)
end

local function describe(delay)
  if delay == 0 then return "at once" end
  return (delay < 1 and "in %.2f s" or "in %.1f s"):format(delay)
end

local function reconnect_in(self, delay, level, why, err)
  self.attempts = self.attempts + 1
  self.client:log(level, ("%s: reconnecting %s (attempt %d): %s"):format(self.plan.name, describe(delay), self.attempts,
    why), { types = self.plan.name, method = self.plan.method.name, attempt = self.attempts, delay = delay,
    code = err and err.code, error = err })
  self:open(delay)
end

--- After a failure: begins again after a while, or ends.
-- @tparam wgtwo.error err
-- @tparam ?number delay in seconds; default: of the backoff
function Feed:failed(err, delay)
  if self.stopped then return end
  local over = policy.final[err.code] or err.kind == "oauth" and not err.retryable or err.kind == "closed"
  if over or not may_reconnect(self) then
    self.client:log("error", ("%s: the subscription ends: %s"):format(self.plan.name, tostring(err)),
      { types = self.plan.name, method = self.plan.method.name, code = err.code, error = err })
    return finish(self, err)
  end
  self.attempted = true
  reconnect_in(self, delay or self.delays:next(), "warn", tostring(err), err)
end

--- The server ended the stream, without an error.
local function ended_well(self, lived, gave)
  if not self.reconnect then return finish(self) end
  self.quick_ends = not gave and lived < QUICK_END and self.quick_ends + 1 or 0
  if self.quick_ends < 2 then
    self.attempts = 0
    return reconnect_in(self, 0, "info", "the server ended the stream")
  end
  self:failed(errors.rpc({ code = UNAVAILABLE, message = "the server ends the stream again and again" },
    { method = self.plan.method.name, target = self.client.target }))
end

--- UNAUTHENTICATED: a new token counts once at once; after that, patience.
local function unauthenticated(self, status, err)
  if not self.renewed and call.wants_new_token(self.client, status, self.token) and may_reconnect(self) then
    self.renewed = true
    return reconnect_in(self, 0, "warn", "a new token is needed: " .. tostring(err), err)
  end
  local least = self.patience.span
  self:failed(err, least + self.patience:next() * 0.2)
end

local function forget_failures(self)
  self.delays:reset()
  self.patience:reset()
  self.attempts, self.renewed = 0, false
end

--- The call is over: `call:take()` gave nil.
-- @tparam ?string problem "decode" where a reply could not be read
-- @tparam ?string reason
function Feed:over(problem, reason)
  local op, connection = self.call, self.connection
  local status, gave = op:status(), connection.received > 0
  let_go(self)
  if self.stopped then return end
  local lived = now() - connection.since
  self.last = connection.last or self.last
  connection.last = nil
  if lived >= policy.healthy then forget_failures(self) end
  if gave then self.attempts = 0 end
  if problem then return self:failed(call.undecodable(self.client, self.plan.method, reason)) end
  if status.code == OK then return ended_well(self, lived, gave) end
  self.quick_ends = 0
  local method = self.plan.method
  local err = call.failure(self.client, { name = method.name, scope = method.scope or self.plan.scopes ~= ""
    and self.plan.scopes or nil }, status)
  if err.code == "UNAUTHENTICATED" then return unauthenticated(self, status, err) end
  self:failed(err)
end

--- Ends the stream; acknowledgements go on until `close`.
function Feed:stop()
  if self.stopped then return end
  self.stopped = true
  if self.task then self.task:cancel() end
  if self.call then let_go(self) end
end

--- Ends everything.
function Feed:close()
  self:stop()
  if self.acks then self.acks:close() end
end

return feed
