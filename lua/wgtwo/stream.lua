--- A stream: a call with several requests, several replies, or both.
--
-- One coroutine may read while another writes. A stream ends by itself: `read` gives nil after the last message of a
-- stream that ended well, and nil with an error otherwise. In a `for` an error raises.
--
--     local stream <close> = assert(client:stream("NumberLookupService/NumberLookup"))
--     for question in stream do
--       assert(stream:write{ number_lookup_request = question, result = { name = "Shop" } })
--     end
--
-- @module wgtwo.stream

local authorization = require "wgtwo.authorization"
local call = require "wgtwo.call"
local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local limits = require "wgtwo.limits"
local loop = require "wgtwo.loop"
local receiver = require "wgtwo.receiver"
local waiters = require "wgtwo.waiters"

local Stream = { __name = "wgtwo.stream" }
Stream.__index = Stream

local stream = {}

local CANCELLED = errors.number("CANCELLED")

--- The scopes that a stream needs: the method's; of v0's events, which has none, those of the types in the request.
local function needed(method, bytes)
  if method.name ~= limits.events_v0.subscribe then return method.scope end
  return require("wgtwo.events.scopes").of_types(core.decode(method.input, bytes).type)
end

--- Starts the call, with a token.
local function start(self)
  local client, method, o = self.client, self.method, self.options
  local list, token = authorization.metadata(client, self.scopes, o.metadata, self.deadline)
  if not list then return nil, token end
  if client.closed then return call.closed(client, method) end
  local channel, err = client:channel_for(o.max_message_size)
  if not channel then return nil, err end
  self.token = token
  self.op = core.call(channel, { path = method.path, kind = method.kind, request = self.request, reply = method.output,
    metadata = list, timeout = self.deadline and math.max(0, self.deadline - core.now()),
    wait_for_ready = o.wait_for_ready })
  client.running[self.op] = channel
  return true
end

--- Opens a stream.
-- @tparam table client
-- @tparam table method of the schema
-- @tparam ?string bytes the request, where the method takes just one
-- @tparam table o of `call.options`
-- @treturn ?stream
-- @treturn ?wgtwo.error
function stream.open(client, method, bytes, o)
  if client.closed then return call.closed(client, method) end
  local self = setmetatable({
    client = client, method = method, request = bytes, options = o, deadline = o.timeout and core.now() + o.timeout,
    scopes = authorization.scopes(client, o.scope, needed(method, bytes)), received = 0,
  }, Stream)
  local ok, err = start(self)
  if not ok then
    client.counts.failed = client.counts.failed + 1
    return nil, err
  end
  return self
end

local function closed(self, what)
  return errors.closed(what, { method = self.method.name, target = self.client.target })
end

--- Whether the stream may begin again, with a new token: nothing has come yet, and its one request is known.
local function begin_again(self, status)
  if self.renewed or self.received > 0 or not self.request then return false end
  self.renewed = true
  if not call.wants_new_token(self.client, status, self.token) then return false end
  self.op:close()
  local ok, err = start(self)
  if not ok then
    self.over, self.failure = true, err
    return false
  end
  return true
end

--- The stream is over: notes how. Returns false where it has begun again.
local function settle(self, problem, reason)
  if problem then
    self.failure = call.undecodable(self.client, self.method, reason)
  else
    local status = self.op:status()
    if status.code ~= 0 then
      if begin_again(self, status) then return false end
      if self.cancelled and status.code == CANCELLED then
        self.failure = closed(self, "the stream was cancelled")
      else
        self.failure = self.failure or call.failure(self.client, self.method, status)
      end
    end
  end
  self.over = true
  local counts = self.client.counts
  if self.failure then counts.failed = counts.failed + 1 end
  self.client.running[self.op] = nil
  self.op:close()
  return true
end

--- The next message.
-- @tparam ?number timeout in seconds; default: no limit
-- @treturn ?userdata a message; nil at a clean end
-- @treturn ?wgtwo.error where it did not end well; of kind "timeout" where nothing came in time: the stream goes on
-- @usage local message, err = stream:read(5)
function Stream:read(timeout)
  local deadline = loop.deadline(timeout)
  while not self.over do
    local op = self.op
    local message, problem, reason = op:take()
    if message then
      self.received = self.received + 1
      return message
    elseif message == nil then
      settle(self, problem, reason)
    elseif deadline and core.now() >= deadline then
      return nil, errors.timeout(("no message within %g s"):format(timeout), { method = self.method.name,
        target = self.client.target })
    else
      loop.wait(op, deadline)
    end
  end
  return nil, self.failure
end

--- Why a stream takes no more.
local function refused(self)
  if self.finished then return closed(self, "finish was called: the stream takes no more messages") end
  if not self.over then
    -- the replies that are still there stay for read: only the status is looked at
    local status = self.op:status()
    if status and status.code ~= 0 then return call.failure(self.client, self.method, status) end
  end
  return self.failure or closed(self, "the stream is over")
end

--- Starts a write, or the end of writing, as soon as the one before it is through.
local function send(self, operation, bytes, timeout)
  local deadline = loop.deadline(timeout)
  while not self.over do
    local op = self.op
    local started = op[operation](op, bytes)
    if started then return true end
    if started == nil then break end
    if deadline and core.now() >= deadline then
      return nil, errors.timeout(("not written within %g s: the peer does not read"):format(timeout),
        { method = self.method.name, target = self.client.target })
    end
    loop.wait(op, deadline)
  end
  return nil, refused(self)
end

--- Sends a message. Waits only while the one before it has not left.
-- @tparam table|userdata message
-- @tparam ?number timeout in seconds; default: no limit
-- @treturn ?boolean true; nil where the stream takes no more
-- @treturn ?wgtwo.error
-- @raise a field that the type does not have, or a value that does not fit
function Stream:write(message, timeout)
  if self.request then error(self.method.name .. " takes one request, which was given to client:stream", 2) end
  local bytes = call.encode(self.method.input, message, 2)
  if self.over or self.finished then return nil, refused(self) end
  return send(self, "write", bytes, timeout)
end

--- Says that no more messages will be written. Replies can still be read.
-- @treturn ?boolean true, also where the stream is over already
function Stream:finish()
  if self.request or self.finished or self.over then return true end
  local done, err = send(self, "finish")
  self.finished = true
  if not done and err.kind == "timeout" then return nil, err end
  return true
end

--- Ends the stream at once; the server sees it as cancelled.
function Stream:cancel()
  if self.over then return end
  self.cancelled = true
  self.op:cancel()
end

--- Ends the stream and gives back what it holds. A second time does nothing.
function Stream:close()
  if not self.over then
    self.over, self.failure = true, closed(self, "the stream is closed")
    self.client.running[self.op] = nil
  end
  self.op:close()
  waiters.wake(self.op)
end

Stream.__close = Stream.close

--- One message a call, for `for message in stream do`. An error raises.
function Stream:__call()
  local message, err = self:read()
  if err then error(err, 0) end
  return message
end

--- Names the method and the target.
function Stream:__tostring()
  return ("wgtwo.stream(%s at %s, %s)"):format(self.method.name, self.client.target, self.over and "over" or "open")
end

receiver.check(Stream, "stream")

return stream
